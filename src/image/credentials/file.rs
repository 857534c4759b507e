//! An auth file: containers' auth.json and docker's config.json, which share a format, and the old `.dockercfg`.
//! Unknown content (docker's settings) survives a write.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::ser::PrettyFormatter;
use serde_json::{Map, Value};

use super::entry::{self, AuthFileFormat, Login};
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::files::{self, Lock};
use crate::hint;

/// Content of an auth file.
pub struct AuthFile {
    path: PathBuf,
    form: AuthFileFormat,
    all: Map<String, Value>,
}

impl AuthFile {
    /// Reads the file; `None`: no such file. Errors: unreadable, or not an auth file.
    pub fn read(path: &Path, form: AuthFileFormat) -> Result<Option<Self>> {
        let bytes = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            answer => answer.context(|| format!("cannot read {}", path.display()))?,
        };
        let all = parse(&bytes).context(|| path.display().to_string())?;
        Ok(Some(Self { path: path.to_owned(), form, all }))
    }

    /// The helper for this registry only (`credHelpers`), and the registry's name for the helper.
    pub fn helper<'a>(&'a self, host: &'a str) -> Option<(&'a str, &'a str)> {
        let helpers = self.all.get("credHelpers")?.as_object()?;
        let mut names = entry::names(host).into_iter();
        names.find_map(|name| Some((helpers.get(name)?.as_str()?, name)))
    }

    /// All registries of `credHelpers` with their helpers.
    pub fn helpers(&self) -> Vec<(&str, &str)> {
        let helpers = self.all.get("credHelpers").and_then(Value::as_object);
        let pairs = helpers.into_iter().flatten();
        pairs.filter_map(|(name, helper)| Some((name.as_str(), helper.as_str()?))).collect()
    }

    /// The helper for all registries (docker's `credsStore`).
    pub fn store(&self) -> Option<&str> {
        self.all.get("credsStore")?.as_str().filter(|name| !name.is_empty())
    }

    /// The names of the entries.
    pub fn keys(&self) -> Vec<&str> {
        self.entries().into_iter().flatten().map(|(key, _)| key.as_str()).collect()
    }

    /// Login for a repository, by an entry for a folder of the repository. The most specific entry wins.
    pub fn login_for_folder(&self, host: &str, repository: &str) -> Result<Option<Login>> {
        // The old form has only registries.
        let keys = if self.form == AuthFileFormat::Old {
            Vec::new()
        } else {
            entry::keys(host, repository)
        };
        let logins = keys.iter().filter(|key| *key != host).map(|key| self.login(key));
        logins.filter_map(Result::transpose).next().transpose()
    }

    /// Login for a registry by its own entry, under any of the registry's names.
    pub fn login_for_registry(&self, host: &str) -> Result<Option<Login>> {
        if let Some(login) = self.login(host)? {
            return Ok(Some(login));
        }
        let keys = self.keys().into_iter();
        let same = keys.filter(|key| *key != host && entry::registry_of(key, self.form) == host);
        same.map(|key| self.login(key)).filter_map(Result::transpose).next().transpose()
    }

    fn login(&self, key: &str) -> Result<Option<Login>> {
        let Some(entry) = self.entries().and_then(|entries| entries.get(key)) else {
            return Ok(None);
        };
        entry::read(entry)
            .context(|| format!("{}: the entry '{}'", self.path.display(), key.escape_debug()))
    }

    fn entries(&self) -> Option<&Map<String, Value>> {
        match self.form {
            AuthFileFormat::Auths => self.all.get("auths")?.as_object(),
            AuthFileFormat::Old => Some(&self.all),
        }
    }

    /// True if the file is docker's own, in which docker stores docker.io under another name.
    pub fn is_dockers(path: &Path) -> bool {
        path.file_name().is_some_and(|name| name == "config.json")
    }
}

fn parse(bytes: &[u8]) -> Result<Map<String, Value>> {
    // touch(1) makes an empty file.
    if bytes.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    let read: Result<Value, _> = serde_json::from_slice(bytes);
    match read {
        Ok(Value::Object(all)) => Ok(all),
        Ok(_) => fail!("it is not a JSON object"),
        // Reports the position only: the content may be a secret.
        Err(error) => fail!("it is not JSON (line {}, column {})", error.line(), error.column()),
    }
}

/// Entries of an auth file, for a change by [`change`].
pub type AuthEntries = Map<String, Value>;

