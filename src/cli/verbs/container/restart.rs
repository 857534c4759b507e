//! `usnea restart`: stops containers, and starts them again.

use crate::cli::flags::selection::{
    AfterSuccess, MissingContainers, Selected, Selection, each_together, open,
};
use crate::cli::flags::stop::StopFlags;
use crate::container::{self, Usnea};
use crate::error::{Context, Result};
use crate::sys::fd;

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
    let store = usnea.store()?;
    // Descriptors of the caller must not reach the containers; those opened later close by themselves.
    fd::keep_only(0, &[]).map_err(|(_, error)| error).context(|| "cannot close descriptors")?;
    let begin = |selected: &Selected| {
        open(store, selected)?.refuse_foreground("restart")?;
        arguments.stop.begin(store, selected)
    };
    each_together(
        &arguments.selection,
        store,
        MissingContainers::Fails,
        begin,
        |_, (container, stopping)| {
            container::restart(usnea, &container, stopping).map(|()| AfterSuccess::PrintName)
        },
    )
}
