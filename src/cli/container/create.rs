//! `usnea create`: makes a container without a start.

use super::flags::Flags;
use super::selection::say;
use crate::cli::run::{Common, Pulling};
use crate::container::{self, Lifecycle, Usnea};
use crate::error::Result;
use crate::monitor::record::{Input, Stream};

/// Create a container without starting it
///
/// Prints the container's ID. 'usnea start' starts the container.
#[derive(clap::Args)]
pub struct Arguments {
    /// Show these streams of the command alone at 'usnea start --attach': stdin, stdout or stderr. Default: all.
    #[arg(short, long, value_name = "STREAM", ignore_case = true)]
    attach: Vec<Stream>,

    #[command(flatten)]
    common: Common,

    #[command(flatten)]
    flags: Flags,

    #[command(flatten)]
    pulling: Pulling,
}

/// Makes the container, and prints its ID.
pub fn run(arguments: Arguments, usnea: &Usnea) -> Result<u8> {
    let Arguments { attach, common, flags, pulling } = arguments;
    let input = if common.options().interactive { Input::Once } else { Input::Closed };
    let lifecycle = Lifecycle { attach, ..flags.lifecycle(&common.image(), input)? };
    let shown = pulling.shown();
    let wanted = pulling.wanted(&common.image(), &shown)?;
    let created = container::create(
        usnea,
        &common.request(usnea)?,
        &lifecycle,
        &wanted,
        container::AfterCreate::Leave,
    )?;
    say(&created.container.record.id);
    Ok(0)
}
