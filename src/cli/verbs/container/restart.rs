//! `usnea restart`: stops containers, and starts them again.

use crate::cli::flags::selection::{
    AfterSuccess, MissingContainers, Selected, Selection, each_together, open,
};
use crate::cli::flags::stop::StopFlags;
use crate::container::{self, Usnea};
use crate::error::Result;

/// Restart containers
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    selection: Selection,

    #[command(flatten)]
    stop: StopFlags,
}

/// Stops containers, and starts them again.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    // Descriptors of the caller must not reach the containers; those opened later close by themselves.
    usnea.close_descriptors_at_exec()?;
    let begin = |selected: &Selected| {
        open(usnea, selected)?.refuse_foreground("restart")?;
        arguments.stop.begin(usnea, selected)
    };
    each_together(
        &arguments.selection,
        usnea,
        MissingContainers::Fails,
        begin,
        |_, (container, stopping)| {
            container::restart(usnea, &container, stopping).map(|()| AfterSuccess::PrintName)
        },
    )
}
