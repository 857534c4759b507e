//! Owners of the folders and links on the way to a store: whoever owns one can lead the path elsewhere.

use std::ffi::OsString;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use crate::error::{Context, Error, Result};
use crate::fail;

/// Most symbolic links on the way, as in the kernel (path_resolution(7)).
const MOST_LINKS: usize = 40;

const PLACE_OF_YOURS: &str = "name a folder in a place that is yours alone";

/// Returns an error if the last name of `path` is a symbolic link of another user: it could lead us to any folder that
/// is ours. A missing file is no error.
pub fn refuse_link_of_others(path: &Path) -> Result<()> {
    match path.symlink_metadata() {
        Ok(metadata) if metadata.is_symlink() => refuse_owner(path, &metadata),
        _ => Ok(()),
    }
}

/// Checks that only the caller and root can replace the folder `path`, as its removal requires. Every folder and link
/// on the way must belong to one of these users. Every folder must be closed to other users, or sticky; group members
/// are trusted. Errors: those, another owner of the folder itself, and a missing folder.
///
/// `fs.protected_symlinks` (proc_sys_fs(5)) covers only links in sticky folders that everybody can write to.
pub fn require_sole_control(path: &Path) -> Result<()> {
    let mut pending = names(path);
    let mut at = PathBuf::from("/");
    let mut links = 0;
    while let Some(name) = pending.pop() {
        // `at` has no links, so its parent folder is the one that the kernel would find.
        if name == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&name);
        let said = || format!("cannot look at {}", next.display());
        let metadata = next.symlink_metadata().context(said)?;
        refuse_owner(&next, &metadata)?;
        if !metadata.is_symlink() {
            if metadata.is_dir() && metadata.mode() & 0o1002 == 0o002 {
                let error =
                    format!("every user may write to {}, which leads there", next.display());
                return Err(Error::refused(error).hint("take the right from them: chmod o-w"));
            }
            at = next;
            continue;
        }
        links += 1;
        if links > MOST_LINKS {
            fail!("{} has too many symbolic links", path.display());
        }
        let target = next.read_link().context(said)?;
        if target.is_absolute() {
            at = PathBuf::from("/");
        }
        pending.extend(names(&target));
    }
    let (owner, me) = (at.metadata().map(|metadata| metadata.uid()), euid());
    match owner.context(|| format!("cannot look at {}", at.display()))? {
        owner if owner == me => Ok(()),
        owner => fail!(Refused: "{} belongs to user {owner}, not to you ({me})", at.display()),
    }
}

/// The names of a path, the last one first.
fn names(path: &Path) -> Vec<OsString> {
    let name = |part: Component<'_>| match part {
        Component::Normal(_) | Component::ParentDir => Some(part.as_os_str().to_owned()),
        _ => None,
    };
    path.components().rev().filter_map(name).collect()
}

fn euid() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn refuse_owner(path: &Path, metadata: &Metadata) -> Result<()> {
    let owner = metadata.uid();
    // In a user namespace root may have another number: the root folder has its owner.
    let is_root = || Path::new("/").metadata().is_ok_and(|root| root.uid() == owner);
    if [0, euid()].contains(&owner) || is_root() {
        return Ok(());
    }
    let what = match metadata.is_symlink() {
        true => format!("{} is a symbolic link of user {owner}", path.display()),
        false => {
            format!("{} belongs to user {owner}, who can replace what is in it", path.display())
        }
    };
    Err(Error::refused(what).hint(PLACE_OF_YOURS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};

    fn is_refused(path: &Path, cause: &str) {
        let error = require_sole_control(path).unwrap_err().to_string();
        assert!(error.contains(cause), "{error}");
    }

    #[test]
    fn a_path_through_links_of_the_user_is_trusted() {
        let top = tempfile::tempdir().unwrap();
        let path = |name: &str| top.path().join(name);
        std::fs::create_dir_all(path("a/b/store")).unwrap();
        symlink("a/b", path("relative")).unwrap();
        symlink(path("relative"), path("absolute")).unwrap();
        require_sole_control(&path("a/b/store")).unwrap();
        require_sole_control(&path("absolute/../b/store")).unwrap();
        std::fs::set_permissions(path("a"), PermissionsExt::from_mode(0o777)).unwrap();
        is_refused(&path("absolute/store"), "every user may write to");
        std::fs::set_permissions(path("a"), PermissionsExt::from_mode(0o1777)).unwrap();
        require_sole_control(&path("absolute/store")).unwrap();
        symlink("loop", path("loop")).unwrap();
        is_refused(&path("loop"), "too many symbolic links");
    }

    #[test]
    fn a_component_of_another_user_is_named() {
        if !rustix::process::geteuid().is_root() {
            return; // only root can give files away
        }
        let top = tempfile::tempdir().unwrap();
        let path = |name: &str| top.path().join(name);
        std::fs::create_dir_all(path("theirs/store")).unwrap();
        std::fs::create_dir(path("store")).unwrap();
        symlink(".", path("link")).unwrap();
        chown(path("theirs"), Some(4321), None).unwrap();
        is_refused(&path("theirs/store"), "theirs belongs to user 4321");
        require_sole_control(&path("link/store")).unwrap();
        lchown(path("link"), Some(4321), None).unwrap();
        is_refused(&path("link/store"), "link is a symbolic link of user 4321");
        refuse_link_of_others(&path("link/store")).unwrap();
        refuse_link_of_others(&path("link")).unwrap_err();
        refuse_link_of_others(&path("missing")).unwrap();
    }
}
