//! A file or folder of the host shown in the container: what `--volume` and `--mount type=bind` have in common.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::idmap::Idmap;
use super::storage_driver::IDMAP;
use crate::error::{Context, Error, Result};

/// What is shown, as it was written: absolute, or relative with `./` or `../` in front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source(PathBuf);

impl Source {
    /// The absolute path. Errors: it does not exist, or cannot be looked at.
    pub(super) fn found(&self) -> Result<PathBuf> {
        let path = std::path::absolute(&self.0).context(|| self.0.display().to_string())?;
        // Followed to the end: a link to nothing is as good as nothing.
        std::fs::metadata(&path).context(|| self.0.display().to_string())?;
        Ok(path)
    }
}

impl FromStr for Source {
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
        Ok(Self(Path::new(text).to_owned()))
    }
}

/// Whether the container may write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// It may.
    #[default]
    ReadWrite,
    /// It may not, neither here nor in the mounts below.
    ReadOnly,
}

/// How a bind mount is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// Whether the container may write.
    pub access: Access,
    /// `rbind` or `bind`.
    pub reach: &'static str,
    /// One of mount(8)'s propagation words.
    pub propagation: &'static str,
    /// Of nosuid, nodev, noexec, suid, dev, exec.
    pub flags: Vec<&'static str>,
    /// Whose the files are.
    pub owners: Owners,
}

/// Whose the files of a bind mount are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Owners {
    /// Whose they were.
    #[default]
    AsTheyAre,
    /// They are given to the container's user, on the host too (`U`).
    TheUsers,
    /// They are shown as others' (`idmap`).
    Mapped(Idmap),
}

impl Owners {
    /// Those of a mount with `U`, with `idmap`, or without either. Errors: with both.
    pub(super) fn asked(users: bool, idmap: Option<Idmap>) -> Result<Self, String> {
        match (users, idmap) {
            (false, None) => Ok(Self::AsTheyAre),
            (true, None) => Ok(Self::TheUsers),
            (false, Some(idmap)) => Ok(Self::Mapped(idmap)),
            (true, Some(_)) => Err("'U' and 'idmap' exclude each other".into()),
        }
    }

    /// Errors: a folder of the system's, or the caller's home, that nobody wants to give away (podman's list).
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
        Err(Error::new(text).hint("name a folder below it that is the container's alone"))
    }
}

/// docker's: with all below it, and no mount passes either way.
impl Default for Bind {
    fn default() -> Self {
        Self {
            access: Access::ReadWrite,
            reach: "rbind",
            propagation: "rprivate",
            flags: Vec::new(),
            owners: Owners::AsTheyAre,
        }
    }
}

impl Bind {
    /// The options of the OCI mount.
    pub(super) fn options(&self) -> Vec<String> {
        let mut options = vec![self.reach, self.propagation];
        options.extend(&self.flags);
        options.extend(match self.owners {
            Owners::AsTheyAre => None,
            Owners::TheUsers => Some("U"),
            Owners::Mapped(_) => Some(IDMAP),
        });
        if self.access == Access::ReadOnly {
            options.push("ro");
            // "ro" is the topmost mount's alone (OCI config.md, "Linux mount options"): what is mounted below it on
            // the host would stay writable.
            if self.reach == "rbind" {
                options.push("rro");
            }
        }
        options.into_iter().map(str::to_owned).collect()
    }
}

/// The word among `words` that `text` is.
pub(super) fn word_of(words: &[&'static str], text: &str) -> Option<&'static str> {
    words.iter().find(|word| **word == text).copied()
}

/// Words of how mounts pass between the host's side and the container's.
pub(super) const PROPAGATIONS: [&str; 6] =
    ["private", "rprivate", "slave", "rslave", "shared", "rshared"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_path_and_never_the_name_of_a_volume() {
        for text in ["/", "/a", "./a", "../a", ".", ".."] {
            assert!(text.parse::<Source>().is_ok(), "{text}");
        }
        for text in ["", "a", "a/b", ".a", "~/a", "..a"] {
            assert!(text.parse::<Source>().is_err(), "{text}");
        }
        assert!("data".parse::<Source>().unwrap_err().contains("./data"));
    }

    #[test]
    fn a_missing_source_is_named_with_its_cause() {
        let source: Source = "/nope".parse().unwrap();
        assert_eq!(source.found().unwrap_err().to_string(), "/nope: No such file or directory");
    }
}
