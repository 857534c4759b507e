//! Bind mounts of the host's files and folders: common parts of `--volume` and `--mount type=bind`.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::idmap::Idmap;
use super::storage_driver::IDMAP;
use crate::error::{Context, Error, Result};

/// Path of a bind mount's source, as typed: absolute, or relative with `./` or `../` in front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindSource {
    path: PathBuf,
    missing: MissingSource,
}

/// Consequence of a missing source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MissingSource {
    /// Error.
    Refused,
    /// A folder is made (`bind-create-src`).
    Made,
}

impl BindSource {
    /// An absolute path.
    pub(super) fn of(path: PathBuf) -> Self {
        Self { path, missing: MissingSource::Refused }
    }

    /// Path as typed.
    pub(super) fn typed(&self) -> &Path {
        &self.path
    }

    /// The same, with this consequence of a missing source.
    pub(super) fn with(self, missing: MissingSource) -> Self {
        Self { missing, ..self }
    }

    /// Returns the absolute path. Errors: the path does not exist and is not to be made, or cannot be accessed.
    pub(super) fn found(&self) -> Result<PathBuf> {
        let path = self.absolute()?;
        // Links are followed to the end: a dangling link counts as missing.
        match std::fs::metadata(&path) {
            Err(error) if self.is_made() && error.kind() == ErrorKind::NotFound => Ok(path),
            answer => answer.map(|_| path).context(|| self.path.display().to_string()),
        }
    }

    /// Returns the path of a folder that is to be made before the mount. `None`: the source exists, or must exist.
    pub(super) fn to_be_made(&self) -> Option<PathBuf> {
        let path = self.absolute().ok().filter(|_| self.is_made())?;
        std::fs::metadata(&path)
            .is_err_and(|error| error.kind() == ErrorKind::NotFound)
            .then_some(path)
    }

    fn is_made(&self) -> bool {
        self.missing == MissingSource::Made
    }

    fn absolute(&self) -> Result<PathBuf> {
        std::path::absolute(&self.path).context(|| self.path.display().to_string())
    }
}

impl FromStr for BindSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let relative =
            matches!(text, "." | "..") || text.starts_with("./") || text.starts_with("../");
        if text.is_empty() {
            return Err("the path on the host is empty".into());
        }
        if !text.starts_with('/') && !relative {
            return Err(format!("'{text}' is no path: write ./{text}"));
        }
        Ok(Self::of(Path::new(text).to_owned()))
    }
}

/// Access of the container to a bind mount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BindAccess {
    /// Read and write.
    #[default]
    ReadWrite,
    /// Read-only, mounts below the bind mount included.
    ReadOnly,
}

/// Settings of a bind mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindOptions {
    /// Write access of the container.
    pub access: BindAccess,
    /// `rbind` or `bind`.
    pub reach: &'static str,
    /// Propagation: a word of mount(8).
    pub propagation: &'static str,
    /// Mount flags among nosuid, nodev, noexec, suid, dev, exec.
    pub flags: Vec<&'static str>,
    /// Ownership of the files.
    pub owners: BindOwners,
}

/// Ownership of a bind mount's files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum BindOwners {
    /// Unchanged owners.
    #[default]
    AsTheyAre,
    /// Owned by the container's user: chown, on the host too (`U`).
    TheUsers,
    /// Mapped to other owners by an ID-mapped mount (`idmap`).
    Mapped(Idmap),
}

impl BindOwners {
    /// Adds the option `idmap` to the ownership by the option `U`. Errors: both are present.
    pub(super) fn with_idmap(self, idmap: Option<Idmap>) -> Result<Self, String> {
        match (self, idmap) {
            (owners, None) => Ok(owners),
            (Self::TheUsers, Some(_)) => Err("'U' and 'idmap' exclude each other".into()),
            (_, Some(idmap)) => Ok(Self::Mapped(idmap)),
        }
    }

    /// Refuses `U` on a folder of the system, or on the caller's home: its owner must not change (podman's list).
    pub(super) fn refuse_what_others_need(&self, source: &Path) -> Result<()> {
        const SYSTEM: [&str; 24] = [
            "/",
            "/bin",
            "/boot",
            "/dev",
            "/etc",
            "/home",
            "/lib",
            "/lib64",
            "/media",
            "/mnt",
            "/opt",
            "/proc",
            "/root",
            "/run",
            "/sbin",
            "/srv",
            "/sys",
            "/tmp",
            "/usr",
            "/var",
            "/var/lib",
            "/var/log",
            "/etc/passwd",
            "/etc/shadow",
        ];
        if *self != Self::TheUsers {
            return Ok(());
        }
        let real = source.canonicalize().context(|| source.display().to_string())?;
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let home = home.and_then(|home| home.canonicalize().ok());
        let is_of_all =
            SYSTEM.iter().any(|path| real == Path::new(path)) || Some(&real) == home.as_ref();
        if !is_of_all {
            return Ok(());
        }
        let text = format!("{}: 'U' would give all of it to the container's user", real.display());
        Err(Error::invalid(text).hint("name a folder below it that is the container's alone"))
    }
}

/// docker's defaults: recursive, with private propagation.
impl Default for BindOptions {
    fn default() -> Self {
        Self {
            access: BindAccess::ReadWrite,
            reach: "rbind",
            propagation: "rprivate",
            flags: Vec::new(),
            owners: BindOwners::AsTheyAre,
        }
    }
}

impl BindOptions {
    /// Options of the OCI mount.
    pub(super) fn options(&self) -> Vec<String> {
        let mut options = vec![self.reach, self.propagation];
        options.extend(&self.flags);
        options.extend(match self.owners {
            BindOwners::AsTheyAre => None,
            BindOwners::TheUsers => Some("U"),
            BindOwners::Mapped(_) => Some(IDMAP),
        });
        if self.access == BindAccess::ReadOnly {
            options.push("ro");
            // "ro" concerns the topmost mount alone (OCI config.md, "Linux mount options"): the host's mounts below
            // would stay writable.
            if self.reach == "rbind" {
                options.push("rro");
            }
        }
        options.into_iter().map(str::to_owned).collect()
    }
}

/// Returns the word among `words` that equals `text`.
pub(super) fn word_of(words: &[&'static str], text: &str) -> Option<&'static str> {
    words.iter().find(|word| **word == text).copied()
}

/// Propagation modes of mounts between the host and the container.
pub(super) const PROPAGATIONS: [&str; 6] =
    ["private", "rprivate", "slave", "rslave", "shared", "rshared"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_path_and_never_the_name_of_a_volume() {
        for text in ["/", "/a", "./a", "../a", ".", ".."] {
            assert!(text.parse::<BindSource>().is_ok(), "{text}");
        }
        for text in ["", "a", "a/b", ".a", "~/a", "..a"] {
            assert!(text.parse::<BindSource>().is_err(), "{text}");
        }
        assert!("data".parse::<BindSource>().unwrap_err().contains("./data"));
    }

    #[test]
    fn a_missing_source_is_named_with_its_cause() {
        let source: BindSource = "/nope".parse().unwrap();
        assert_eq!(source.found().unwrap_err().to_string(), "/nope: No such file or directory");
    }
}
