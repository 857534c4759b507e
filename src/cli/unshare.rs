//! `usnea unshare`: runs a command in the user namespace of the containers' files.

use crate::container;
use crate::error::Result;

/// Run a command in the user namespace of containers
///
/// There you are root, and the files of volumes and of the store have the owners that containers give them: so they can be
/// looked at, changed and removed, as in 'usnea unshare chown -R 33:33 DIR'. The command has a mount namespace of its own,
/// and otherwise all that the host has. Its exit status is ours.
#[derive(clap::Args)]
pub struct Arguments {
    /// The command and its arguments. Default: $SHELL, else /bin/sh.
    #[arg(value_name = "COMMAND", trailing_var_arg = true)]
    command: Vec<String>,
}

/// Runs the command; returns its exit status.
pub fn run(arguments: &Arguments) -> Result<u8> {
    if !arguments.command.is_empty() {
        return container::unshare(&arguments.command);
    }
    let shell = std::env::var("SHELL").ok().filter(|shell| !shell.is_empty());
    container::unshare(&[shell.unwrap_or_else(|| "/bin/sh".to_owned())])
}
