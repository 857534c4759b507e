//! Credentials for registries: lookup, storage and removal in containers' auth.json, docker's config.json and
//! credential helpers. No error, log or `Debug` output contains a secret.
//!
//! ```text
//!  credential-helpers (registries.conf), in order
//!    +-- "containers-auth.json": the auth files, in order (paths)
//!    |     +-- credHelpers: the helper for this registry
//!    |     +-- HOST/NAMESPACE/REPOSITORY, HOST/NAMESPACE
//!    |     +-- credsStore: docker's helper for all registries
//!    |     `-- HOST
//!    `-- NAME: the program docker-credential-NAME
//! ```

mod entry;
mod file;
mod paths;
mod program;

use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use self::entry::{AuthFileFormat, Login};
use self::file::AuthFile;
pub use self::paths::CredentialPaths;
pub use self::program::CredentialHelpers;
use super::endpoint::RegistryCredentials;
use crate::error::{Context, Error, Result};
use crate::hint;

/// The name among `credential-helpers` that stands for the auth files.
pub const AUTH_FILES: &str = "containers-auth.json";

/// Credentials and their place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundCredentials {
    /// Secret to send to the registry.
    pub credentials: RegistryCredentials,
    /// User name, which a token may lack.
    pub username: Option<String>,
    /// Place of the credentials.
    pub store: CredentialStore,
}

/// Place of credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialStore {
    /// A file below XDG_RUNTIME_DIR: lives until the user's last session ends.
    SessionFile(PathBuf),
    /// A permanent file.
    File(PathBuf),
    /// A helper: `docker-credential-NAME`.
    Helper(String),
}

impl fmt::Display for CredentialStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SessionFile(path) | Self::File(path) => write!(f, "{}", path.display()),
            Self::Helper(name) => write!(f, "docker-credential-{name}"),
        }
    }
}

/// All places for the lookup and storage of credentials.
#[derive(Clone, Debug)]
pub struct Logins {
    helpers: Vec<String>,
    paths: CredentialPaths,
}

impl Logins {
    /// Creates the list of places. `helpers`: `credential-helpers` of registries.conf, where [`AUTH_FILES`] stands for
    /// the files.
    pub fn new(helpers: Vec<String>, paths: CredentialPaths) -> Self {
        Self { helpers, paths }
    }

    /// Finds the credentials for `repository` of the registry `host` (`docker.io`, not the host to connect to). An
    /// empty repository: for the registry as such. Errors: the named file is unreadable, an entry for the registry is
    /// malformed, or a helper fails and no other place has credentials.
    pub fn find(&self, host: &str, repository: &str) -> Result<Option<FoundCredentials>> {
        let mut first_error = None;
        for helper in &self.helpers {
            let found = match helper.as_str() {
                AUTH_FILES => self.find_in_files(host, repository),
                name => self.find_in_helper(name, &entry::names(host)),
            };
            match found {
                Ok(Some(found)) => return Ok(Some(found)),
                Ok(None) => {}
                Err(error) => drop(first_error.get_or_insert(error)),
            }
        }
        let describe = || format!("cannot find out who we are for {host}");
        first_error.map_or(Ok(None), Err).context(describe)
    }

    /// [`Logins::find`] before a first login: the named file need not exist.
    pub fn find_stored(&self, host: &str, path: &str) -> Result<Option<FoundCredentials>> {
        if self.paths.named.as_ref().is_some_and(|named| !named.exists()) {
            let helpers = self.helpers.iter().filter(|name| *name != AUTH_FILES).cloned().collect();
            return Self::new(helpers, self.paths.clone()).find(host, path);
        }
        self.find(host, path)
    }

