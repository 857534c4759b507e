//! `usnea login` and `usnea logout`: stores credentials that the registry accepts, and removes stored ones.
//!
//! The request to the registry starts threads in this process, which makes no container.

use std::path::Path;
use std::str::FromStr;

use crate::error::{Context, Error, ErrorKind, Result};
use crate::fail;
use crate::hint;
use crate::image::credentials::{CredentialStore, FoundCredentials, Logins};
use crate::image::endpoint::RegistryCredentials;
use crate::image::reference::{DOCKER_HUB, TypedReference};
use crate::image::registries_conf::{Registries, RegistryOptions};
use crate::image::registry_client::{Registry, RegistryAccess};

/// Scope of a login: `HOST[:PORT][/NAMESPACE[/REPOSITORY]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    host: String,
    path: String,
}

impl Default for Account {
    /// Returns docker.io, as docker does.
    fn default() -> Self {
        Self { host: DOCKER_HUB.to_owned(), path: String::new() }
    }
}

impl FromStr for Account {
    type Err = Error;

    /// Accepts a URL too, of which only the host is used, as in docker.
    fn from_str(text: &str) -> Result<Self> {
        let address = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let (host, path) = match (address, text.split_once('/')) {
            (Some(address), _) => (address.split('/').next().unwrap_or_default(), ""),
            (None, Some((host, path))) => (host, path.trim_end_matches('/')),
            (None, None) => (text, ""),
        };
        let repository = if path.is_empty() { "x" } else { path };
        let shown = text.escape_debug();
        let typed: Option<TypedReference> = format!("{host}/{repository}").parse().ok();
        let Some(typed) = typed.filter(|typed| typed.registry.as_deref() == Some(host)) else {
            return Err(Error::invalid(format!("'{shown}' is not a registry"))
                .hint("HOST[:PORT], with a dot or a port, such as quay.io or localhost:5000"));
        };
        if typed.tag.is_some() || typed.digest.is_some() {
            fail!(Invalid: "'{shown}': a login is for a registry or a repository, not for one image of it");
        }
        let host = typed.in_registry(DOCKER_HUB).registry;
        Ok(Self { host, path: path.to_owned() })
    }
}

impl std::fmt::Display for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let separator = if self.path.is_empty() { "" } else { "/" };
        write!(f, "{}{separator}{}", self.host, self.path)
    }
}

/// User name and password, as typed.
pub struct TypedCredentials {
    /// User name.
    pub username: String,
    /// Password.
    pub password: String,
}

impl TypedCredentials {
    fn check(&self) -> Result<()> {
        if self.username.is_empty() {
            fail!(Invalid: "no user name");
        }
        if self.username.contains(':') {
            // In credentials, the first colon separates the name from the password.
            fail!(Invalid: "a user name has no colon");
        }
        if self.password.is_empty() {
            fail!(Invalid: "no password");
        }
        Ok(())
    }
}

/// Source of user name and password.
pub enum CredentialSource<'a> {
    /// User name and password from the command line.
    Given(TypedCredentials),
    /// Prompt for user name and password.
    Prompt {
        /// Asks the user; the argument is the default for the user name.
        ask: &'a mut dyn FnMut(Option<&str>) -> Result<TypedCredentials>,
        /// True if a stored login is used that the registry still accepts.
        or_stored: bool,
    },
}

/// Logs in: stores user name and password if the registry accepts them. Returns the place of the stored login. Errors:
/// the registry rejects them or cannot be reached; they cannot be stored.
pub fn login(
    account: &Account,
    asked: &RegistryOptions,
    source: CredentialSource<'_>,
) -> Result<CredentialStore> {
    let registries = Registries::load()?;
    let logins = registries.logins(asked.authfile.as_deref());
    let typed = match source {
        CredentialSource::Given(typed) => typed,
        CredentialSource::Prompt { ask, or_stored } => {
            let stored = logins.find_stored(&account.host, &account.path)?;
            let refused = |found: &FoundCredentials| {
                check(&registries, account, asked, &found.credentials)
                    .inspect_err(|error| log::info!("login stored in {}: {error}", found.store))
                    .is_err()
            };
            match stored {
                Some(found) if or_stored && !refused(&found) => return Ok(found.store),
                stored => ask(stored.and_then(|found| found.username).as_deref())?,
            }
        }
    };
    typed.check()?;
    let TypedCredentials { username, password } = typed;
    let credentials =
        RegistryCredentials::Password { username: username.clone(), password: password.clone() };
    check(&registries, account, asked, &credentials)?;
    logins.store(&account.host, &account.path, &username, &password)
}

