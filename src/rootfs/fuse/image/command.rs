//! The mount of an image as a command.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};

use super::content::ImageContent;
use super::options::ImageOptions;
use crate::error::{Context, Result};
use crate::fail;
use crate::layer::squashfs::format::MAGIC;
use crate::rootfs::fuse::command::{self, Ground, MountRequest};

/// Mounts the squashfs image in the file `image` on `target` with the options in `texts`; returns the exit status.
/// Errors: invalid options, no image, the mount.
pub fn run(image: &Path, texts: &[String], target: &Path, ground: Ground) -> Result<u8> {
    let options = ImageOptions::parse(texts).context(|| "cannot mount an image")?;
    let file = open(image)?;
    if !is_squashfs(&file, options.offset) {
        fail!(Invalid: "{} holds no squashfs image at byte {}", image.display(), options.offset);
    }
    let content = ImageContent::new(file.into(), options.offset, options.mount.shown_ids());
    let source = image.to_string_lossy();
    let request =
        MountRequest { target, ground, options: options.mount, source: &source, folders: vec![] };
    command::run(content, request).context(|| format!("cannot mount {}", image.display()))
}

/// True if the regular file at `path` begins with a squashfs image.
pub fn begins_with_squashfs(path: &Path) -> bool {
    open(path).is_ok_and(|file| is_squashfs(&file, 0))
}

fn open(path: &Path) -> Result<File> {
    // A FIFO must not make us wait.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let cannot_open = || format!("cannot open {}", path.display());
    let file: OwnedFd = rustix::fs::open(path, flags, Mode::empty()).context(cannot_open)?;
    let stat = rustix::fs::fstat(&file).context(cannot_open)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        fail!(Invalid: "{} is no regular file", path.display());
    }
    Ok(file.into())
}

fn is_squashfs(file: &File, offset: u64) -> bool {
    let mut magic = [0; 4];
    file.read_exact_at(&mut magic, offset).is_ok() && u32::from_le_bytes(magic) == MAGIC
}
