//! `usnea stop`, `restart` and `kill`: ends and restarts containers.

use std::path::Path;

use super::selection::{Missing, Said, Selected, Selection, each, each_together, open};
use crate::cli::flags::lifecycle::SignalFlag;
use crate::container::{self, Container, Stopping, Usnea};
use crate::error::{Context, Result};
use crate::sys::fd;

/// Stop running containers
///
/// The command gets the stop signal, and SIGKILL after the time limit. Stopped containers are left unchanged.
#[derive(clap::Args)]
pub struct StopArguments {
    #[command(flatten)]
    selection: Selection,

    /// Seconds to wait before the container is killed; -1: no limit. Default: the container's own, else 10.
    #[arg(
        short,
        long = "time",
        visible_alias = "timeout",
        value_name = "SECONDS",
        allow_negative_numbers = true
    )]
    time: Option<i64>,

    /// Signal that asks the command to end. Default: the container's own, else SIGTERM.
    #[arg(short, long, value_name = "SIGNAL")]
    signal: Option<SignalFlag>,

    /// Ignore containers that do not exist.
    #[arg(short, long)]
    ignore: bool,
}

/// Restart containers
#[derive(clap::Args)]
pub struct RestartArguments {
    #[command(flatten)]
    selection: Selection,

    /// Seconds to wait before the container is killed; -1: no limit. Default: the container's own, else 10.
    #[arg(
        short,
        long = "time",
        visible_alias = "timeout",
        value_name = "SECONDS",
        allow_negative_numbers = true
    )]
    time: Option<i64>,

    /// Signal that asks the command to end. Default: the container's own, else SIGTERM.
    #[arg(short, long, value_name = "SIGNAL")]
    signal: Option<SignalFlag>,
}

/// Send a signal to containers
#[derive(clap::Args)]
pub struct KillArguments {
    #[command(flatten)]
    selection: Selection,

    /// Signal name or number.
    #[arg(short, long, value_name = "SIGNAL", default_value = "KILL")]
    signal: SignalFlag,
}

/// Asks a container to end.
fn begin(
    store: &Path,
    selected: &Selected,
    signal: Option<SignalFlag>,
    time: Option<i64>,
) -> Result<(Container, Option<Stopping>)> {
    let container = open(store, selected)?;
    let stopping = Stopping::begin(&container, signal.map(|signal| signal.0), time)?;
    Ok((container, stopping))
}

/// Stops containers.
pub fn stop(arguments: &StopArguments, usnea: &Usnea) -> Result<u8> {
    let store = usnea.store()?;
    let selection = &arguments.selection;
    let begin = |selected: &Selected| begin(&store, selected, arguments.signal, arguments.time);
    let missing = Missing::ignored(arguments.ignore);
    each_together(selection, &store, missing, begin, |_, (container, stopping)| match stopping {
        Some(stopping) => stopping.finish(&container).map(|()| Said::Name),
        None if selection.is_vague() => Ok(Said::Nothing),
        None => Ok(Said::Name),
    })
}

/// Stops containers, and starts them again.
pub fn restart(arguments: &RestartArguments, usnea: &Usnea) -> Result<u8> {
    let store = usnea.store()?;
    // Descriptors of the caller must not reach the containers; those opened later close by themselves.
    fd::keep_only(0, &[]).map_err(|(_, error)| error).context(|| "cannot close descriptors")?;
    let begin = |selected: &Selected| {
        open(&store, selected)?.refuse_foreground("restart")?;
        begin(&store, selected, arguments.signal, arguments.time)
    };
    each_together(
        &arguments.selection,
        &store,
        Missing::Fails,
        begin,
        |_, (container, stopping)| {
            container::restart(usnea, &container, stopping).map(|()| Said::Name)
        },
    )
}

/// Sends containers a signal.
pub fn kill(arguments: &KillArguments, usnea: &Usnea) -> Result<u8> {
    let store = usnea.store()?;
    each(&arguments.selection, &store, Missing::Fails, |selected| {
        let container = open(&store, selected)?;
        if arguments.selection.is_vague() && !container.status()?.is_running() {
            return Ok(Said::Nothing);
        }
        container::kill(&container, arguments.signal.0)?;
        Ok(Said::Name)
    })
}
