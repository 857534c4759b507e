//! `usnea mount squashfs`: mounts an image in one file.

use std::path::PathBuf;

use crate::error::{Context, Result};
use crate::image::in_place;
use crate::image::policy::SignaturePolicy;
use crate::image::sif::{self, SifImage};
use crate::rootfs::fuse::command::Ground;
use crate::rootfs::fuse::image::command;

/// Mount a squashfs image read-only, by FUSE
///
/// The image is read in place: nothing is unpacked, and any number of processes and machines can read one file. Needs
/// CAP_SYS_ADMIN, which root of a user namespace has, or else fusermount3(1).
///
/// Format. Squashfs 4.0, as mksquashfs(1) writes it, with blocks of any size, compressed by gzip, lz4, xz or zstd; not by
/// lzo or lzma. The image may lie in a larger file, from offset= on. Without offset=, the root file system of a SIF file is
/// found by its descriptor.
///
/// Writing. The mount is read-only. The kernel's overlayfs can use it as a lower directory, in a user namespace too
/// (Linux 5.11): files are then written to the upper directory at the speed of the kernel. usnea-mount-overlay(1) reads
/// the image itself.
///
/// Owners are shown as stored, in the user namespace of the mount, and moved by uidmapping, gidmapping and
/// X-mount.idmap. In a user namespace of one user and one group, these own all files. Device files are shown but cannot
/// be opened (nodev). Attributes named trusted.* are not listed.
///
/// Errors. An image that is truncated or damaged, or was crafted to do harm, gives errors (EIO) for the files that are
/// hit, and for no others. The file must not be written to while it is mounted: the kernel keeps what it has read.
///
/// Memory. The server holds at most 64 MiB of inflated content and 8 MiB of metadata, whatever the size of the image.
/// Threads that have nothing else to do inflate what a sequential reader will need.
///
/// Confinement. The server has a root with nothing in it, and can open no file (landlock, Linux 5.19): it reads its open
/// descriptor. It is limited to system calls for reading, memory and threads (seccomp). Mounted by fusermount3, the
/// server keeps the user's root, and is confined only by landlock and seccomp.
///
/// End. The server exits when the file system is unmounted and no longer in use, in the foreground also by SIGINT,
/// SIGTERM and SIGHUP; see usnea-mount-overlay(1).
#[derive(clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// Comma-separated options, as for mount(8) (escape a comma or backslash in a name by a backslash): offset=BYTES
    /// (start of the image in the file); uidmapping= and gidmapping=STORED:SHOWN:COUNT[:...];
    /// X-mount.idmap=/proc/PID/ns/user (Linux 6.12); fsname=NAME (shown as the source); and the generic options of file
    /// systems (nosuid, noexec, defaults ...), of which rw, dev, sync and those on access times have no effect.
    #[arg(short = 'o', long = "options", value_name = "OPTIONS")]
    options: Vec<String>,

    /// Run in the foreground until the file system is unmounted. Default: exit when the mount is ready.
    #[arg(short = 'f', long)]
    foreground: bool,

    /// File with the image.
    #[arg(value_name = "IMAGE")]
    image: PathBuf,

    /// Mount point.
    #[arg(value_name = "MOUNTPOINT")]
    target: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  usnea mount squashfs tree.sqsh /tmp/tree
  fusermount3 -u /tmp/tree
  unshare --user --map-root-user --mount sh -c 'usnea mount squashfs tree.sqsh /mnt && ls /mnt'";

/// Mounts the image; returns the exit status.
pub fn run(arguments: Arguments) -> Result<u8> {
    let Arguments { mut options, foreground, image, target } = arguments;
    let ground = if foreground { Ground::Fore } else { Ground::Back };
    let has_offset = options.iter().any(|text| text.contains("offset="));
    if let Some(file) = sif::open_at(&image).filter(|_| !has_offset) {
        let root = SifImage::open(&file).and_then(|sif| {
            sif.warn_of_overlays();
            sif.root()
        });
        let root = root.context(|| format!("cannot mount {}", image.display()))?;
        options.push(format!("offset={}", root.offset));
    }
    let policy = SignaturePolicy::load()?;
    let approve = |offset| in_place::approve(&policy, &image, offset);
    command::run(&image, &options, &target, ground, &approve)
}