fn check(
    registries: &Registries,
    account: &Account,
    asked: &RegistryOptions,
    credentials: &RegistryCredentials,
) -> Result<()> {
    let asked = RegistryOptions { credentials: Some(credentials.clone()), ..asked.clone() };
    let endpoint = registries.login_endpoint(&account.host, &asked)?;
    let registry = Registry::new(endpoint, "latest".to_owned(), RegistryAccess::Pull)?;
    // The registry's hint would be to log in.
    let without_hint = |error: Error| match error.kind() {
        ErrorKind::Refused => error.without_hint(),
        _ => error,
    };
    registry
        .check_credentials()
        .map_err(without_hint)
        .context(|| format!("cannot log in to {account}"))
}

/// Returns the user name of the stored login. Errors: not logged in.
pub fn username(account: &Account, authfile: Option<&Path>) -> Result<String> {
    let stored = Registries::load()?.logins(authfile).find_stored(&account.host, &account.path)?;
    match stored {
        // docker's text for a login with a token, without a user name.
        Some(found) => Ok(found.username.unwrap_or_else(|| "<token>".to_owned())),
        None => Err(not_logged_in(account)),
    }
}

/// Removes a stored login. Errors: no such login; it cannot be removed.
pub fn logout(account: &Account, authfile: Option<&Path>) -> Result<()> {
    let logins = Registries::load()?.logins(authfile);
    if logins.erase(&account.host, &account.path)? {
        return Ok(());
    }
    let error = not_logged_in(account);
    Err(match elsewhere(&logins, account) {
        Some(CredentialStore::File(path) | CredentialStore::SessionFile(path)) => {
            let path = path.display();
            error.hint(hint::log_out_of_file(path, account))
        }
        _ => error,
    })
}

fn elsewhere(logins: &Logins, account: &Account) -> Option<CredentialStore> {
    logins.find_stored(&account.host, &account.path).ok().flatten().map(|found| found.store)
}

fn not_logged_in(account: &Account) -> Error {
    Error::not_found(format!("not logged in to {account}"))
}

/// Removes all stored logins from `authfile`, else from the default auth file. Errors: a login cannot be removed.
pub fn logout_everywhere(authfile: Option<&Path>) -> Result<()> {
    Registries::load()?.logins(authfile).erase_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_a_registry_or_a_part_of_one() {
        for (text, shown) in [
            ("quay.io", "quay.io"),
            ("quay.io/ns/", "quay.io/ns"),
            ("localhost", "localhost"),
            ("127.0.0.1:5000", "127.0.0.1:5000"),
            ("docker.io/me", "docker.io/me"),
            ("index.docker.io", "docker.io"),
            ("https://index.docker.io/v1/", "docker.io"),
            ("http://localhost:5000/v2/", "localhost:5000"),
            ("[::1]:5000", "[::1]:5000"),
        ] {
            assert_eq!(text.parse::<Account>().unwrap().to_string(), shown);
        }
        for text in
            ["", "plain", "me/x", "https://", "a.io/x:1", "a.io/X", "../x", "a b.io", "u:p@a.io"]
        {
            assert!(text.parse::<Account>().is_err(), "{text}");
        }
    }

    #[test]
    fn names_and_passwords_are_checked() {
        let check = |username: &str, password: &str| {
            TypedCredentials { username: username.into(), password: password.into() }.check()
        };
        assert!(check("me", "a:b").is_ok());
        for (username, password) in [("", "p"), ("a:b", "p"), ("me", "")] {
            assert!(check(username, password).is_err());
        }
    }
}
