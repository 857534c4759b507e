//! Where the host's programs are that we may run by ourselves: the system's folders first, then those entries of PATH
//! that nobody else could have put a program into.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where a system keeps its programs, the usual one first.
const SYSTEM_FOLDERS: [&str; 5] = ["/usr/bin", "/bin", "/usr/sbin", "/sbin", "/usr/local/bin"];

/// The absolute path of the first program `name` that `suits`. One system call in the usual case.
pub fn find(name: &str, suits: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    candidates(name).find(|path| suits(path))
}

/// Every place where `name` would be looked for, in order; PATH is only read when the system's folders do not suffice.
pub fn candidates(name: &str) -> impl Iterator<Item = PathBuf> {
    let of_system = SYSTEM_FOLDERS.iter().map(PathBuf::from);
    let of_path = std::iter::once_with(trusted_folders_of_path).flatten();
    let name = name.to_owned();
    of_system.chain(of_path).map(move |folder| folder.join(&name))
}

fn trusted_folders_of_path() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .filter(|folder| folder.is_absolute() && only_we_or_root_write(folder))
        .collect()
}

fn only_we_or_root_write(folder: &Path) -> bool {
    let me = rustix::process::getuid().as_raw();
    // A group may write where it is root's (Debian's /usr/local/bin is root:staff with 02775) or ours alone.
    std::fs::metadata(folder)
        .is_ok_and(|stat| (stat.uid() == 0 || stat.uid() == me) && stat.mode() & 0o002 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_folder_that_others_write_is_not_trusted() {
        let folder = tempfile::tempdir().unwrap();
        let set = |mode| std::fs::set_permissions(&folder, PermissionsExt::from_mode(mode)).unwrap();
        set(0o755);
        assert!(only_we_or_root_write(folder.path()));
        set(0o777);
        assert!(!only_we_or_root_write(folder.path()));
    }

    #[test]
    fn the_systems_folders_come_first() {
        assert_eq!(candidates("newuidmap").next(), Some("/usr/bin/newuidmap".into()));
    }
}
