//! The mount of an image as a command.

use std::path::Path;

use super::content::ImageContent;
use super::options::ImageOptions;
use crate::error::{Context, Result};
use crate::layer::squashfs::ImageFile;
use crate::rootfs::fuse::command::{self, Ground, MountRequest};

/// Mounts the squashfs image in the file `image` on `target` with the options in `texts`; returns the exit status.
/// `approve` judges the image at this offset in the file. Errors: invalid options, no image, the mount; those of
/// `approve`.
pub fn run(
    image: &Path,
    texts: &[String],
    target: &Path,
    ground: Ground,
    approve: &dyn Fn(u64) -> Result<()>,
) -> Result<u8> {
    let options = ImageOptions::parse(texts).context(|| "cannot mount an image")?;
    let open = ImageFile::new(image, options.offset).open()?;
    approve(options.offset).context(|| format!("cannot mount {}", image.display()))?;
    let content = ImageContent::new(open.file, options.offset, options.mount.shown_ids());
    let source = image.to_string_lossy();
    let request =
        MountRequest { target, ground, options: options.mount, source: &source, folders: vec![] };
    command::run(content, request).context(|| format!("cannot mount {}", image.display()))
}
