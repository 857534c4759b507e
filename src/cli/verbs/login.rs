//! `usnea login`: logs in to a registry.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::builder::BoolishValueParser;

use crate::cli::output::print;
use crate::cli::output::prompt::{self, Echo};
use crate::container::login::{self, Account, CredentialSource, TypedCredentials};
use crate::error::{Error, Result};
use crate::image::credentials::CredentialStore;
use crate::image::registries_conf::RegistryOptions;

/// Log in to a registry
///
/// User name and password are stored if the registry accepts them; podman, skopeo and buildah use them too. They are
/// stored by a credential helper, if one is configured. Otherwise they are in $XDG_RUNTIME_DIR/containers/auth.json
/// until the last session ends, or, without XDG_RUNTIME_DIR, in ~/.config/containers/auth.json.
#[derive(clap::Args)]
pub struct Arguments {
    /// Registry to log in to: HOST[:PORT], or HOST[:PORT]/NAMESPACE for a part of it. Default: docker.io.
    #[arg(value_name = "REGISTRY")]
    registry: Option<String>,

    /// User name.
    #[arg(short, long, value_name = "NAME")]
    username: Option<String>,

    /// Password. Other users of the machine can see it; use --password-stdin instead.
    #[arg(
        short,
        long,
        conflicts_with = "password_stdin",
        value_name = "PASSWORD",
        allow_hyphen_values = true
    )]
    password: Option<String>,

    /// Read the password from standard input.
    #[arg(long, requires = "username")]
    password_stdin: bool,

    /// Auth file to store the login in. Default: $REGISTRY_AUTH_FILE.
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,

    /// Directory of certificates for the registry: *.crt are authorities, *.cert and *.key are client certificates.
    #[arg(long, value_name = "DIR")]
    cert_dir: Option<PathBuf>,

    /// Require HTTPS and verify certificates; false: accept any certificate, or plain HTTP. Default: true, unless
    /// registries.conf marks the registry as insecure.
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "BOOL", default_missing_value = "true",
          hide_possible_values = true, value_parser = BoolishValueParser::new())]
    tls_verify: Option<bool>,

    /// Print the user name of the current login.
    #[arg(long, conflicts_with_all = ["username", "password", "password_stdin"])]
    get_login: bool,

    /// Print where the login is stored.
    #[arg(short, long)]
    verbose: bool,
}

/// Logs in, or prints the name of the current login.
pub fn run(arguments: Arguments) -> Result<u8> {
    let account: Account =
        arguments.registry.map_or(Ok(Account::default()), |text| text.parse())?;
    if arguments.get_login {
        let username = login::username(&account, arguments.authfile.as_deref())?;
        return print(&format!("{username}\n"));
    }
    if arguments.password.is_some() {
        log::warn!(
            "--password can be seen by others, in ps and in the shell's history: use --password-stdin"
        );
    }
    let password = match arguments.password {
        None if arguments.password_stdin => Some(prompt::read_all()?),
        password => password,
    };
    let has_place =
        arguments.authfile.is_some() || std::env::var_os("REGISTRY_AUTH_FILE").is_some();
    let options = RegistryOptions {
        tls_verify: arguments.tls_verify,
        cert_dir: arguments.cert_dir,
        credentials: None,
        authfile: arguments.authfile,
        ..RegistryOptions::default()
    };
    let store = match (arguments.username, password) {
        (Some(username), Some(password)) => login::login(
            &account,
            &options,
            CredentialSource::Given(TypedCredentials { username, password }),
        ),
        (username, password) => {
            let or_stored = username.is_none() && password.is_none();
            let ask =
                &mut |proposed: Option<&str>| ask(username.clone(), password.clone(), proposed);
            login::login(&account, &options, CredentialSource::Prompt { ask, or_stored })
        }
    }?;
    if let CredentialStore::File(path) = &store
        && !has_place
    {
        log::warn!(
            "the login is kept, unencrypted, in {} until 'usnea logout {account}'",
            path.display()
        );
    }
    let used = if arguments.verbose { format!("Used: {store}\n") } else { String::new() };
    print(&format!("{used}Login Succeeded!\n"))
}

/// Asks for the missing user name or password.
fn ask(
    username: Option<String>,
    password: Option<String>,
    proposed: Option<&str>,
) -> Result<TypedCredentials> {
    if !std::io::stdin().is_terminal() {
        let what = if username.is_some() { "password" } else { "user name" };
        return Err(Error::invalid(format!(
            "no {what}, and standard input is not a terminal to ask for it"
        ))
        .hint("usnea login --username NAME --password-stdin REGISTRY < FILE"));
    }
    let username = match (username, proposed) {
        (Some(username), _) => username,
        (None, None) => prompt::ask("Username", Echo::On)?,
        (None, Some(proposed)) => {
            // The proposed name comes from a file: its control characters must not reach the terminal.
            let question = format!("Username ({})", proposed.escape_debug());
            let answer = prompt::ask(&question, Echo::On)?;
            if answer.is_empty() { proposed.to_owned() } else { answer }
        }
    };
    let password = match password {
        Some(password) => password,
        None => prompt::ask("Password", Echo::Off)?,
    };
    Ok(TypedCredentials { username, password })
}
