//! Squashfs image as a read-only volume: `--volume IMAGE:CONTAINER:squashfs`, and `--mount type=squashfs`.

use std::path::Path;

use oci_spec::runtime::{Mount, MountBuilder};

use super::bind::word_of;
use super::destination::Destination;
use crate::error::{Error, Result};
use crate::layer::squashfs::ImageFile;

/// Mount type of an image in config.json, and option of `--volume`.
pub const SQUASHFS: &str = "squashfs";
/// Option of a mount of an image, with its `=`: start of the image in its file, in bytes.
pub const OFFSET: &str = "offset=";
/// Option of a mount of an image, with its `=`: identity of the file at an earlier time.
pub const IDENTITY: &str = "identity=";

/// Settings of an image's mount.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageVolume {
    /// Start of the image in its file, in bytes.
    pub offset: u64,
    /// True if programs of the image cannot be run (`noexec`).
    pub no_exec: bool,
}

impl ImageVolume {
    /// Parses the options of `--volume`, with `squashfs` among them. Errors: an option of other volumes.
    pub(super) fn of_options(text: &str) -> Result<Self, String> {
        let mut image = Self::default();
        for option in text.split(',') {
            match option.split_once('=') {
                Some(("offset", value)) => image.offset = parse_offset(value)?,
                _ => image.take_word(option)?,
            }
        }
        Ok(image)
    }

    fn take_word(&mut self, option: &str) -> Result<(), String> {
        // The mount is read-only, without device files and set-user-ID programs, in any case.
        const WITHOUT_EFFECT: [&str; 6] = [SQUASHFS, "ro", "nosuid", "nodev", "z", "Z"];
        match option {
            "noexec" => self.no_exec = true,
            _ if word_of(&WITHOUT_EFFECT, option).is_some() => {}
            _ => return Err(format!("'{SQUASHFS}' and '{option}' exclude each other")),
        }
        Ok(())
    }

    /// Settings of a mount of config.json.
    pub(super) fn of_mount(mount: &Mount) -> Self {
        let options = || mount.options().iter().flatten();
        let offset = options().find_map(|option| option.strip_prefix(OFFSET)?.parse().ok());
        Self { offset: offset.unwrap_or(0), no_exec: options().any(|option| option == "noexec") }
    }

    /// Options of the OCI mount.
    pub(super) fn options(&self) -> Vec<String> {
        let mut options = ["ro", "nosuid", "nodev"].map(str::to_owned).to_vec();
        options.extend(self.no_exec.then(|| "noexec".to_owned()));
        options.extend((self.offset > 0).then(|| format!("{OFFSET}{}", self.offset)));
        options
    }

    /// Mount of the image in the file `source`. Errors: no regular file, or no image at the offset.
    pub(super) fn mount(&self, source: &str, destination: &Destination) -> Result<Mount> {
        ImageFile::new(source, self.offset).open()?;
        MountBuilder::default()
            .destination(destination.path())
            .typ(SQUASHFS)
            .source(source)
            .options(self.options())
            .build()
            .map_err(Error::new)
    }
}

/// Returns the file of an image's mount, and the start of the image in it. `None`: another mount.
pub fn image_in_place(mount: &Mount) -> Option<(&Path, u64)> {
    let is_image = mount.typ().as_deref() == Some(SQUASHFS);
    let path = mount.source().as_deref().filter(|_| is_image)?;
    Some((path, ImageVolume::of_mount(mount).offset))
}

/// Parses the start of an image, in bytes.
pub(super) fn parse_offset(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(offset) if text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(offset),
        _ => Err(format!("offset={text}: expected a number of bytes")),
    }
}
