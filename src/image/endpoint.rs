//! Address, transport and credentials of a registry: decided by `registries_conf` before any request, used by `registry_client`.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// A location of a repository: the registry itself or a mirror of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryEndpoint {
    /// Host and port to connect to: `registry-1.docker.io`, `127.0.0.1:5000`.
    pub host: String,
    /// Name of the repository at this location (a mirror may add a prefix).
    pub repository: String,
    /// Required security of the connection.
    pub transport: TransportSecurity,
    /// Credentials for the location; `None`: anonymous.
    pub credentials: Option<RegistryCredentials>,
    /// Folders of `certs.d` for this host: `*.crt` are authorities, `*.cert` with `*.key` is our client certificate
    /// (docker's).
    pub certificates: Vec<PathBuf>,
    /// Retries of requests that fail.
    pub retries: RetrySettings,
}

/// Retries of a request that failed for a passing reason (`--retry`, `--retry-delay`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetrySettings {
    /// Number of retries without progress; `None`: the default one.
    pub count: Option<u32>,
    /// Pause before each retry; `None`: the default one, which grows.
    pub delay: Option<Duration>,
}

/// Required security of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TransportSecurity {
    /// HTTPS with a valid certificate.
    #[default]
    Verified,
    /// HTTPS with any certificate, else plain HTTP (`--tls-verify=false`, `insecure = true`).
    Insecure,
}

/// Credentials for a registry. `Debug` hides the secret.
#[derive(Clone, PartialEq, Eq)]
pub enum RegistryCredentials {
    /// User name and password.
    Password {
        /// The user name.
        username: String,
        /// The password.
        password: String,
    },
    /// A refresh token of OAuth2 (docker's `identitytoken`).
    IdentityToken(String),
    /// A bearer token for the registry itself (docker's `registrytoken`).
    RegistryToken(String),
}

impl fmt::Debug for RegistryCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { username, .. } => write!(f, "Password({username}, ***)"),
            Self::IdentityToken(_) => f.write_str("IdentityToken(***)"),
            Self::RegistryToken(_) => f.write_str("RegistryToken(***)"),
        }
    }
}
