//! `usnea quadlet`: services of systemd from files that describe containers. Also systemd's generator, which is this
//! program under another name.

mod check;
mod generate;
mod install;
mod list;
mod print;
mod remove;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Subcommand;

use crate::cli::late::Late;
use crate::error::{Context, Error, Result};
use crate::host::{account, program};
use crate::quadlet::search::{self, FoundFiles, SearchPlaces};
use crate::quadlet::service::{AccountLookups, UnitScope};
use crate::quadlet::{Generated, generate as generate_units};

/// Manage Quadlet files: systemd units for containers
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: QuadletCommand,
}

#[derive(Subcommand)]
enum QuadletCommand {
    /// Report errors and unknown keys in Quadlet files.
    Check(Late<check::Arguments>),
    /// Write the services of all Quadlet files, as systemd asks for them.
    #[command(hide = true)]
    Generate(Late<generate::Arguments>),
    /// Install Quadlet files for the user.
    Install(Late<install::Arguments>),
    /// List Quadlet files.
    #[command(visible_alias = "ls")]
    List(Late<list::Arguments>),
    /// Print a Quadlet file, or the systemd unit generated from it.
    Print(Late<print::Arguments>),
    /// Remove Quadlet files of the user.
    #[command(visible_alias = "remove")]
    Rm(Late<remove::Arguments>),
}

/// Name of the generator for the managers of users.
const USER_GENERATOR: &str = "usnea-user-generator";
/// Name of the generator for the manager of the machine.
const SYSTEM_GENERATOR: &str = "usnea-system-generator";

/// Turns the words of a generator into those of `usnea quadlet generate`.
pub fn as_generator(words: Vec<OsString>) -> Vec<OsString> {
    let name =
        words.first().and_then(|word| Path::new(word).file_name()).and_then(|name| name.to_str());
    let manager = match name {
        Some(USER_GENERATOR) => "--user",
        Some(SYSTEM_GENERATOR) => "--system",
        _ => return words,
    };
    let mut words = words.into_iter();
    let program = words.next().unwrap_or_default();
    // podman's generator has Go's flags, with one dash.
    let long = words.map(|word| match word.to_str() {
        Some("-dryrun" | "-dry-run") => "--dryrun".into(),
        Some("-user") => "--user".into(),
        Some("-v" | "-no-kmsg-log") => OsString::new(),
        _ => word,
    });
    let long = long.filter(|word| !word.is_empty());
    let command = ["quadlet", "generate", "--unless-podman", manager].map(OsString::from);
    [program].into_iter().chain(command).chain(long).collect()
}

/// Runs the subcommand; returns the exit status.
pub fn run(arguments: Arguments) -> Result<u8> {
    match arguments.command {
        QuadletCommand::Check(Late(check)) => check::run(&check),
        QuadletCommand::Generate(Late(generate)) => generate::run(&generate),
        QuadletCommand::Install(Late(install)) => install::run(&install),
        QuadletCommand::List(Late(list)) => list::run(list),
        QuadletCommand::Print(Late(print)) => print::run(&print),
        QuadletCommand::Rm(Late(remove)) => remove::run(&remove),
    }
}

/// Scope of the machine for root, else of the user.
fn own_manager() -> UnitScope {
    match rustix::process::geteuid().is_root() {
        true => UnitScope::System,
        false => UnitScope::User,
    }
}

fn places() -> SearchPlaces {
    let path =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    SearchPlaces {
        instead: std::env::var("QUADLET_UNIT_DIRS").ok().filter(|folders| !folders.is_empty()),
        runtime: path("XDG_RUNTIME_DIR"),
        config: path("XDG_CONFIG_HOME").or_else(|| path("HOME").map(|home| home.join(".config"))),
        user: rustix::process::getuid().as_raw(),
    }
}

/// Folder for the files of the user, or of the machine's administrator.
fn own_folder() -> Result<PathBuf> {
    const NAME: &str = "containers/systemd";
    match own_manager() {
        UnitScope::System => Ok(Path::new("/etc").join(NAME)),
        UnitScope::User => places()
            .config
            .map(|config| config.join(NAME))
            .ok_or_else(|| Error::invalid("neither XDG_CONFIG_HOME nor HOME names a folder")),
    }
}

fn found(manager: UnitScope) -> FoundFiles {
    search::find(&places().folders(manager))
}

/// Services of all files in `found`.
fn generated(found: FoundFiles, manager: UnitScope) -> Result<Generated> {
    let program = std::env::current_exe().context(|| "the path of this program")?;
    let accounts = AccountLookups { user: account::user_id, group: account::group_id };
    Ok(generate_units(found, &program.to_string_lossy(), manager, accounts))
}

/// Makes the manager read its units again. Without a manager nothing is to be done.
fn reload(manager: UnitScope) -> Result<()> {
    let mut command = systemctl(manager);
    match program::ask(command.arg("daemon-reload"), account::PATIENCE) {
        Ok(answer) if answer.status.success() => Ok(()),
        Ok(_) => Err(Error::new("systemctl daemon-reload failed")),
        Err(error) => Err(error.into()),
    }
    .or_else(|error| {
        log::warn!("{error}: the change counts when systemd reads its units again");
        Ok(())
    })
}

fn systemctl(manager: UnitScope) -> std::process::Command {
    let mut command = std::process::Command::new("systemctl");
    if manager == UnitScope::User {
        command.arg("--user");
    }
    command
}
