//! `usnea container`: a file for each command, or for a few related ones. All but prune are top-level commands too.

pub mod attach;
pub mod clone;
pub mod commit;
pub mod copy;
pub mod create;
pub mod diff;
pub mod exec;
pub mod export;
pub mod flags;
pub mod healthcheck;
pub mod inspect;
pub mod logs;
pub mod pause;
pub mod port;
pub mod ps;
pub mod remove;
pub mod selection;
pub mod start;
pub mod stats;
pub mod stop;
pub mod top;
pub mod update;
pub mod wait;

use std::path::PathBuf;

use clap::Subcommand;

use crate::cli::late::Late;
use crate::cli::run;
use crate::error::Result;

/// Manage containers
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// Verbs at the top level and below `container`.
#[derive(Subcommand)]
pub enum Command {
    /// Attach to a running container.
    Attach(Late<attach::Arguments>),
    /// Create a container with the configuration of another one.
    Clone(Late<Box<clone::Arguments>>),
    /// Create an image from a container.
    Commit(Late<commit::Arguments>),
    /// Copy files between a container and the host.
    Cp(Late<copy::Arguments>),
    /// Create a container without starting it.
    Create(Late<Box<create::Arguments>>),
    /// Inspect changes to files of a container.
    Diff(Late<diff::Arguments>),
    /// Export the file system of a container as a tar archive.
    Export(Late<export::Arguments>),
    /// Run a command in a running container.
    Exec(Late<exec::Arguments>),
    /// Check whether a container exists: exit with 0 if so, else with 1.
    Exists(Late<wait::ExistsArguments>),
    /// Show detailed information on containers.
    Inspect(Late<inspect::Arguments>),
    /// Send a signal to containers.
    Kill(Late<stop::KillArguments>),
    /// Show container logs.
    Logs(Late<logs::Arguments>),
    /// Pause all processes of containers.
    Pause(Late<pause::PauseArguments>),
    /// List port mappings of containers.
    Port(Late<port::Arguments>),
    /// List containers.
    #[command(visible_aliases = ["ls", "list"])]
    Ps(Late<ps::Arguments>),
    /// Remove all stopped containers.
    Prune(Late<remove::PruneArguments>),
    /// Rename a container.
    Rename(Late<wait::RenameArguments>),
    /// Restart containers.
    Restart(Late<stop::RestartArguments>),
    /// Remove containers.
    Rm(Late<remove::Arguments>),
    /// Run a command in a new container.
    Run(Late<Box<run::RunArguments>>),
    /// Start containers.
    Start(Late<start::Arguments>),
    /// Show resource usage of running containers.
    Stats(Late<stats::Arguments>),
    /// Stop running containers.
    Stop(Late<stop::StopArguments>),
    /// Show the running processes of a container.
    Top(Late<top::Arguments>),
    /// Resume all processes of paused containers.
    Unpause(Late<pause::UnpauseArguments>),
    /// Update the configuration of containers.
    Update(Late<update::Arguments>),
    /// Wait until containers have exited.
    Wait(Late<wait::Arguments>),
}

/// Runs the subcommand; returns the exit status.
pub fn run(arguments: Arguments, root: Option<PathBuf>) -> Result<u8> {
    let below = root.as_deref();
    match arguments.command {
        Command::Attach(Late(attach)) => attach::run(&attach, below),
        Command::Clone(Late(clone)) => clone::run(&clone, below),
        Command::Commit(Late(commit)) => commit::run(&commit, below),
        Command::Cp(Late(copy)) => copy::run(&copy, below),
        Command::Create(Late(create)) => create::run(*create, root),
        Command::Diff(Late(diff)) => diff::run(&diff, below),
        Command::Export(Late(export)) => export::of_container(&export, below),
        Command::Exec(Late(exec)) => exec::run(exec, below),
        Command::Exists(Late(exists)) => wait::exists(&exists, below),
        Command::Inspect(Late(inspect)) => {
            inspect::run(&inspect, below, Some(inspect::Kind::Container))
        }
        Command::Kill(Late(kill)) => stop::kill(&kill, below),
        Command::Logs(Late(logs)) => logs::run(&logs, below),
        Command::Pause(Late(pause)) => pause::pause(&pause, below),
        Command::Port(Late(port)) => port::run(&port, below),
        Command::Ps(Late(ps)) => ps::run(ps, below),
        Command::Prune(Late(prune)) => remove::prune(&prune, below),
        Command::Rename(Late(rename)) => wait::rename(&rename, below),
        Command::Restart(Late(restart)) => stop::restart(&restart, below),
        Command::Rm(Late(remove)) => remove::run(&remove, below),
        Command::Run(Late(run)) => run::run(*run, root),
        Command::Start(Late(start)) => start::run(&start, below),
        Command::Stats(Late(stats)) => stats::run(&stats, below),
        Command::Stop(Late(stop)) => stop::stop(&stop, below),
        Command::Top(Late(top)) => top::run(&top, below),
        Command::Unpause(Late(unpause)) => pause::unpause(&unpause, below),
        Command::Update(Late(update)) => update::run(&update, below),
        Command::Wait(Late(wait)) => wait::run(&wait, below),
    }
}
