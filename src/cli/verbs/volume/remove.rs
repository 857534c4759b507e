//! `usnea volume rm`: removes volumes.

use crate::cli::output::failures::Failures;
use crate::cli::output::print_line;
use crate::container::Usnea;
use crate::container::volumes;
use crate::error::Result;

/// Remove volumes
///
/// Removes volumes with their files. A volume that a container mounts, running or stopped, is not removed.
#[derive(clap::Args)]
pub struct Arguments {
    /// Volume names.
    #[arg(value_name = "VOLUME", required_unless_present = "all")]
    names: Vec<String>,

    /// Select all volumes.
    #[arg(short, long, conflicts_with = "names")]
    all: bool,

    /// Ignore volumes that do not exist.
    #[arg(short, long)]
    force: bool,
}

/// Removes volumes, and prints their names.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    let store = usnea.store()?;
    let mut failures = Failures::default();
    let mut names = arguments.names.clone();
    if arguments.all {
        names.extend(volumes::all(store)?.into_iter().map(|volume| volume.name.to_string()));
    }
    for typed in &names {
        let removed = match volumes::named(store, typed) {
            Ok((name, _)) => volumes::remove(usnea, &name),
            // A damaged volume, such as after a kill, can be removed too.
            Err(error) => match typed.parse() {
                Ok(name) if volumes::folder(store).join(typed).exists() => {
                    volumes::remove(usnea, &name)
                }
                _ if arguments.force => continue,
                _ => Err(error),
            },
        };
        match removed {
            Ok(()) => print_line(typed),
            Err(error) => failures.add(error),
        }
    }
    failures.end()
}
