//! Paths of the registry configuration: containers-registries.conf(5), containers-registries.conf.d(5),
//! containers-certs.d(5).

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::file::{self, ConfVersions, RegistriesSettings};
use crate::config;
use crate::error::{Context, Result};

/// Paths of the configuration.
#[derive(Clone, Debug, Default)]
pub struct RegistriesPaths {
    /// `$CONTAINERS_REGISTRIES_CONF`: this file, which must exist.
    pub named: Option<PathBuf>,
    /// The user's folder: `~/.config/containers`.
    pub user: Option<PathBuf>,
    /// System folders: `/etc/containers`, `/usr/share/containers`. The first registries.conf found is read. Drop-ins of
    /// the last folder are applied first.
    pub system: Vec<PathBuf>,
    /// Podman's own record of the chosen short names.
    pub chosen_aliases: Option<PathBuf>,
    /// Folders that hold a folder of certificates for each host; the first match wins.
    pub certificates: Vec<PathBuf>,
}

impl RegistriesPaths {
    /// The paths of this process's user.
    pub fn of_user() -> Self {
        let system: Vec<PathBuf> =
            ["/etc/containers", "/usr/share/containers"].map(PathBuf::from).into();
        let user = config::user_folder().map(|folder| folder.join("containers"));
        let certificates = user.iter().map(|folder| folder.join("certs.d"));
        let of_system = ["/etc/containers/certs.d", "/etc/docker/certs.d"].map(PathBuf::from);
        let cache = config::cache_folder();
        Self {
            named: set("CONTAINERS_REGISTRIES_CONF").map(PathBuf::from),
            certificates: certificates.chain(of_system).collect(),
            chosen_aliases: cache.map(|folder| folder.join("containers/short-name-aliases.conf")),
            user,
            system,
        }
    }

    /// Reads all files. Errors: an unreadable file, or an invalid setting.
    pub fn read(&self) -> Result<RegistriesSettings> {
        let mut settings = RegistriesSettings::default();
        let of_user = self.user.as_ref().map(|folder| folder.join("registries.conf"));
        let of_user = of_user.filter(|path| self.named.is_none() && path.exists());
        // A registries.conf of the user replaces all files of the system, drop-ins included.
        let folders: Vec<&PathBuf> = match &of_user {
            Some(_) => self.user.iter().collect(),
            None => self.system.iter().rev().chain(&self.user).collect(),
        };
        let main = self.named.clone().or(of_user).or_else(|| {
            let mut all = self.system.iter().map(|folder| folder.join("registries.conf"));
            all.find(|path| path.exists())
        });
        if let Some(main) = main {
            settings.lay_over(read(&main, ConfVersions::Any)?);
        }
        for folder in folders {
            for path in drop_ins(&folder.join("registries.conf.d"))? {
                settings.lay_over(read(&path, ConfVersions::Version2)?);
            }
        }
        if let Some(path) = self.chosen_aliases.as_ref().filter(|path| path.exists()) {
            settings.aliases.extend(read(path, ConfVersions::Version2)?.aliases);
        }
        Ok(settings)
    }

    /// The folder of certificates for `host`, if one exists.
    pub fn certificates_for(&self, host: &str) -> Option<PathBuf> {
        self.certificates.iter().map(|folder| folder.join(host)).find(|folder| folder.is_dir())
    }
}

/// An environment variable that is set and not empty.
pub fn set(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

fn read(path: &Path, formats: ConfVersions) -> Result<RegistriesSettings> {
    let text = fs::read_to_string(path).context(|| format!("cannot read {}", path.display()))?;
    file::parse(&text, path, formats).context(|| path.display().to_string())
}

/// The files `FOLDER/*.conf`, sorted by name.
fn drop_ins(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        answer => answer.context(|| format!("cannot read {}", folder.display()))?,
    };
    let paths = entries.flatten().map(|entry| entry.path());
    let mut paths: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|end| end == "conf") && path.is_file())
        .collect();
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn searching(name: &str) -> String {
        format!("unqualified-search-registries = ['{name}']\n")
    }

    #[test]
    fn files_are_read_in_the_documented_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let mut paths = RegistriesPaths {
            user: Some(path("user")),
            system: vec![path("etc"), path("share")],
            chosen_aliases: Some(path("cache/aliases.conf")),
            ..RegistriesPaths::default()
        };
        let found = |paths: &RegistriesPaths| paths.read().unwrap().search.map(|all| all.concat());
        assert_eq!(paths.read().unwrap(), RegistriesSettings::default());
        write(&path("share/registries.conf"), &searching("share.io"));
        assert_eq!(found(&paths).unwrap(), "share.io");
        write(&path("etc/registries.conf"), &searching("etc.io"));
        assert_eq!(found(&paths).unwrap(), "etc.io");
        write(&path("share/registries.conf.d/9.conf"), &searching("share-d.io"));
        assert_eq!(found(&paths).unwrap(), "share-d.io");
        write(&path("etc/registries.conf.d/1.conf"), &searching("etc-d1.io"));
        write(&path("etc/registries.conf.d/2.conf"), &searching("etc-d2.io"));
        write(&path("etc/registries.conf.d/3.ignored"), "nonsense");
        fs::create_dir(path("etc/registries.conf.d/4.conf")).unwrap();
        assert_eq!(found(&paths).unwrap(), "etc-d2.io");
        write(&path("user/registries.conf.d/1.conf"), "[aliases]\n'x' = 'a.io/x'\n'y' = 'a.io/y'");
        write(&path("cache/aliases.conf"), "[aliases]\n'y' = 'b.io/y'");
        assert_eq!(found(&paths).unwrap(), "etc-d2.io");
        let aliases = paths.read().unwrap().aliases;
        let registry = |name: &str| aliases[name].clone().unwrap().registry.unwrap();
        assert_eq!((registry("x"), registry("y")), ("a.io".to_owned(), "b.io".to_owned()));
        write(&path("user/registries.conf"), "");
        assert_eq!(found(&paths), None);
        paths.named = Some(path("named.conf"));
        assert!(paths.read().unwrap_err().to_string().contains("named.conf"));
        write(&path("named.conf"), &searching("named.io"));
        assert_eq!(found(&paths).unwrap(), "etc-d2.io");
        assert_eq!(paths.read().unwrap().aliases.len(), 2);
    }

    #[test]
    fn a_file_that_is_wrong_is_named() {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("registries.conf.d/bad.conf"), "x = 1\nbad");
        let paths = RegistriesPaths {
            system: vec![folder.path().to_owned()],
            ..RegistriesPaths::default()
        };
        let error = paths.read().unwrap_err().to_string();
        assert!(error.contains("bad.conf: line 2"), "{error}");
    }

    #[test]
    fn the_first_folder_of_certificates_wins() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let paths = RegistriesPaths {
            certificates: vec![path("a"), path("b")],
            ..RegistriesPaths::default()
        };
        assert_eq!(paths.certificates_for("h:5000"), None);
        fs::create_dir_all(path("b/h:5000")).unwrap();
        assert_eq!(paths.certificates_for("h:5000"), Some(path("b/h:5000")));
        assert_eq!(paths.certificates_for("h"), None);
        fs::create_dir_all(path("a/h:5000")).unwrap();
        assert_eq!(paths.certificates_for("h:5000"), Some(path("a/h:5000")));
    }
}
