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

/// What there is at the top and below `container`.
#[derive(Subcommand)]
pub enum Command {
    /// Be with a running container.
    Attach(Late<attach::Arguments>),
    /// Create a container with the configuration of another one.
    Clone(Late<Box<clone::Arguments>>),
    /// Make an image of a container.
    Commit(Late<commit::Arguments>),
    /// Copy files between a container and the host.
    Cp(Late<copy::Arguments>),
    /// Make a container without starting it.
    Create(Late<Box<create::Arguments>>),
    /// Show what a container changed in the files of its image.
    Diff(Late<diff::Arguments>),
    /// Write the file system of a container as one tar.
    Export(Late<export::Arguments>),
    /// Run a command in a running container.
    Exec(Late<exec::Arguments>),
    /// Exit with 0 if a container exists, with 1 if not.
    Exists(Late<wait::ExistsArguments>),
    /// Show all that is known of containers.
    Inspect(Late<inspect::Arguments>),
    /// Send containers a signal.
    Kill(Late<stop::KillArguments>),
    /// Show what containers wrote.
    Logs(Late<logs::Arguments>),
    /// Stop all processes of containers where they are.
    Pause(Late<pause::PauseArguments>),
    /// Show the ports of the host that lead into containers.
    Port(Late<port::Arguments>),
    /// List containers.
    #[command(visible_aliases = ["ls", "list"])]
    Ps(Late<ps::Arguments>),
    /// Remove all containers that do not run.
    Prune(Late<remove::PruneArguments>),
    /// Give a container another name.
    Rename(Late<wait::RenameArguments>),
    /// Stop containers and start them again.
    Restart(Late<stop::RestartArguments>),
    /// Remove containers.
    Rm(Late<remove::Arguments>),
    /// Run a command in a new container.
    Run(Late<Box<run::RunArguments>>),
    /// Start containers.
    Start(Late<start::Arguments>),
    /// Show what running containers use.
    Stats(Late<stats::Arguments>),
    /// Stop containers.
    Stop(Late<stop::StopArguments>),
    /// Show the processes of a container.
    Top(Late<top::Arguments>),
    /// Let the processes of paused containers go on.
    Unpause(Late<pause::UnpauseArguments>),
    /// Change containers that there are.
    Update(Late<update::Arguments>),
    /// Wait until containers have ended.
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
