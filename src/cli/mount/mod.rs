//! `usnea mount`: mounts usnea's own file systems.

mod overlay;

use crate::error::Result;

/// Mount a file system of usnea
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    kind: Kind,
}

#[derive(clap::Subcommand)]
enum Kind {
    Overlay(overlay::Arguments),
}

/// Mounts; returns the exit status.
pub fn run(arguments: Arguments) -> Result<u8> {
    match arguments.kind {
        Kind::Overlay(overlay) => overlay::run(overlay),
    }
}
