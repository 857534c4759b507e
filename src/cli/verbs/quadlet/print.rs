//! `usnea quadlet print`: prints a Quadlet file, or its service.

use super::{found, generated, own_manager};
use crate::cli::output::print;
use crate::error::{Context, Error, Result};

/// Print a Quadlet file, or the systemd unit generated from it
#[derive(clap::Args)]
pub struct Arguments {
    /// Print the generated systemd unit.
    #[arg(long)]
    service: bool,

    /// Name of the file, such as web.container.
    #[arg(value_name = "FILE")]
    name: String,
}

/// Prints the file.
pub fn run(arguments: &Arguments) -> Result<u8> {
    let manager = own_manager();
    let found = found(manager);
    let name = &arguments.name;
    let Some(source) = found.sources.get(name) else {
        let error = found
            .problems
            .iter()
            .find(|problem| problem.path().is_some_and(|path| path.ends_with(name)));
        let missing = || Error::not_found(format!("there is no Quadlet file {name}"));
        return Err(error
            .map_or_else(missing, |error| Error::invalid(error.to_string()))
            .exit_status(1));
    };
    if !arguments.service {
        let text = std::fs::read_to_string(&source.path);
        return print(&text.context(|| source.path.display().to_string())?);
    }
    let path = source.path.clone();
    let generated = generated(found, manager)?;
    match generated.units.values().find(|unit| unit.source.as_deref() == Some(name)) {
        Some(unit) => print(&unit.text),
        None => {
            let problem = generated.problems.iter().find(|problem| problem.path() == Some(&path));
            let text =
                problem.map_or_else(|| format!("{name} gives no service"), ToString::to_string);
            Err(Error::invalid(text).exit_status(1))
        }
    }
}
