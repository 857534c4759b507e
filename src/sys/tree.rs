//! Removal of a tree of any depth: with two descriptors and without recursion.
//!
//! Each folder in the tree is moved to its top before it is emptied, so all work is at most two levels down. Mounts in
//! the tree are not part of it, and are left alone (EBUSY).

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::inode;

/// Removes the file or folder at `path`, with all contents. The folders must be ours, and their parent not writable by
/// others.
pub fn remove_at(path: &Path) -> Result<(), Errno> {
    let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Errno::INVAL);
    };
    let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let above = rustix::fs::open(above, flags, Mode::empty())?;
    remove(above.as_fd(), name.as_bytes())
}

/// Removes the file or folder `name` in `parent`, with all contents. The folders must be ours.
pub fn remove(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => {}
        answer => return answer,
    }
    let top = open(parent, name)?;
    let mut moved = 0;
    // Entries moved up during a read of the folder may or may not be part of that read.
    until_removed(
        || is_removed(parent, name),
        || empty(top.as_fd(), |folder| flatten(top.as_fd(), folder, &mut moved)),
    )
}

/// Empties a folder in rounds, each of which returns its number of entries, until the folder is removed. Errors:
/// ENOTEMPTY if a round finds no entry in a non-empty folder. Some overlays answer so permanently (fuse-overlayfs, a
/// folder over a whiteout).
fn until_removed(
    mut is_removed: impl FnMut() -> Result<bool, Errno>,
    mut round: impl FnMut() -> Result<u64, Errno>,
) -> Result<(), Errno> {
    while !is_removed()? {
        if round()? == 0 {
            return if is_removed()? { Ok(()) } else { Err(Errno::NOTEMPTY) };
        }
    }
    Ok(())
}

fn open(parent: BorrowedFd<'_>, name: impl rustix::path::Arg) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let name = name.into_c_str()?;
    let open = || loop {
        match rustix::fs::openat2(parent, &*name, flags, Mode::empty(), ResolveFlags::NO_XDEV) {
            Err(Errno::XDEV) => return Err(Errno::BUSY),
            Err(Errno::AGAIN | Errno::INTR) => {}
            answer => return answer,
        }
    };
    unless_closed(parent, &name, open)
}

/// Retries after opening a folder to its owner if its mode denies access: the kernel's overlay leaves some with mode
/// 000.
fn unless_closed<T>(
    parent: BorrowedFd<'_>,
    name: &CStr,
    act: impl Fn() -> Result<T, Errno>,
) -> Result<T, Errno> {
    match act() {
        Err(Errno::ACCESS) => {
            let folder = inode::open(parent, name, FileType::Directory)?;
            inode::change_mode(folder, 0o700)?;
            act()
        }
        answer => answer,
    }
}

/// Removes an empty folder. False: the folder is not empty.
fn is_removed(parent: BorrowedFd<'_>, name: impl rustix::path::Arg) -> Result<bool, Errno> {
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Removes the files in `folder`, and passes its folders to `each`. Returns the number of both.
fn empty(
    folder: BorrowedFd<'_>,
    mut each: impl FnMut(&CStr) -> Result<(), Errno>,
) -> Result<u64, Errno> {
    let mut count = 0;
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        count += 1;
        let unlinked = match entry.file_type() {
            FileType::Directory => Err(Errno::ISDIR),
            _ => rustix::fs::unlinkat(folder, name, AtFlags::empty()),
        };
        match unlinked {
            Err(Errno::ISDIR) => each(name)?,
            // Another machine that shares the disk removes the tree too.
            Err(Errno::NOENT) => {}
            answer => answer?,
        }
    }
    Ok(count)
}

/// Removes `name` in `top`, after moving its folders up beside it.
fn flatten(top: BorrowedFd<'_>, name: &CStr, moved: &mut u64) -> Result<(), Errno> {
    let folder = open(top, name)?;
    until_removed(
        || is_removed(top, name),
        || empty(folder.as_fd(), |inner| move_up(top, folder.as_fd(), inner, moved)),
    )
}

fn move_up(
    top: BorrowedFd<'_>,
    folder: BorrowedFd<'_>,
    name: &CStr,
    moved: &mut u64,
) -> Result<(), Errno> {
    loop {
        *moved += 1;
        let place = format!("{moved}");
        // Without RENAME_NOREPLACE, which NFS lacks (EINVAL): a folder replaces an empty folder alone, and that is to
        // be removed too.
        let rename = || rustix::fs::renameat(folder, name, top, &*place);
        match unless_closed(folder, name, rename) {
            Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
            answer => return answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_never_empty_and_shows_nothing_is_an_error() {
        let mut rounds = [3, 1, 0].into_iter();
        let never = until_removed(|| Ok(false), || Ok(rounds.next().unwrap_or(0)));
        assert_eq!(never, Err(Errno::NOTEMPTY));
        assert_eq!(rounds.next(), None);
        let mut asked = 0;
        let at_last = || {
            asked += 1;
            Ok(asked == 3)
        };
        assert_eq!(until_removed(at_last, || Ok(1)), Ok(()));
        assert_eq!(until_removed(|| Ok(false), || Err(Errno::IO)), Err(Errno::IO));
    }

    #[test]
    fn a_deep_tree_goes() {
        let top = tempfile::tempdir().unwrap();
        let deep: std::path::PathBuf = (0..40).map(|level| format!("level-{level}")).collect();
        std::fs::create_dir_all(top.path().join("tree").join(&deep)).unwrap();
        std::fs::write(top.path().join("tree").join(&deep).join("file"), "x").unwrap();
        let parent = std::fs::File::open(top.path()).unwrap();
        remove(parent.as_fd(), b"tree").unwrap();
        assert_eq!(std::fs::read_dir(top.path()).unwrap().count(), 0);
    }
}
