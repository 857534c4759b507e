//! `usnea pod`: a file for each verb.

mod create;
mod exists;
mod inspect;
mod lifecycle;
mod list;
mod logs;
mod prune;
mod remove;
mod stats;
mod top;

use clap::Subcommand;

use crate::cli::late::Late;
use crate::container::Usnea;
use crate::error::Result;

/// Manage pods
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: PodCommand,
}

#[derive(Subcommand)]
enum PodCommand {
    /// Create a pod.
    Create(Late<Box<create::Arguments>>),
    /// Check whether a pod exists: exit with 0 if so, else with 1.
    Exists(Late<exists::Arguments>),
    /// Show detailed information on pods.
    Inspect(Late<inspect::Arguments>),
    /// Send a signal to the containers of pods.
    Kill(Late<lifecycle::PodKillArguments>),
    /// Show the logs of the containers of a pod.
    Logs(Late<logs::Arguments>),
    /// Pause the containers of pods.
    Pause(Late<lifecycle::PodPauseArguments>),
    /// Remove all pods without running containers.
    Prune(Late<prune::Arguments>),
    /// List pods.
    #[command(visible_aliases = ["ls", "list"])]
    Ps(Late<list::Arguments>),
    /// Restart the containers of pods.
    Restart(Late<lifecycle::PodRestartArguments>),
    /// Remove pods with their containers.
    Rm(Late<remove::Arguments>),
    /// Start the containers of pods.
    Start(Late<lifecycle::PodStartArguments>),
    /// Show resource usage of the running containers of pods.
    Stats(Late<stats::Arguments>),
    /// Stop the containers of pods.
    Stop(Late<lifecycle::PodStopArguments>),
    /// Show the running processes of a pod.
    Top(Late<top::Arguments>),
    /// Resume the containers of paused pods.
    Unpause(Late<lifecycle::PodUnpauseArguments>),
}

/// Runs the subcommand; returns the exit status.
pub fn run(arguments: Arguments, usnea: &Usnea) -> Result<u8> {
    match arguments.command {
        PodCommand::Create(Late(create)) => create::run(*create, usnea),
        PodCommand::Exists(Late(exists)) => exists::run(&exists, usnea),
        PodCommand::Inspect(Late(inspect)) => inspect::run(&inspect, usnea),
        PodCommand::Kill(Late(kill)) => lifecycle::kill(&kill, usnea),
        PodCommand::Logs(Late(logs)) => logs::run(&logs, usnea),
        PodCommand::Pause(Late(pause)) => lifecycle::pause(&pause, usnea),
        PodCommand::Prune(Late(prune)) => prune::run(&prune, usnea),
        PodCommand::Ps(Late(list)) => list::run(list, usnea),
        PodCommand::Restart(Late(restart)) => lifecycle::restart(&restart, usnea),
        PodCommand::Rm(Late(remove)) => remove::run(&remove, usnea),
        PodCommand::Start(Late(start)) => lifecycle::start(&start, usnea),
        PodCommand::Stats(Late(stats)) => stats::run(&stats, usnea),
        PodCommand::Stop(Late(stop)) => lifecycle::stop(&stop, usnea),
        PodCommand::Top(Late(top)) => top::run(&top, usnea),
        PodCommand::Unpause(Late(unpause)) => lifecycle::unpause(&unpause, usnea),
    }
}
