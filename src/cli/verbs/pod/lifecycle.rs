//! `usnea pod start`, `stop`, `restart`, `kill`, `pause` and `unpause`: verbs for all containers of pods.

use crate::cli::flags::pod::{MissingPods, PodSelection};
use crate::cli::flags::stop::SignalFlag;
use crate::container::Usnea;
use crate::container::pods;
use crate::error::{Context, Result};
use crate::sys::fd;

/// Start the containers of pods
///
/// The container that starts first creates the namespaces of the pod. Running containers are left unchanged.
#[derive(clap::Args)]
pub struct PodStartArguments {
    #[command(flatten)]
    selection: PodSelection,
}

/// Stop the containers of pods
///
/// All containers of a pod are stopped at the same time.
#[derive(clap::Args)]
pub struct PodStopArguments {
    #[command(flatten)]
    selection: PodSelection,

    #[command(flatten)]
    limit: PodStopTime,

    /// Ignore pods that do not exist.
    #[arg(short, long)]
    ignore: bool,
}

/// Time limit of a stop.
#[derive(clap::Args)]
struct PodStopTime {
    /// Seconds to wait before a container is killed; -1: no limit. Default: the container's own, else 10.
    #[arg(
        short,
        long = "time",
        visible_alias = "timeout",
        value_name = "SECONDS",
        allow_negative_numbers = true
    )]
    time: Option<i64>,
}

/// Restart the containers of pods
///
/// All containers are stopped, then all are started, in new namespaces.
#[derive(clap::Args)]
pub struct PodRestartArguments {
    #[command(flatten)]
    selection: PodSelection,

    #[command(flatten)]
    limit: PodStopTime,
}

/// Send a signal to the containers of pods
#[derive(clap::Args)]
pub struct PodKillArguments {
    #[command(flatten)]
    selection: PodSelection,

    /// Signal name or number.
    #[arg(short, long, value_name = "SIGNAL", default_value = "KILL")]
    signal: SignalFlag,
}

/// Pause the containers of pods
#[derive(clap::Args)]
pub struct PodPauseArguments {
    #[command(flatten)]
    selection: PodSelection,
}

/// Resume the containers of paused pods
#[derive(clap::Args)]
pub struct PodUnpauseArguments {
    #[command(flatten)]
    selection: PodSelection,
}

/// Closes descriptors of the caller, which must not reach the containers; those opened later close by themselves.
fn close_descriptors() -> Result<()> {
    fd::close_at_exec_from(3).context(|| "cannot close descriptors")
}

/// Starts the containers of pods.
pub fn start(arguments: &PodStartArguments, usnea: &Usnea) -> Result<u8> {
    close_descriptors()?;
    arguments.selection.each(usnea, MissingPods::Fails, |pod| pods::start(usnea, pod))
}

/// Stops the containers of pods.
pub fn stop(arguments: &PodStopArguments, usnea: &Usnea) -> Result<u8> {
    let missing = if arguments.ignore { MissingPods::Ignored } else { MissingPods::Fails };
    arguments.selection.each(usnea, missing, |pod| pods::stop(pod, arguments.limit.time))
}

/// Restarts the containers of pods.
pub fn restart(arguments: &PodRestartArguments, usnea: &Usnea) -> Result<u8> {
    close_descriptors()?;
    let time = arguments.limit.time;
    arguments.selection.each(usnea, MissingPods::Fails, |pod| pods::restart(usnea, pod, time))
}

/// Sends a signal to the containers of pods.
pub fn kill(arguments: &PodKillArguments, usnea: &Usnea) -> Result<u8> {
    let signal = arguments.signal.0;
    arguments.selection.each(usnea, MissingPods::Fails, |pod| pods::kill(pod, signal))
}

/// Pauses the containers of pods.
pub fn pause(arguments: &PodPauseArguments, usnea: &Usnea) -> Result<u8> {
    arguments.selection.each(usnea, MissingPods::Fails, pods::pause)
}

/// Thaws the containers of pods.
pub fn unpause(arguments: &PodUnpauseArguments, usnea: &Usnea) -> Result<u8> {
    arguments.selection.each(usnea, MissingPods::Fails, pods::unpause)
}
