//! `start`, `kill` and `delete`.

use crate::cli::flags::stop::SignalFlag;
use crate::container::{self, Usnea};
use crate::error::Result;
use crate::oci::{self, Deletion, KillScope, Runtime};

/// Start the command of a created container
#[derive(clap::Args)]
pub struct StartArguments {
    /// The container.
    #[arg(value_name = "CONTAINER")]
    id: String,
}

/// Send a signal to a container
#[derive(clap::Args)]
pub struct KillArguments {
    /// Signal all processes of the container.
    #[arg(short, long)]
    all: bool,

    /// The container.
    #[arg(value_name = "CONTAINER")]
    id: String,

    /// Signal name or number.
    #[arg(value_name = "SIGNAL", default_value = "TERM")]
    signal: SignalFlag,
}

/// Delete a container that has stopped
#[derive(clap::Args)]
pub struct DeleteArguments {
    /// Kill the container first, and ignore a missing container.
    #[arg(short, long)]
    force: bool,

    /// The container.
    #[arg(value_name = "CONTAINER")]
    id: String,
}

/// Starts a container.
pub fn start(arguments: &StartArguments, runtime: &Runtime) -> Result<u8> {
    oci::start(runtime, &arguments.id).map(|()| 0)
}

/// Signals a container.
pub fn kill(arguments: &KillArguments, runtime: &Runtime) -> Result<u8> {
    let scope = if arguments.all { KillScope::All } else { KillScope::First };
    oci::kill(runtime, &arguments.id, arguments.signal.0, scope).map(|()| 0)
}

/// Deletes a container.
pub fn delete(arguments: &DeleteArguments, runtime: &Runtime) -> Result<u8> {
    let deletion = if arguments.force { Deletion::Forced } else { Deletion::Stopped };
    let deleted = oci::delete(runtime, &arguments.id, deletion);
    remove_records();
    deleted.map(|()| 0)
}

/// Removes the records of killed containers whose bundles name an image. Without a store there is none.
pub(super) fn remove_records() {
    let _ = container::remove_records_of_killed(&Usnea::new(None));
}
