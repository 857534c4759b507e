//! `usnea container`: a file for each command, or for a few related ones. Most are top-level commands too: those are
//! verbs, declared once.

pub mod attach;
pub mod clone;
pub mod commit;
pub mod copy;
pub mod create;
pub mod diff;
pub mod exec;
pub mod exists;
pub mod export;
pub mod healthcheck;
pub mod inspect;
pub mod kill;
pub mod logs;
pub mod pause;
pub mod port;
pub mod prune;
pub mod ps;
pub mod remove;
pub mod rename;
pub mod restart;
pub mod start;
pub mod stats;
pub mod stop;
pub mod top;
pub mod update;
pub mod wait;

use clap::{Command, Subcommand};

use crate::cli::late::Late;
use crate::cli::verbs::run;
use crate::container::Usnea;
use crate::error::Result;

/// Manage containers
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: ContainerCommand,
}

#[derive(Subcommand)]
#[command(mut_subcommand("ps", |ps: Command| ps.visible_aliases(["ls", "list"])))]
enum ContainerCommand {
    #[command(flatten)]
    Verb(Box<ContainerVerb>),
    /// Create a container with the configuration of another one.
    Clone(Late<Box<clone::Arguments>>),
    /// Check whether a container exists: exit with 0 if so, else with 1.
    Exists(Late<exists::Arguments>),
    /// Remove all stopped containers.
    Prune(Late<prune::Arguments>),
}

#[derive(Subcommand)]
pub enum ContainerVerb {
    /// Run a command in a new container.
    Run(Late<Box<run::Arguments>>),
    /// Create a container without starting it.
    Create(Late<Box<create::Arguments>>),
    /// Start containers.
    Start(Late<start::Arguments>),
    /// Stop running containers.
    Stop(Late<stop::Arguments>),
    /// Restart containers.
    Restart(Late<restart::Arguments>),
    /// Send a signal to containers.
    Kill(Late<kill::Arguments>),
    /// Remove containers.
    Rm(Late<remove::Arguments>),
    /// List containers.
    Ps(Late<ps::Arguments>),
    /// Show container logs.
    Logs(Late<logs::Arguments>),
    /// Attach to a running container.
    Attach(Late<attach::Arguments>),
    /// Create an image from a container.
    Commit(Late<commit::Arguments>),
    /// Inspect changes to files of a container.
    Diff(Late<diff::Arguments>),
    /// Copy files between a container and the host.
    Cp(Late<copy::Arguments>),
    /// Run a command in a running container.
    Exec(Late<exec::Arguments>),
    /// Wait until containers have exited.
    Wait(Late<wait::Arguments>),
    /// Show detailed information on containers.
    Inspect(Late<inspect::Arguments>),
    /// Rename a container.
    Rename(Late<rename::Arguments>),
    /// List port mappings of containers.
    Port(Late<port::Arguments>),
    /// Show the running processes of a container.
    Top(Late<top::Arguments>),
    /// Update the configuration of containers.
    Update(Late<update::Arguments>),
    /// Pause all processes of containers.
    Pause(Late<pause::PauseArguments>),
    /// Resume all processes of paused containers.
    Unpause(Late<pause::UnpauseArguments>),
    /// Show resource usage of running containers.
    Stats(Late<stats::Arguments>),
    /// Export the file system of a container as a tar archive.
    Export(Late<export::Arguments>),
}

/// Objects that a name may stand for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum NameScope {
    /// Containers, else images, else volumes: the command is at the top level.
    All,
    /// Containers only: the command is below `container`.
    Containers,
}

/// Runs the subcommand; returns the exit status.
pub fn run(arguments: Arguments, usnea: &Usnea) -> Result<u8> {
    match arguments.command {
        ContainerCommand::Verb(verb) => verb.run(usnea, NameScope::Containers),
        ContainerCommand::Clone(Late(clone)) => clone::run(&clone, usnea),
        ContainerCommand::Exists(Late(exists)) => exists::run(&exists, usnea),
        ContainerCommand::Prune(Late(prune)) => prune::run(&prune, usnea),
    }
}

impl ContainerVerb {
    /// Runs the verb; returns the exit status.
    pub fn run(self, usnea: &Usnea, scope: NameScope) -> Result<u8> {
        match self {
            Self::Run(Late(run)) => run::run(*run, usnea),
            Self::Create(Late(create)) => create::run(*create, usnea),
            Self::Start(Late(start)) => start::run(&start, usnea),
            Self::Stop(Late(stop)) => stop::run(&stop, usnea),
            Self::Restart(Late(restart)) => restart::run(&restart, usnea),
            Self::Kill(Late(kill)) => kill::run(&kill, usnea),
            Self::Rm(Late(remove)) => remove::run(&remove, usnea),
            Self::Ps(Late(ps)) => ps::run(ps, usnea),
            Self::Logs(Late(logs)) => logs::run(&logs, usnea),
            Self::Attach(Late(attach)) => attach::run(&attach, usnea),
            Self::Commit(Late(commit)) => commit::run(&commit, usnea),
            Self::Diff(Late(diff)) => diff::run(&diff, usnea),
            Self::Cp(Late(copy)) => copy::run(&copy, usnea),
            Self::Exec(Late(exec)) => exec::run(exec, usnea),
            Self::Wait(Late(wait)) => wait::run(&wait, usnea),
            Self::Inspect(Late(inspect)) => {
                let containers = scope == NameScope::Containers;
                inspect::run(&inspect, usnea, containers.then_some(inspect::InspectKind::Container))
            }
            Self::Rename(Late(rename)) => rename::run(&rename, usnea),
            Self::Port(Late(port)) => port::run(&port, usnea),
            Self::Top(Late(top)) => top::run(&top, usnea),
            Self::Update(Late(update)) => update::run(&update, usnea),
            Self::Pause(Late(pause)) => pause::pause(&pause, usnea),
            Self::Unpause(Late(unpause)) => pause::unpause(&unpause, usnea),
            Self::Stats(Late(stats)) => stats::run(&stats, usnea),
            Self::Export(Late(export)) => export::run(&export, usnea, scope),
        }
    }
}
