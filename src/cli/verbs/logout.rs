//! `usnea logout`: logs out of registries.

use std::path::PathBuf;

use crate::cli::output::print;
use crate::container::login::{self, Account};
use crate::error::Result;

/// Log out of a registry
///
/// Removes the login from the place where usnea login and podman login store it: a credential helper, or an auth file.
#[derive(clap::Args)]
pub struct Arguments {
    /// Registry to log out of, as for usnea login. Default: docker.io.
    #[arg(value_name = "REGISTRY", conflicts_with = "all")]
    registry: Option<String>,

    /// Log out of all registries.
    #[arg(short, long)]
    all: bool,

    /// Auth file to remove the login from. Default: $REGISTRY_AUTH_FILE.
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
}

/// Logs out of a registry, or of all.
pub fn run(arguments: Arguments) -> Result<u8> {
    let authfile = arguments.authfile.as_deref();
    if arguments.all {
        login::logout_everywhere(authfile)?;
        return print("Removed login credentials for all registries\n");
    }
    let account: Account =
        arguments.registry.map_or(Ok(Account::default()), |text| text.parse())?;
    login::logout(&account, authfile)?;
    print(&format!("Removed login credentials for {account}\n"))
}