    fn find_in_files(&self, host: &str, repository: &str) -> Result<Option<FoundCredentials>> {
        if let Some(path) = &self.paths.named {
            let file = AuthFile::read(path, AuthFileFormat::Auths)?;
            let missing =
                || Error::not_found(format!("cannot read {}: no such file", path.display()));
            return self.find_in_file(&file.ok_or_else(missing)?, path, host, repository);
        }
        let files = self.paths.files.iter().map(|path| (path, AuthFileFormat::Auths));
        let old = self.paths.old.iter().map(|path| (path, AuthFileFormat::Old));
        for (path, form) in files.chain(old) {
            // After su(1), XDG_RUNTIME_DIR often belongs to another user: no reason to refuse a public image.
            if std::fs::File::open(path)
                .is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
            {
                log::warn!("cannot read {}: Permission denied", path.display());
                continue;
            }
            let Some(file) = AuthFile::read(path, form)? else { continue };
            if let Some(found) = self.find_in_file(&file, path, host, repository)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn find_in_file(
        &self,
        file: &AuthFile,
        path: &Path,
        host: &str,
        repository: &str,
    ) -> Result<Option<FoundCredentials>> {
        if let Some((helper, name)) = file.helper(host) {
            let others = entry::names(host).into_iter().filter(|other| *other != name);
            return self
                .find_in_helper(helper, &[&[name][..], &others.collect::<Vec<_>>()].concat());
        }
        let found = |login: Login| self.found(login, self.store_at(path));
        if let Some(login) = file.login_for_folder(host, repository)? {
            return Ok(Some(found(login)));
        }
        if let Some(store) = file.store() {
            // The helper is set for every registry, also for those without a login. So, as with docker, its failure (no
            // D-Bus over ssh, a helper of another machine) is no reason to fail.
            match self.find_in_helper(store, &entry::names(host)) {
                Ok(Some(found)) => return Ok(Some(found)),
                Ok(None) => {}
                Err(error) => log::warn!("credsStore of {}: {error}", path.display()),
            }
        }
        Ok(file.login_for_registry(host)?.map(found))
    }

    /// Queries a helper under all names of the registry.
    fn find_in_helper(&self, helper: &str, names: &[&str]) -> Result<Option<FoundCredentials>> {
        for name in names {
            let secret = self.paths.programs.get(helper, name)?;
            let login = secret.and_then(|secret| Login::of_pair(&secret.username, &secret.secret));
            if let Some(login) = login {
                return Ok(Some(self.found(login, CredentialStore::Helper(helper.to_owned()))));
            }
        }
        Ok(None)
    }

    fn found(&self, login: Login, store: CredentialStore) -> FoundCredentials {
        FoundCredentials { credentials: login.credentials, username: login.username, store }
    }

    fn store_at(&self, path: &Path) -> CredentialStore {
        match &self.paths.runtime {
            Some(runtime) if path.starts_with(runtime) => {
                CredentialStore::SessionFile(path.to_owned())
            }
            _ => CredentialStore::File(path.to_owned()),
        }
    }

    /// Stores a name and a password for a registry, or for its `path` if not empty, in the first of
    /// `credential-helpers` that accepts them. Errors: none does.
    pub fn store(
        &self,
        host: &str,
        path: &str,
        username: &str,
        password: &str,
    ) -> Result<CredentialStore> {
        let mut first_error = None;
        for helper in &self.helpers {
            let stored = match helper.as_str() {
                AUTH_FILES => self.store_in_file(host, path, username, password),
                name => self.store_in_helper(name, host, path, username, password),
            };
            match stored {
                Ok(store) => return Ok(store),
                Err(error) => drop(first_error.get_or_insert(error)),
            }
        }
        let none = || Error::new("credential-helpers is empty");
        Err(first_error.unwrap_or_else(none))
            .context(|| format!("cannot keep the login for {host}"))
    }

    fn store_in_file(
        &self,
        host: &str,
        path: &str,
        username: &str,
        password: &str,
    ) -> Result<CredentialStore> {
        let place = self.writable_file()?;
        let file = AuthFile::read(place, AuthFileFormat::Auths)?;
        if let Some((helper, name)) = file.as_ref().and_then(|file| file.helper(host)) {
            return self.store_in_helper(helper, name, path, username, password);
        }
        let name = if AuthFile::is_dockers(place) { dockers_name(host) } else { host };
        let key = if path.is_empty() { name.to_owned() } else { format!("{host}/{path}") };
        // A helper supports only registries, so a login for a path is stored in the file.
        let store = file.as_ref().and_then(AuthFile::store).filter(|_| path.is_empty());
        if let Some(store) = store {
            let store =
                self.store_in_helper(store, dockers_name(host), path, username, password)?;
            // Docker's mark for a helper's secret; a previous password must not outlive the new one.
            file::change(place, |entries| drop(entries.insert(key, Value::Object(Map::new()))))?;
            return Ok(store);
        }
        file::change(place, |entries| {
            let entry = entries.entry(key).or_insert(Value::Null);
            if !entry.is_object() {
                *entry = Value::Object(Map::new());
            }
            if let Value::Object(entry) = entry {
                entry::write(entry, username, password);
            }
        })?;
        Ok(self.store_at(place))
    }

    fn store_in_helper(
        &self,
        helper: &str,
        name: &str,
        path: &str,
        username: &str,
        password: &str,
    ) -> Result<CredentialStore> {
        if !path.is_empty() {
            return Err(Error::new(format!(
                "docker-credential-{helper} keeps logins for registries, not for a path such as '{path}'"
            )));
        }
        self.paths.programs.store(helper, name, username, password)?;
        Ok(CredentialStore::Helper(helper.to_owned()))
    }

    /// Removes the login that [`Logins::store`] stores; true if one existed. Tries all places, then returns the first
    /// failure.
    pub fn erase(&self, host: &str, path: &str) -> Result<bool> {
        let mut erased = false;
        let mut first_error = None;
        for helper in &self.helpers {
            let one = match helper.as_str() {
                AUTH_FILES => self.erase_in_file(host, path),
                _ if !path.is_empty() => Ok(false),
                name => self.erase_in_helper(name, host),
            };
            match one {
                Ok(one) => erased |= one,
                Err(error) => drop(first_error.get_or_insert(error)),
            }
        }
        first_error
            .map_or(Ok(erased), Err)
            .context(|| format!("cannot forget the login for {host}"))
    }

    fn erase_in_file(&self, host: &str, path: &str) -> Result<bool> {
        let place = self.writable_file()?;
        let Some(file) = AuthFile::read(place, AuthFileFormat::Auths)? else { return Ok(false) };
        let is_meant = |key: &str| match path {
            "" => entry::registry_of(key, AuthFileFormat::Auths) == host,
            path => key == format!("{host}/{path}"),
        };
        let has_entry = file.keys().into_iter().any(is_meant);
        if has_entry {
            file::change(place, |entries| entries.retain(|key, _| !is_meant(key)))?;
        }
        let helpers = [file.helper(host).map(|(helper, _)| helper), file.store()];
        let mut erased = has_entry;
        for helper in helpers.into_iter().flatten().filter(|_| path.is_empty()) {
            erased |= self.erase_in_helper(helper, host)?;
        }
        Ok(erased)
    }

    /// Removes a login under all names of the registry. A helper's answer to `erase` is the same with and without a
    /// login, so the login is looked up first.
    fn erase_in_helper(&self, helper: &str, host: &str) -> Result<bool> {
        let mut erased = false;
        for name in entry::names(host) {
            if self.paths.programs.get(helper, name)?.is_some() {
                self.paths.programs.erase(helper, name)?;
                erased = true;
            }
        }
        Ok(erased)
    }

    /// Removes all logins in the file that is written, and in the helpers that this file or registries.conf names. The
    /// assignment of helpers to registries stays. Tries all places, then returns the first failure.
    pub fn erase_all(&self) -> Result<()> {
        let mut first_error = None;
        for helper in &self.helpers {
            let one = match helper.as_str() {
                AUTH_FILES => self.erase_all_in_file(),
                // The list of helpers may be a whole site's, with some that are not installed here.
                name if !self.paths.programs.has(name) => Ok(()),
                name => self.paths.programs.list(name).and_then(|servers| {
                    servers.iter().try_for_each(|one| self.paths.programs.erase(name, one))
                }),
            };
            if let Err(error) = one {
                first_error.get_or_insert(error);
            }
        }
        first_error.map_or(Ok(()), Err).context(|| "cannot forget all logins")
    }

    fn erase_all_in_file(&self) -> Result<()> {
        let place = self.writable_file()?;
        let Some(file) = AuthFile::read(place, AuthFileFormat::Auths)? else { return Ok(()) };
        let of_registries = file.helpers().into_iter().map(|(name, helper)| (helper, name));
        let of_store = file
            .store()
            .into_iter()
            .flat_map(|store| file.keys().into_iter().map(move |key| (store, key)));
        let programs = &self.paths.programs;
        let erase = |(helper, name): (&str, &str)| programs.erase(helper, name);
        let erased: Vec<Result<()>> = of_registries.chain(of_store).map(erase).collect();
        file::change(place, Map::clear)?;
        erased.into_iter().collect()
    }

    /// The file for new logins. Errors: no place for a file, or the folder belongs to another user.
    fn writable_file(&self) -> Result<&Path> {
        let written = self.paths.writable_file();
        let path = written.ok_or_else(|| {
            Error::new("no place for it: neither XDG_RUNTIME_DIR nor HOME is set")
                .hint(hint::NAME_AUTHFILE)
        })?;
        if self.paths.named.is_none() {
            if let Some(runtime) = &self.paths.runtime {
                std::fs::metadata(runtime)
                    .context(|| format!("XDG_RUNTIME_DIR is {}", runtime.display()))
                    .hint(|| hint::UNSET_RUNTIME_DIR)?;
            }
            path.parent().map_or(Ok(()), file::check_owner)?;
        }
        Ok(path)
    }
}

fn dockers_name(host: &str) -> &str {
    if host == super::reference::DOCKER_HUB { entry::DOCKER_HUB_KEY } else { host }
}

#[cfg(test)]
mod tests;
