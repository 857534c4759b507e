//! Where a registry is spoken to, how, and as whom: what `registries` decides before anything is sent, and `registry`
//! carries out.

use std::fmt;
use std::path::PathBuf;

/// One place from which a repository can be had: the registry itself or a mirror of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `registry-1.docker.io`, `127.0.0.1:5000`: host and port as they are dialled.
    pub host: String,
    /// The repository as it is called there (a mirror may keep it under a prefix).
    pub repository: String,
    /// How far the other side is trusted.
    pub transport: Transport,
    /// Who we are there.
    pub credentials: Option<Credentials>,
    /// Folders of `certs.d` for this host: `*.crt` are authorities, `*.cert` with `*.key` is who we are (docker's).
    pub certificates: Vec<PathBuf>,
}

/// How far the other side is trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// HTTPS with a certificate that holds.
    #[default]
    Verified,
    /// HTTPS with any certificate, else plain HTTP (`--tls-verify=false`, `insecure = true`).
    Insecure,
}

/// Who we are for a registry. Never shown: `Debug` hides the secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A name and its password.
    Password {
        /// The name.
        username: String,
        /// The password.
        password: String,
    },
    /// A refresh token of OAuth2 (docker's `identitytoken`).
    IdentityToken(String),
    /// A bearer token for the registry itself (docker's `registrytoken`).
    RegistryToken(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { username, .. } => write!(f, "Password({username}, ***)"),
            Self::IdentityToken(_) => f.write_str("IdentityToken(***)"),
            Self::RegistryToken(_) => f.write_str("RegistryToken(***)"),
        }
    }
}
