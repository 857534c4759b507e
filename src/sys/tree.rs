//! Removal of a tree however deep it is: with two descriptors and without recursion.
//!
//! Each folder in the tree is moved to its top before it is emptied, so nothing is ever more than two levels down.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

/// Removes what is called `name` in `parent`, a folder with all it holds or a file. The folders must be ours.
pub fn remove(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => {}
        answer => return answer,
    }
    let top = open(parent, name)?;
    let mut moved = 0;
    // What is moved up while the folder is read may or may not be read too.
    while !is_removed(parent, name)? {
        empty(top.as_fd(), |folder| flatten(top.as_fd(), folder, &mut moved))?;
    }
    Ok(())
}

fn open(parent: BorrowedFd<'_>, name: impl rustix::path::Arg) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let name = name.into_c_str()?;
    unless_closed(parent, &name, || rustix::fs::openat(parent, &*name, flags, Mode::empty()))
}

/// Opens a folder to its owner where something fails for its mode: the kernel's overlay leaves some with mode 000.
fn unless_closed<T>(
    parent: BorrowedFd<'_>,
    name: &CStr,
    act: impl Fn() -> Result<T, Errno>,
) -> Result<T, Errno> {
    match act() {
        Err(Errno::ACCESS) => {
            rustix::fs::chmodat(parent, name, Mode::RWXU, AtFlags::empty())?;
            act()
        }
        answer => answer,
    }
}

/// Removes an empty folder. False: it is not empty.
fn is_removed(parent: BorrowedFd<'_>, name: impl rustix::path::Arg) -> Result<bool, Errno> {
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Removes the files in `folder`, and gives its folders to `each`.
fn empty(
    folder: BorrowedFd<'_>,
    mut each: impl FnMut(&CStr) -> Result<(), Errno>,
) -> Result<(), Errno> {
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let unlinked = match entry.file_type() {
            FileType::Directory => Err(Errno::ISDIR),
            _ => rustix::fs::unlinkat(folder, name, AtFlags::empty()),
        };
        match unlinked {
            Err(Errno::ISDIR) => each(name)?,
            // Another machine that shares the disk removes it too.
            Err(Errno::NOENT) => {}
            answer => answer?,
        }
    }
    Ok(())
}

/// Removes `name` in `top` once the folders in it are moved up beside it.
fn flatten(top: BorrowedFd<'_>, name: &CStr, moved: &mut u64) -> Result<(), Errno> {
    let folder = open(top, name)?;
    while !is_removed(top, name)? {
        empty(folder.as_fd(), |inner| move_up(top, folder.as_fd(), inner, moved))?;
    }
    Ok(())
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
        // Without RENAME_NOREPLACE, which NFS does not have (EINVAL): a folder replaces an empty folder alone, and that
        // is to be removed too.
        let rename = || rustix::fs::renameat(folder, name, top, &*place);
        match unless_closed(folder, name, rename) {
            Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
            answer => return answer,
        }
    }
}
