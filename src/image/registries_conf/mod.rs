//! Names and locations of images: completes typed names, and finds registries and mirrors with their credentials. See
//! containers-registries.conf(5), certs.d(5). Decides before any request is sent; starts no threads.
//!
//! ```text
//!  typed --candidates--> Reference --pull_endpoints--> Endpoint: mirrors, then the registry
//!                                  --push_endpoint---> Endpoint: the registry
//! ```
//!
//! The files are read as containers/image does, so that a file has the same meaning for podman, skopeo and usnea.
//! Without a setting for short names, docker's rule holds: docker.io, and `library/` if the name has no other folder.

mod entry;
mod file;
mod paths;

use std::path::{Path, PathBuf};

use self::entry::{RegistryEntry, RegistryLocation};
use self::file::{RegistriesSettings, ShortNameMode};
pub use self::paths::RegistriesPaths;
use super::credentials::{AUTH_FILES, CredentialPaths, Logins};
use super::endpoint::{RegistryCredentials, RegistryEndpoint, RetrySettings, TransportSecurity};
use super::reference::{DOCKER_HUB, Reference, TypedReference};
use crate::error::{Context, Error, Result, Setting};

/// Registry options of the command line; they override the files.
#[derive(Clone, Debug, Default)]
pub struct RegistryOptions {
    /// Verify certificates (`--tls-verify`); `None`: as configured.
    pub tls_verify: Option<bool>,
    /// Folder of certificates (`--cert-dir`).
    pub cert_dir: Option<PathBuf>,
    /// Credentials (`--creds`): for the registry of the reference only, not for its mirrors.
    pub credentials: Option<RegistryCredentials>,
    /// Auth file (`--authfile`).
    pub authfile: Option<PathBuf>,
    /// Retries of requests that fail (`--retry`, `--retry-delay`).
    pub retries: RetrySettings,
}

/// All settings of the files.
#[derive(Clone, Debug)]
pub struct Registries {
    settings: RegistriesSettings,
    paths: RegistriesPaths,
    credential_paths: CredentialPaths,
}

impl Registries {
    /// Reads the files of this process's user. Errors: an unreadable file, or an invalid setting.
    pub fn load() -> Result<Self> {
        Self::load_from(RegistriesPaths::of_user(), CredentialPaths::of_user())
    }

    /// [`Registries::load`] from other paths.
    pub fn load_from(paths: RegistriesPaths, credential_paths: CredentialPaths) -> Result<Self> {
        Ok(Self { settings: paths.read()?, paths, credential_paths })
    }

    /// The registries that are searched for short names.
    pub fn searched(&self) -> Vec<String> {
        self.settings.search.clone().unwrap_or_else(|| vec![DOCKER_HUB.to_owned()])
    }

    /// The complete references that `typed` may mean, in order. Empty: a short name, and
    /// `unqualified-search-registries` is empty. Errors: several, and `short-name-mode` is enforcing.
    pub fn candidates(&self, typed: &TypedReference) -> Result<Vec<Reference>> {
        if typed.registry.is_some() {
            return Ok(vec![typed.in_registry(DOCKER_HUB)]);
        }
        if let Some(Some(alias)) = self.settings.aliases.get(&typed.repository) {
            let meant = TypedReference {
                tag: typed.tag.clone(),
                digest: typed.digest.clone(),
                ..alias.clone()
            };
            return Ok(vec![meant.in_registry(DOCKER_HUB)]);
        }
        let Some(search) = self.settings.search.as_deref() else {
            return Ok(vec![typed.in_registry(DOCKER_HUB)]);
        };
        let all: Vec<Reference> = search.iter().map(|name| typed.in_registry(name)).collect();
        if all.len() > 1 && self.settings.short_names == Some(ShortNameMode::Enforcing) {
            let names: Vec<String> = all.iter().map(Reference::to_string).collect();
            let error = Error::new(format!(
                "image '{}' may be {}, and short-name-mode is enforcing",
                typed.repository,
                names.join(" or ")
            ));
            return Err(
                error.hint("type the whole name, or add it to [aliases] in registries.conf")
            );
        }
        Ok(all)
    }

    /// Locations of `reference` for a pull: mirrors in their order, then the registry itself. Errors: a blocked
    /// registry, a location that gives no valid reference, or a failed lookup of credentials.
    pub fn pull_endpoints(
        &self,
        reference: &Reference,
        asked: &RegistryOptions,
    ) -> Result<Vec<RegistryEndpoint>> {
        let entry = self.entry(&reference.to_string())?;
        let is_said = entry.is_some();
        let places = match entry {
            Some(entry) => entry.places(reference)?,
            None => vec![RegistryLocation { reference: reference.clone(), insecure: false }],
        };
        let logins = self.logins(asked.authfile.as_deref());
        let endpoint = |place: &RegistryLocation| {
            let Reference { registry, repository, .. } = &place.reference;
            let given = asked.credentials.clone().filter(|_| *registry == reference.registry);
            let credentials = match given {
                Some(given) => Some(given),
                None => logins.find(registry, repository)?.map(|found| found.credentials),
            };
            let insecure = is_said.then_some(place.insecure);
            self.endpoint(registry, repository, insecure, credentials, asked)
        };
        places.iter().map(endpoint).collect()
    }