/// Changes the entries of the file at `path`, created if missing. The file has mode 0600 and is replaced atomically; a
/// symlink stays. Errors: unreadable, not writable, or not an auth file.
pub fn change(path: &Path, change: impl FnOnce(&mut AuthEntries)) -> Result<()> {
    let here = || format!("cannot tell where {} is", path.display());
    let path = std::path::absolute(target(path)).context(here)?;
    let folder = path.parent().unwrap_or(&path);
    make_folder(folder)?;
    // The lock preserves both of two concurrent logins. In a folder that cannot be locked, the later one wins.
    let _lock = files::hold(folder, Lock::Exclusive)
        .inspect_err(|error| log::debug!("cannot lock {}: {error}", folder.display()));
    let mut all =
        AuthFile::read(&path, AuthFileFormat::Auths)?.map(|file| file.all).unwrap_or_default();
    match all.entry("auths").or_insert_with(|| Value::Object(Map::new())) {
        Value::Object(entries) => change(entries),
        _ => fail!("{}: 'auths' is not an object", path.display()),
    }
    let mut text = Vec::new();
    let mut writer =
        serde_json::Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b"\t"));
    all.serialize(&mut writer).map_err(io::Error::from)?;
    text.push(b'\n');
    files::replace(folder, &path, &text)
}

/// Follows the links from `path`, also to a file that does not exist yet.
fn target(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    // As many links as the kernel follows (path_resolution(7)).
    for _ in 0..40 {
        let Ok(link) = fs::read_link(&path) else { break };
        path = path.parent().unwrap_or(Path::new("")).join(link);
    }
    path
}

fn make_folder(folder: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .context(|| format!("cannot make {}", folder.display()))
}

/// Refuses a folder that another user may have created. For default places, not for files named by the user.
pub fn check_owner(folder: &Path) -> Result<()> {
    let me = rustix::process::geteuid().as_raw();
    match folder.metadata() {
        Ok(stat) if stat.uid() != me => Err(Error::new(format!(
            "{} belongs to user {}, not to you ({me})",
            folder.display(),
            stat.uid()
        ))
        .hint(hint::NAME_AUTHFILE)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use proptest::prelude::*;

    use super::*;

    fn set(key: &str) -> impl FnOnce(&mut AuthEntries) {
        let key = key.to_owned();
        move |entries| {
            let mut entry = Map::new();
            entry::write(&mut entry, "me", "secret");
            entries.insert(key, Value::Object(entry));
        }
    }

    #[test]
    fn a_change_keeps_all_that_it_is_not_about() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/config.json");
        change(&path, set("a.io")).unwrap();
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o7777, 0o700);
        let text = r#"{"psFormat":"x","auths":{"b.io":{"auth":"bWU6eA==","email":"e"}},"HttpHeaders":{"X":["1",2]}}"#;
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        change(&path, set("a.io")).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        let mut now: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert!(now["auths"].as_object_mut().unwrap().remove("a.io").is_some());
        assert_eq!(now, serde_json::from_str::<Value>(text).unwrap());
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_symlink_is_written_through() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("dotfiles")).unwrap();
        symlink("dotfiles/one", path("auth.json")).unwrap();
        symlink("two", path("dotfiles/one")).unwrap();
        for key in ["a.io", "b.io"] {
            change(&path("auth.json"), set(key)).unwrap();
        }
        assert!(path("auth.json").is_symlink() && path("dotfiles/one").is_symlink());
        let file = AuthFile::read(&path("dotfiles/two"), AuthFileFormat::Auths).unwrap().unwrap();
        assert_eq!(file.keys(), ["a.io", "b.io"]);
    }

    #[test]
    fn an_invalid_auth_file_is_named_and_left_unchanged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("auth.json");
        for text in ["{\"auths\": hidden", "[\"hidden\"]", "{\"auths\":\"hidden\"}"] {
            fs::write(&path, text).unwrap();
            let error = change(&path, set("a.io")).unwrap_err().to_string();
            assert!(error.contains("auth.json: ") && !error.contains("hidden"), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        fs::write(&path, "\n").unwrap();
        change(&path, set("a.io")).unwrap();
        assert!(
            AuthFile::read(&path, AuthFileFormat::Auths)
                .unwrap()
                .unwrap()
                .login_for_registry("a.io")
                .unwrap()
                .is_some()
        );
    }

    #[test]
    fn a_folder_of_another_user_is_refused() {
        let me = rustix::process::geteuid();
        assert!(check_owner(tempfile::tempdir().unwrap().path()).is_ok());
        assert_eq!(check_owner(Path::new("/")).is_ok(), me.is_root());
    }

    proptest! {
        #[test]
        fn no_text_breaks_us(text in "(\\{|\\}|\"|:|,|auths|credHelpers|auth|a.io|[a-z0-9]{0,4}){0,12}") {
            if let Ok(all) = parse(text.as_bytes()) {
                let file = AuthFile { path: "/x".into(), form: AuthFileFormat::Auths, all };
                let _ = (file.helper("a.io"), file.store(), file.login_for_registry("a.io"));
                let _ = file.login_for_folder("a.io", "x/y");
            }
        }
    }
}
