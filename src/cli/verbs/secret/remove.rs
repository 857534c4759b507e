//! `usnea secret rm`: removes secrets.

use std::path::Path;

use crate::cli::output::failures::Failures;
use crate::cli::output::print_line;
use crate::container::secrets;
use crate::error::{ErrorKind, Result};

/// Remove secrets
///
/// Containers that have a secret keep it, as with podman.
#[derive(clap::Args)]
pub struct Arguments {
    /// Secret names or IDs.
    #[arg(value_name = "SECRET", required_unless_present = "all")]
    names: Vec<String>,

    /// Select all secrets.
    #[arg(short, long, conflicts_with = "names")]
    all: bool,

    /// Ignore secrets that do not exist.
    #[arg(short, long)]
    ignore: bool,
}

/// Removes secrets, and prints their IDs.
pub fn run(arguments: &Arguments, store: &Path) -> Result<u8> {
    let mut failures = Failures::default();
    let mut names = arguments.names.clone();
    if arguments.all {
        names.extend(secrets::all(store)?.into_iter().map(|secret| secret.name.to_string()));
    }
    for typed in &names {
        let removed = secrets::find(store, typed).and_then(|(secret, _)| {
            secrets::remove(store, &secret)?;
            Ok(secret.id)
        });
        match removed {
            Ok(id) => print_line(&id),
            Err(error) if arguments.ignore && error.kind() == ErrorKind::NotFound => {}
            Err(error) => failures.add(error),
        }
    }
    failures.end()
}
