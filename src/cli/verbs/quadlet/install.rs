//! `usnea quadlet install`: installs Quadlet files for the user.

use std::path::PathBuf;

use super::{own_folder, own_manager, reload};
use crate::cli::output::failures::Failures;
use crate::cli::output::print_line;
use crate::error::{Context, Error, Result};
use crate::quadlet::library::{self, InstalledFile};

/// Install Quadlet files for the user
///
/// Copies the files to ~/.config/containers/systemd, or for root to /etc/containers/systemd. Then systemd reloads its
/// units.
#[derive(clap::Args)]
pub struct Arguments {
    /// Replace existing files of the same names.
    #[arg(short, long)]
    replace: bool,

    /// Make systemd reload its units.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    reload_systemd: bool,

    /// Files, or directories of files.
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
}

/// Installs the files, and prints their new paths.
pub fn run(arguments: &Arguments) -> Result<u8> {
    let folder = own_folder()?;
    let installed = if arguments.replace { InstalledFile::Replaced } else { InstalledFile::Kept };
    let mut failures = Failures::default();
    for path in library::named(&arguments.paths).context(|| "cannot list the files")? {
        match library::install(&path, &folder, installed) {
            Ok(path) => print_line(&path.display().to_string()),
            Err(problem) => failures.add(Error::conflict(problem.to_string())),
        }
    }
    if arguments.reload_systemd {
        reload(own_manager())?;
    }
    failures.end()
}
