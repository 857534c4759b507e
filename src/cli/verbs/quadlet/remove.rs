//! `usnea quadlet rm`: removes Quadlet files of the user.

use super::{found, own_folder, own_manager, reload, systemctl};
use crate::cli::output::failures::Failures;
use crate::cli::output::print_line;
use crate::error::{Context, Error, Result};
use crate::host::{account, program};
use crate::quadlet::service::UnitScope;
use crate::quadlet::source::QuadletFile;

/// Remove Quadlet files of the user
///
/// A file whose unit is active is not removed, unless --force stops the unit.
#[derive(clap::Args)]
pub struct Arguments {
    /// Remove all Quadlet files of the user.
    #[arg(short, long, conflicts_with = "names")]
    all: bool,

    /// Stop active services.
    #[arg(short, long)]
    force: bool,

    /// Ignore files that do not exist.
    #[arg(short, long)]
    ignore: bool,

    /// Make systemd reload its units.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    reload_systemd: bool,

    /// Names of files, such as web.container.
    #[arg(value_name = "FILE", required_unless_present = "all")]
    names: Vec<String>,
}

/// Removes files, and prints their names.
pub fn run(arguments: &Arguments) -> Result<u8> {
    let (folder, manager) = (own_folder()?, own_manager());
    let found = found(manager);
    let of_user = |source: &&QuadletFile| source.path.starts_with(&folder);
    let all = found.sources.values().filter(of_user).map(|source| source.name.clone());
    let names = if arguments.all { all.collect() } else { arguments.names.clone() };
    let active = if arguments.force { ActiveService::Stopped } else { ActiveService::Refused };
    let mut failures = Failures::default();
    for name in &names {
        match found.sources.get(name).filter(of_user) {
            None if arguments.ignore => {}
            None => {
                let text = format!("there is no Quadlet file {name} in {}", folder.display());
                failures.add(Error::not_found(text));
            }
            Some(source) => match remove(source, manager, active) {
                Ok(()) => print_line(name),
                Err(error) => failures.add(error),
            },
        }
    }
    if arguments.reload_systemd {
        reload(manager)?;
    }
    failures.end()
}

/// Treatment of a file whose service is active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ActiveService {
    /// An error.
    Refused,
    /// Stopped first.
    Stopped,
}

fn remove(source: &QuadletFile, manager: UnitScope, active: ActiveService) -> Result<()> {
    let service = format!("{}.service", source.service());
    let ask = |words: &[&str]| {
        let mut command = systemctl(manager);
        program::ask(command.args(words).arg(&service), account::PATIENCE)
    };
    let is_active = ask(&["is-active", "--quiet"]).is_ok_and(|answer| answer.status.success());
    if is_active && active == ActiveService::Refused {
        let error = Error::conflict(format!("{service} is active"));
        return Err(error.hint("stop it, or use --force"));
    }
    if is_active {
        ask(&["stop"]).context(|| format!("cannot stop {service}"))?;
    }
    std::fs::remove_file(&source.path).context(|| source.path.display().to_string())
}
