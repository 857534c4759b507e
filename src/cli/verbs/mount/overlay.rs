//! `usnea mount overlay`: mounts usnea's own overlay.

use std::path::PathBuf;

use crate::error::Result;
use crate::rootfs::fuse::command::{self, Ground};

/// Mount folders over each other, by FUSE
///
/// Reads come from the topmost folder that has the file; writes go to the upper folder alone. Works where we
/// have CAP_SYS_ADMIN, as inside of a user namespace, and elsewhere by fusermount3(1).
///
/// Form. The upper folder has the form of the kernel's overlay (with userxattr), which can mount it afterwards, and the
/// other way round: a removed file is the device 0:0, or an empty file with the attribute user.overlay.whiteout where the
/// file system holds no devices (kernel 6.8 reads these); a folder that hides those below has the attribute
/// user.overlay.opaque. Where the file system holds no attributes either, as NFS may, files named .wh.NAME and
/// .wh..wh..opq stand for them, which the kernel's overlay does not read, and no other file can have a name that begins so
/// (EPERM). What the file system can hold is tried at the mount. In lower folders all these forms are read.
///
/// Limits. Lower folders must not change while they are mounted: what is shown of what changed is undefined, and may be an
/// error (ESTALE, ENOENT). At most 500 of them. The upper and the work folder must be in one mount, must not overlap each
/// other or a lower folder, and serve one overlay at a time. What others have mounted below a layer is not seen, unless it
/// may not be uncovered in our user namespace; then it is seen, and not written to. Folders of lower layers are not renamed
/// (EXDEV: mv(1) copies them). POSIX ACLs are moved with the owners that uidmapping and gidmapping move, and there are none
/// with xattr_permissions=2; users and groups without an ID here are left out of them.
///
/// Limits of FUSE. Writes are cached: a disk that is full is reported by fsync(2) and close(2), not by write(2), and what
/// did not fit is lost. There is no O_TMPFILE (EOPNOTSUPP), no time of birth, and reading moves no time of access, whatever
/// relatime or strictatime say. Buffered reads beside asynchronous O_DIRECT writes may see the old data. chown(2) of
/// neither user nor group leaves setuid as it is. Of a caller's groups only the first is known: setgid of a file goes when
/// its owner, who is in the file's group by another one, sets an ACL. Files that are open, of all processes together, are
/// limited by the server's RLIMIT_NOFILE. A time that the upper file system cannot hold is shown as it was set until the
/// next mount. So is the number of links of a lower file that was changed under one of its names and then lost others.
///
/// Disk. A file that is copied up is on disk before it takes the lower one's place, as by the kernel's overlay, unless
/// volatile says that the upper folder is thrown away. When there is no room (ENOSPC, EDQUOT) the file stays what it was.
///
/// Confinement. The server sees nothing but its layers and /proc, can open nothing but them (landlock, kernel 5.19), lower
/// ones only to read them, and has no system calls but those for files, memory and threads (seccomp). By fusermount3 it
/// stays among the user's files, held by landlock and seccomp alone.
///
/// End. The server ends when the mount is gone and its last user too. In the foreground SIGINT, SIGTERM and SIGHUP unmount;
/// a second one ends the server though somebody uses the mount. When the server is killed, whoever uses the mount gets
/// ENOTCONN: umount -l, or fusermount3 -uz, takes the dead mount away.
///
/// Instead of fuse-overlayfs. podman and buildah take any program that has its options: mount_program in storage.conf is a
/// script of two lines, "#!/bin/sh" and "exec usnea mount overlay "$@"". Its options timeout, clone_fd, fast_ino,
/// static_nlink, threaded, max_write, allow_other and xino=off change nothing that is seen, and are taken; squash_to_root,
/// squash_to_uid, squash_to_gid, noacl, noxattrs and context= are refused.
#[derive(clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// Options with commas between, as mount(8) takes them (a backslash before a comma, colon or backslash of a name):
    /// lowerdir=DIR[:DIR...], the topmost first; upperdir=DIR and workdir=DIR (without them nothing can be written);
    /// uidmapping= and gidmapping=DISK:SHOWN:COUNT[:...]; xattr_permissions=2 (owners and modes are kept in attributes);
    /// recorded_lowers (those of lower layers are, as in a store that many users share; above them they are real);
    /// X-mount.idmap=/proc/PID/ns/user (kernel 6.12); volatile (no waiting for the disk when files are copied up);
    /// fsname=NAME (shown as the source); and the options of every file system (ro, nosuid, nodev, noexec, sync, defaults
    /// ...), of which dirsync, lazytime and those on times of access change nothing.
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
  fusermount3 -u merged
  unshare --user --map-root-user --mount sh -c 'usnea mount overlay -o lowerdir=a:b /mnt && ls /mnt'";

/// Mounts the overlay; returns the exit status.
pub fn run(arguments: Arguments) -> Result<u8> {
    let ground = if arguments.foreground { Ground::Fore } else { Ground::Back };
    command::run(&arguments.options, &arguments.target, ground)
}
