//! `usnea unshare`: runs a command in the user namespace of the containers' files.

use crate::container;
use crate::container::Usnea;
use crate::error::Result;

/// Run a command in the user namespace of the containers
///
/// The command runs as root of the user namespace, and sees files of volumes and of the store with the owners that
/// containers see: 'usnea unshare chown -R 33:33 DIR' changes them. The command has its own mount namespace and shares
/// all other namespaces with the host. The exit status is that of the command.
#[derive(clap::Args)]
pub struct Arguments {
    /// The command and its arguments. Default: $SHELL, else /bin/sh.
    #[arg(value_name = "COMMAND", trailing_var_arg = true)]
    command: Vec<String>,
}

/// Runs the command; returns its exit status.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    if !arguments.command.is_empty() {
        return container::unshare(usnea, &arguments.command);
    }
    let shell = std::env::var("SHELL").ok().filter(|shell| !shell.is_empty());
    container::unshare(usnea, &[shell.unwrap_or_else(|| "/bin/sh".to_owned())])
}
