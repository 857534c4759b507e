//! `usnea mount`: mounts usnea's own file systems.

mod overlay;
mod squashfs;

use crate::error::Result;

/// Mount a file system of usnea
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: MountCommand,
}

#[derive(clap::Subcommand)]
enum MountCommand {
    Overlay(overlay::Arguments),
    Squashfs(squashfs::Arguments),
}

/// Mounts; returns the exit status.
pub fn run(arguments: Arguments) -> Result<u8> {
    match arguments.command {
        MountCommand::Overlay(overlay) => overlay::run(overlay),
        MountCommand::Squashfs(squashfs) => squashfs::run(squashfs),
    }
}
