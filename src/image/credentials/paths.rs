//! Paths of credentials: containers-auth.json(5), and docker's files after them.

use std::path::{Path, PathBuf};

use super::program::CredentialHelpers;
use crate::config;

/// The files and programs that store credentials.
#[derive(Clone, Debug, Default)]
pub struct CredentialPaths {
    /// `--authfile`, else `$REGISTRY_AUTH_FILE`: this file and no other.
    pub named: Option<PathBuf>,
    /// Default files without a named file, in this order; the first one is written.
    pub files: Vec<PathBuf>,
    /// Docker's `.dockercfg` of 2015, read last.
    pub old: Option<PathBuf>,
    /// `$XDG_RUNTIME_DIR`: its files vanish when the user's last session ends.
    pub runtime: Option<PathBuf>,
    /// The credential helpers.
    pub programs: CredentialHelpers,
}

impl CredentialPaths {
    /// The paths of this process's user. Without XDG_RUNTIME_DIR podman uses /run/containers/UID, which only root
    /// could create. usnea uses `~/.config/containers/auth.json`, and never a file below /tmp.
    pub fn of_user() -> Self {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let folder = |name: &str| set(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let runtime = folder("XDG_RUNTIME_DIR");
        let home = folder("HOME");
        let docker = set("DOCKER_CONFIG")
            .map(PathBuf::from)
            .or(home.as_ref().map(|home| home.join(".docker")));
        let of_containers = |folder: &PathBuf| folder.join("containers/auth.json");
        let files = [
            runtime.as_ref().map(of_containers),
            config::user_folder().as_ref().map(of_containers),
            docker.map(|folder| folder.join("config.json")),
        ];
        Self {
            named: set("REGISTRY_AUTH_FILE").map(PathBuf::from),
            files: files.into_iter().flatten().collect(),
            old: home.map(|home| home.join(".dockercfg")),
            runtime,
            programs: CredentialHelpers::of_user(),
        }
    }

    /// Replaces the named file by `authfile` (`--authfile`), if given.
    pub fn with_authfile(self, authfile: Option<&Path>) -> Self {
        match authfile {
            Some(path) => Self { named: Some(path.to_owned()), ..self },
            None => self,
        }
    }

    /// The file that logins are written to.
    pub fn writable_file(&self) -> Option<&Path> {
        self.named.as_deref().or(self.files.first().map(PathBuf::as_path))
    }
}
