//! `usnea quadlet generate`: systemd's generator.

use std::io::Write;
use std::path::PathBuf;

use super::{found, generated, places};
use crate::cli::output::print;
use crate::error::{Context, Result};
use crate::quadlet::service::UnitScope;
use crate::quadlet::{Generated, podman_generator};

/// Write the services of all Quadlet files, as systemd asks for them
///
/// systemd.generator(7) describes the folders. A file with an error gives no service, and hinders no other.
#[derive(clap::Args)]
pub struct Arguments {
    /// Print the services, and write nothing.
    #[arg(long)]
    dryrun: bool,

    /// Make the services of a user's manager.
    #[arg(long, conflicts_with = "system")]
    user: bool,

    /// Make the services of the machine's manager.
    #[arg(long)]
    system: bool,

    /// Write nothing where systemd runs podman's generator, which reads the same files.
    #[arg(long)]
    unless_podman: bool,

    /// Folders for units: of normal, high and low priority.
    #[arg(value_name = "FOLDER", required_unless_present = "dryrun", num_args = 0..=3)]
    folders: Vec<PathBuf>,
}

/// Writes the services, or prints them. Returns 1 if a file has an error.
pub fn run(arguments: &Arguments) -> Result<u8> {
    let manager = if arguments.user { UnitScope::User } else { UnitScope::System };
    // A test of the generator names its folders, and nobody else's.
    let is_real = !arguments.dryrun && places().instead.is_none();
    if arguments.unless_podman
        && is_real
        && let Some(other) = podman_generator::active(manager)
    {
        log::info!("{} makes the services of Quadlet files", other.display());
        return Ok(0);
    }
    let generated = generated(found(manager), manager)?;
    report(&generated, manager);
    match arguments.folders.first().filter(|_| !arguments.dryrun) {
        Some(folder) => {
            generated.write(folder).context(|| format!("cannot write {}", folder.display()))?;
        }
        None => {
            let units = generated.units.values();
            let text = units.map(|unit| format!("---{}---\n{}\n", unit.file_name, unit.text));
            print(&text.collect::<String>())?;
        }
    }
    Ok(u8::from(!generated.problems.is_empty()))
}

/// Logs errors and warnings. While the machine boots nothing reads standard error, but the kernel's log is kept.
fn report(generated: &Generated, manager: UnitScope) {
    let mut kernel = match manager {
        UnitScope::System => std::fs::OpenOptions::new().write(true).open("/dev/kmsg").ok(),
        UnitScope::User => None,
    };
    for message in generated.warnings.iter().chain(&generated.problems) {
        if let Some(kernel) = &mut kernel {
            let _ = writeln!(kernel, "usnea-generator: {message}");
        }
    }
    generated.warnings.iter().for_each(|message| log::warn!("{message}"));
    generated.problems.iter().for_each(|message| log::error!("{message}"));
}
