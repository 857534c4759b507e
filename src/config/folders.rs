//! Folders for a user's files, from the environment (XDG Base Directory Specification). A relative path in any of those
//! variables is ignored, as the specification requires: its meaning would depend on the working directory.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

/// Data folder: `$XDG_DATA_HOME`, else `~/.local/share`.
pub fn data_folder() -> Option<PathBuf> {
    named("XDG_DATA_HOME").or_else(|| Some(home()?.join(".local/share")))
}

/// Folder of the user's settings files: `$XDG_CONFIG_HOME`, else `~/.config`.
pub fn user_folder() -> Option<PathBuf> {
    named("XDG_CONFIG_HOME").or_else(|| Some(home()?.join(".config")))
}

/// Cache folder: `$XDG_CACHE_HOME`, else `~/.cache`.
pub fn cache_folder() -> Option<PathBuf> {
    named("XDG_CACHE_HOME").or_else(|| Some(home()?.join(".cache")))
}

/// `$XDG_RUNTIME_DIR`, unchecked.
pub fn runtime_path() -> Option<PathBuf> {
    named("XDG_RUNTIME_DIR")
}

/// Opens `$XDG_RUNTIME_DIR` if it is a folder of this user that is closed to all others. Another user's folder is of no
/// use: after su(1) the variable often names one, and its owner could replace our files.
pub fn runtime_folder() -> Option<(PathBuf, OwnedFd)> {
    let path = runtime_path()?;
    let folder = open_closed(rustix::fs::CWD, &path)?;
    Some((path, folder))
}

/// Opens a folder of this user that no one else may enter. `None`: it is missing, a link, or open to others.
pub fn open_closed(at: impl AsFd, path: &Path) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = rustix::fs::openat(at, path, flags, Mode::empty()).ok()?;
    let stat = rustix::fs::fstat(&folder).ok()?;
    let is_ours = stat.st_uid == rustix::process::geteuid().as_raw();
    (is_ours && stat.st_mode & 0o077 == 0).then_some(folder)
}

/// Home folder: `$HOME`, else the account's.
fn home() -> Option<PathBuf> {
    let of_account = || nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten();
    named("HOME").or_else(|| Some(of_account()?.dir).filter(|path| path.is_absolute()))
}

fn named(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute())
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_folder_that_others_may_enter_or_that_is_a_link_is_not_closed() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        for (name, mode) in
            [("closed", 0o700), ("read", 0o750), ("entered", 0o701), ("open", 0o777)]
        {
            std::fs::create_dir(path(name)).unwrap();
            std::fs::set_permissions(path(name), Permissions::from_mode(mode)).unwrap();
        }
        symlink(path("closed"), path("link")).unwrap();
        std::fs::write(path("file"), "").unwrap();
        for name in ["closed", "read", "entered", "open", "link", "file", "missing"] {
            let opened = open_closed(rustix::fs::CWD, &path(name));
            assert_eq!(opened.is_some(), name == "closed", "{name}");
        }
    }
}
