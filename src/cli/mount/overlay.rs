//! `usnea mount overlay`.

use std::path::PathBuf;

use crate::error::Result;
use crate::rootfs::fuse::command::{self, Ground};

/// Mount folders over each other, by FUSE
///
/// What is read comes from the topmost folder that has it; what is written goes to the upper folder alone, in the form of the
/// kernel's overlay (userxattr). Works where we have CAP_SYS_ADMIN, as inside of a user namespace, and elsewhere by
/// fusermount3.
#[derive(clap::Args)]
pub struct Arguments {
    /// Options with commas between: lowerdir=DIR[:DIR...], upperdir=DIR and workdir=DIR (else nothing can be written),
    /// uidmapping= and gidmapping=DISK:SHOWN:COUNT[:...], xattr_permissions=2 (owners are kept in attributes),
    /// X-mount.idmap=/proc/PID/ns/user (kernel 6.12), ro, nosuid, nodev, noexec, noatime.
    #[arg(short = 'o', long = "options", value_name = "OPTIONS", required = true)]
    options: Vec<String>,

    /// Stay until the mount is gone; otherwise the command ends when the mount is ready.
    #[arg(short = 'f', long)]
    foreground: bool,

    /// The folder to mount on.
    #[arg(value_name = "MOUNTPOINT")]
    target: PathBuf,
}

/// Carries it out.
pub fn run(arguments: Arguments) -> Result<u8> {
    let ground = if arguments.foreground { Ground::Fore } else { Ground::Back };
    command::run(&arguments.options, &arguments.target, ground)
}