    /// Location for a push: the registry itself, never a mirror, and never the configured `location`
    /// (containers-registries.conf(5): redirection is for reading only). Errors: as with
    /// [`Registries::pull_endpoints`].
    pub fn push_endpoint(
        &self,
        reference: &Reference,
        asked: &RegistryOptions,
    ) -> Result<RegistryEndpoint> {
        let insecure = self.entry(&reference.to_string())?.map(|entry| entry.insecure);
        let Reference { registry, repository, .. } = reference;
        let credentials = self.credentials(registry, repository, asked)?;
        self.endpoint(registry, repository, insecure, credentials, asked)
    }

    /// The registry as such, for a search. Errors: blocked, or a failed lookup of credentials.
    pub fn search_endpoint(
        &self,
        registry: &str,
        asked: &RegistryOptions,
    ) -> Result<RegistryEndpoint> {
        let insecure = self.entry(registry)?.map(|entry| entry.insecure);
        let credentials = self.credentials(registry, "", asked)?;
        self.endpoint(registry, "", insecure, credentials, asked)
    }

    fn credentials(
        &self,
        registry: &str,
        repository: &str,
        asked: &RegistryOptions,
    ) -> Result<Option<RegistryCredentials>> {
        match &asked.credentials {
            Some(given) => Ok(Some(given.clone())),
            None => {
                let logins = self.logins(asked.authfile.as_deref());
                Ok(logins.find(registry, repository)?.map(|found| found.credentials))
            }
        }
    }

    /// The registry as such, for a login with `asked.credentials`. Errors: blocked.
    pub fn login_endpoint(
        &self,
        registry: &str,
        asked: &RegistryOptions,
    ) -> Result<RegistryEndpoint> {
        let insecure = self.entry(registry)?.map(|entry| entry.insecure);
        self.endpoint(registry, "", insecure, asked.credentials.clone(), asked)
    }

    /// Paths for the lookup and storage of credentials; `authfile` is `--authfile`.
    pub fn logins(&self, authfile: Option<&Path>) -> Logins {
        let named = self.settings.helpers.as_deref().filter(|names| !names.is_empty());
        let helpers = named.map_or_else(|| vec![AUTH_FILES.to_owned()], <[String]>::to_vec);
        Logins::new(helpers, self.credential_paths.clone().with_authfile(authfile))
    }

    /// The `[[registry]]` with the best match. Errors: blocked.
    fn entry(&self, name: &str) -> Result<Option<&RegistryEntry>> {
        let ranked =
            self.settings.entries.iter().filter_map(|entry| Some((entry.rank(name)?, entry)));
        let best = ranked.max_by_key(|(rank, _)| *rank).map(|(_, entry)| entry);
        match best.filter(|entry| entry.blocked) {
            Some(entry) => {
                let (prefix, file) = (&entry.prefix, entry.file.display());
                Err(Error::refused(format!("{name}: '{prefix}' is blocked in {file}")))
            }
            None => Ok(best),
        }
    }

    fn endpoint(
        &self,
        registry: &str,
        repository: &str,
        insecure: Option<bool>,
        credentials: Option<RegistryCredentials>,
        asked: &RegistryOptions,
    ) -> Result<RegistryEndpoint> {
        let certificates = match &asked.cert_dir {
            Some(folder) if !folder.is_dir() => {
                return Err(Error::invalid("no such folder"))
                    .context(|| Setting::CertDir.with(folder.display()));
            }
            Some(folder) => vec![folder.clone()],
            None => self.paths.certificates_for(registry).into_iter().collect(),
        };
        // As with docker, a registry on this machine needs no TLS, unless files, flags or certificates exist for it.
        let insecure = insecure.unwrap_or(certificates.is_empty() && is_loopback(registry));
        let transport = match (asked.tls_verify, insecure) {
            (Some(false), _) | (None, true) => TransportSecurity::Insecure,
            _ => TransportSecurity::Verified,
        };
        let host = if registry == DOCKER_HUB { "registry-1.docker.io" } else { registry };
        Ok(RegistryEndpoint {
            host: host.to_owned(),
            repository: repository.to_owned(),
            transport,
            credentials,
            certificates,
            retries: asked.retries,
        })
    }
}

/// True if a registry is on this machine: localhost, 127.0.0.0/8, ::1, with or without a port.
fn is_loopback(registry: &str) -> bool {
    let host = match registry.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => registry,
    };
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests;
