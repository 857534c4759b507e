//! Settings of the node cache: the store of pulled images on a disk of this machine.

use std::path::PathBuf;

use crate::error::{Context, Error, Result};
use crate::hint;

/// Folder and size of the node cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeCacheSettings {
    /// Absolute path of the store.
    pub folder: PathBuf,
    /// Bytes from which on images are removed; `None`: a quarter of the file system.
    pub bytes: Option<u64>,
}

/// Returns the path that the setting `node-cache` stands for: `%u` is the name of the user, `%U` the user's number, `%%` a
/// percent sign. `None`: an empty setting, which turns the cache off. Errors: another letter after `%`; a relative path;
/// a user without a name.
pub(super) fn folder(setting: &str) -> Result<Option<PathBuf>> {
    expand(setting, || user_name().ok_or_else(|| Error::new("your user ID has no name here")))
        .context(|| "images.node-cache")
}

fn expand(setting: &str, name: impl Fn() -> Result<String>) -> Result<Option<PathBuf>> {
    if setting.is_empty() {
        return Ok(None);
    }
    let mut path = String::new();
    let mut letters = setting.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '%' => match letters.next() {
                Some('u') => path.push_str(&name().hint(|| hint::USER_NUMBER)?),
                Some('U') => path.push_str(&rustix::process::geteuid().as_raw().to_string()),
                Some('%') => path.push('%'),
                _ => {
                    let error = format!("'{setting}' has a % without u, U or % after it");
                    return Err(Error::invalid(error).hint("%u is your name, %U your number"));
                }
            },
            letter => path.push(letter),
        }
    }
    match PathBuf::from(&path) {
        path if path.is_absolute() => Ok(Some(path)),
        _ => Err(Error::invalid(format!("'{setting}' is not an absolute path"))),
    }
}

/// Name of the user's account; `None`: no account, or a name that is no name of a folder.
fn user_name() -> Option<String> {
    let name = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok()??.name;
    (!name.is_empty() && !name.starts_with('.') && !name.contains('/')).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_has_a_place_in_the_path() {
        let path = |setting: &str| expand(setting, || Ok("ann".to_owned()));
        let number = rustix::process::geteuid().as_raw();
        for (setting, expected) in [
            ("/local/%u", "/local/ann".to_owned()),
            ("/local/%U/u%u", format!("/local/{number}/uann")),
            ("/100%%/x", "/100%/x".to_owned()),
        ] {
            assert_eq!(path(setting).unwrap(), Some(PathBuf::from(expected)), "{setting}");
        }
        assert_eq!(path("").unwrap(), None);
        for wrong in ["local/%u", "%u", "/local/%", "/local/%h"] {
            assert!(path(wrong).is_err(), "{wrong}");
        }
        let nameless = || Err(Error::new("no name"));
        assert!(expand("/local/%u", nameless).unwrap_err().hint_text().is_some());
        assert!(expand("/local/%U", nameless).is_ok());
    }
}
