//! `usnea container`: one file a command, or a few that are one thought. All but prune are at the top too.

pub mod attach;
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
    Attach(attach::Arguments),
    /// Make an image of a container.
    Commit(commit::Arguments),
    /// Copy files between a container and the host.
    Cp(copy::Arguments),
    /// Make a container without starting it.
    Create(Box<create::Arguments>),
    /// Show what a container changed in the files of its image.
    Diff(diff::Arguments),
    /// Write the file system of a container as one tar.
    Export(export::Arguments),
    /// Run a command in a running container.
    Exec(exec::Arguments),
    /// Show all that is known of containers.
    Inspect(inspect::Arguments),
    /// Send containers a signal.
    Kill(stop::KillArguments),
    /// Show what containers wrote.
    Logs(logs::Arguments),
    /// Stop all processes of containers where they are.
    Pause(pause::PauseArguments),
    /// Show the ports of the host that lead into containers.
    Port(port::Arguments),
    /// List containers.
    #[command(visible_aliases = ["ls", "list"])]
    Ps(ps::Arguments),
    /// Remove all containers that do not run.
    Prune(remove::PruneArguments),
    /// Give a container another name.
    Rename(wait::RenameArguments),
    /// Stop containers and start them again.
    Restart(stop::RestartArguments),
    /// Remove containers.
    Rm(remove::Arguments),
    /// Run a command in a new container.
    Run(Box<run::RunArguments>),
    /// Start containers.
    Start(start::Arguments),
    /// Show what running containers use.
    Stats(stats::Arguments),
    /// Stop containers.
    Stop(stop::StopArguments),
    /// Show the processes of a container.
    Top(top::Arguments),
    /// Let the processes of paused containers go on.
    Unpause(pause::UnpauseArguments),
    /// Change containers that there are.
    Update(update::Arguments),
    /// Wait until containers have ended.
    Wait(wait::Arguments),
}

/// Carries it out.
pub fn run(arguments: Arguments, root: Option<PathBuf>) -> Result<u8> {
    let below = root.as_deref();
    match arguments.command {
        Command::Attach(attach) => attach::run(&attach, below),
        Command::Commit(commit) => commit::run(&commit, below),
        Command::Cp(copy) => copy::run(&copy, below),
        Command::Create(create) => create::run(*create, root),
        Command::Diff(diff) => diff::run(&diff, below),
        Command::Export(export) => export::of_container(&export, below),
        Command::Exec(exec) => exec::run(exec, below),
        Command::Inspect(inspect) => inspect::run(&inspect, below, Some(inspect::Kind::Container)),
        Command::Kill(kill) => stop::kill(&kill, below),
        Command::Logs(logs) => logs::run(&logs, below),
        Command::Pause(pause) => pause::pause(&pause, below),
        Command::Port(port) => port::run(&port, below),
        Command::Ps(ps) => ps::run(ps, below),
        Command::Prune(prune) => remove::prune(&prune, below),
        Command::Rename(rename) => wait::rename(&rename, below),
        Command::Restart(restart) => stop::restart(&restart, below),
        Command::Rm(remove) => remove::run(&remove, below),
        Command::Run(run) => run::run(*run, root),
        Command::Start(start) => start::run(&start, below),
        Command::Stats(stats) => stats::run(&stats, below),
        Command::Stop(stop) => stop::stop(&stop, below),
        Command::Top(top) => top::run(&top, below),
        Command::Unpause(unpause) => pause::unpause(&unpause, below),
        Command::Update(update) => update::run(&update, below),
        Command::Wait(wait) => wait::run(&wait, below),
    }
}
