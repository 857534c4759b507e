//! `usnea mount overlay`: mounts usnea's own overlay.

use std::path::PathBuf;

use crate::error::Result;
use crate::rootfs::fuse::command::Ground;
use crate::rootfs::fuse::overlay_command;

/// Mount an overlay of directories and squashfs images, by FUSE
///
/// Files are read from the topmost directory that has them, and written to the upper directory only. Needs
/// CAP_SYS_ADMIN, which root of a user namespace has, or else fusermount3(1).
///
/// Format. The upper directory has the format of the kernel's overlayfs with userxattr, and each can mount the layers
/// of the other. A whiteout is the device 0:0. On a file system without device files it is an empty file with the
/// attribute user.overlay.whiteout, which Linux 6.8 can read. An opaque directory has the attribute
/// user.overlay.opaque. On a file system without attributes, as NFS may be, files named .wh.NAME and .wh..wh..opq are
/// used instead. The kernel's overlayfs does not read these, and no other file can have such a name (EPERM). The
/// abilities of the file system are tested at the mount. In lower directories all these formats are read.
///
/// Images. A lower layer may be a squashfs image instead of a directory, as for usnea-mount-squashfs(1): the server
/// reads it in place, without a mount of its own. image_offset= tells where the image begins in a larger file. Owners,
/// errors and memory are as there; several images share the limit of memory.
///
/// Limits. Lower directories must not change while they are mounted: the behaviour for changed files is undefined, and
/// may be an error (ESTALE, ENOENT). There can be at most 500. The upper and the work directory must be on one mount,
/// must not overlap each other or a lower directory, and may be used by only one overlay at a time. Mounts below a
/// layer are not visible, unless they are locked in the caller's user namespace (mount_namespaces(7)); these are
/// visible, but read-only. Directories of lower layers cannot be renamed (EXDEV: mv(1) copies them). POSIX ACLs are
/// mapped like owners, by uidmapping and gidmapping, without users and groups that have no ID here; with
/// xattr_permissions=2 there are none.
///
/// Limits of FUSE. Writes are cached: fsync(2) and close(2) report a full disk, not write(2), and the data that did not
/// fit is lost. O_TMPFILE (EOPNOTSUPP) and birth times are not supported, and reading does not update access times,
/// even with relatime or strictatime. Buffered reads may return old data during asynchronous O_DIRECT writes. chown(2)
/// with neither user nor group does not clear setuid. Only the primary group of a caller is known: the setgid bit is
/// cleared if an owner sets an ACL who is in the file's group only by a supplementary group. The number of open files
/// of all processes is limited by RLIMIT_NOFILE of the server. A timestamp that the upper file system cannot store is
/// shown as set until the next mount. The link count of a lower file that was changed under one name, and then lost
/// other names, is also wrong until then.
///
/// Durability. A copied-up file is written to disk before it replaces the lower file, as in the kernel's overlayfs,
/// unless the volatile option is set. If the disk is full (ENOSPC, EDQUOT), the file stays unchanged.
///
/// Confinement. The server has a root with nothing but its layers and /proc. It can open only these, lower layers only
/// for reading (landlock, Linux 5.19); it reads images by descriptors that are open before. It is limited to system
/// calls for files, memory and threads (seccomp). Mounted by fusermount3, the server keeps the user's root, and is
/// confined only by landlock and seccomp.
///
/// End. The server exits when the file system is unmounted and no longer in use. In the foreground, SIGINT, SIGTERM and
/// SIGHUP unmount it; a second signal ends the server even if the mount is in use. If the server is killed, processes
/// that use the mount get ENOTCONN: umount -l, or fusermount3 -uz, removes the dead mount.
///
/// Replacing fuse-overlayfs. podman and buildah can use this program: set mount_program in storage.conf to a script of
/// two lines, "#!/bin/sh" and "exec usnea mount overlay "$@"". The options timeout, clone_fd, fast_ino, static_nlink,
/// threaded, max_write, allow_other and xino=off are accepted without effect; squash_to_root, squash_to_uid,
/// squash_to_gid, noacl, noxattrs and context= are refused.
#[derive(clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// Comma-separated options, as for mount(8) (escape a comma, colon or backslash in a name by a backslash):
    /// lowerdir=DIR[:DIR...], the topmost first, each a directory or a squashfs image; image_offset=INDEX:BYTES (start
    /// of an image in its file, by the index of the layer from 0 on); upperdir=DIR and workdir=DIR (without them the
    /// mount is read-only); uidmapping= and gidmapping=DISK:SHOWN:COUNT[:...]; xattr_permissions=2 (owners and modes
    /// are stored in attributes); recorded_lowers (only those of lower layers are, as in a store that several users
    /// share); X-mount.idmap=/proc/PID/ns/user (Linux 6.12); volatile (do not wait for the disk at copy-up);
    /// fsname=NAME (shown as the source); and the generic options of file systems (ro, nosuid, nodev, noexec, sync,
    /// defaults ...), of which dirsync, lazytime and those on access times have no effect.
    #[arg(short = 'o', long = "options", value_name = "OPTIONS", required = true)]
    options: Vec<String>,

    /// Run in the foreground until the file system is unmounted. Default: exit when the mount is ready.
    #[arg(short = 'f', long)]
    foreground: bool,

    /// Mount point.
    #[arg(value_name = "MOUNTPOINT")]
    target: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  usnea mount overlay -o lowerdir=changes:base,upperdir=mine,workdir=work merged
  usnea mount overlay -o lowerdir=tree.sqsh,upperdir=mine,workdir=work merged
  fusermount3 -u merged
  unshare --user --map-root-user --mount sh -c 'usnea mount overlay -o lowerdir=a:b /mnt && ls /mnt'";

/// Mounts the overlay; returns the exit status.
pub fn run(arguments: Arguments) -> Result<u8> {
    let ground = if arguments.foreground { Ground::Fore } else { Ground::Back };
    overlay_command::run(&arguments.options, &arguments.target, ground)
}
