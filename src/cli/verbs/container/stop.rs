//! `usnea stop`: stops running containers.

use crate::cli::flags::selection::{
    AfterSuccess, MissingContainers, Selected, Selection, each_together,
};
use crate::cli::flags::stop::StopFlags;
use crate::container::Usnea;
use crate::error::Result;

/// Stop running containers
///
/// The command gets the stop signal, and SIGKILL after the time limit. Stopped containers are left unchanged.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    selection: Selection,

    #[command(flatten)]
    stop: StopFlags,

    /// Ignore containers that do not exist.
    #[arg(short, long)]
    ignore: bool,
}

/// Stops containers.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    let selection = &arguments.selection;
    let begin = |selected: &Selected| arguments.stop.begin(usnea, selected);
    let missing =
        if arguments.ignore { MissingContainers::Ignored } else { MissingContainers::Fails };
    each_together(selection, usnea, missing, begin, |_, (container, stopping)| match stopping {
        Some(stopping) => stopping.finish(&container).map(|()| AfterSuccess::PrintName),
        None if selection.is_vague() => Ok(AfterSuccess::PrintNothing),
        None => Ok(AfterSuccess::PrintName),
    })
}
