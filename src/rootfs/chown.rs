//! Gives a tree to an owner (`-v ...:U`): all files of one file system, in place. Runs in the base user namespace.
//!
//! Each file is opened by its folder's descriptor and its name, and changed through its own descriptor. No symbolic
//! link is followed, and no other mount in the tree is reached.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;

use crate::error::{Context, Result};

/// Gives `top` (a folder or file at `path`) and all below it to a user and group of this namespace. Skips files that
/// the owner has already. Errors: the first file that could not be given, by name.
pub fn tree(top: BorrowedFd<'_>, path: &Path, uid: u32, gid: u32) -> Result<()> {
    let owner = TreeOwner { uid, gid };
    owner.give(top, &mut path.to_owned())
}

/// New owner of the files of a tree.
struct TreeOwner {
    uid: u32,
    gid: u32,
}

impl TreeOwner {
    fn give(&self, open: BorrowedFd<'_>, path: &mut PathBuf) -> Result<()> {
        let failed = || format!("cannot give {} to {}:{}", path.display(), self.uid, self.gid);
        let stat = rustix::fs::fstat(open).context(failed)?;
        if (stat.st_uid, stat.st_gid) != (self.uid, self.gid) {
            let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
            rustix::fs::chownat(open, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)
                .context(failed)?;
        }
        match FileType::from_raw_mode(stat.st_mode).is_dir() {
            true => self.give_content(open, path),
            false => Ok(()),
        }
    }

    fn give_content(&self, open: BorrowedFd<'_>, path: &mut PathBuf) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let failed = |path: &PathBuf| format!("cannot list {}", path.display());
        let folder =
            rustix::fs::openat(open, ".", flags, Mode::empty()).context(|| failed(path))?;
        for entry in Dir::read_from(&folder).context(|| failed(path))? {
            let entry = entry.context(|| failed(path))?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            path.push(name.to_string_lossy().as_ref());
            match open_in_mount(&folder, name) {
                Ok(open) => self.give(open.as_fd(), path)?,
                // Another mount, or removed meanwhile.
                Err(Errno::XDEV | Errno::NOENT) => {}
                Err(error) => {
                    Err::<(), _>(error).context(|| format!("cannot open {}", path.display()))?;
                }
            }
            path.pop();
        }
        Ok(())
    }
}

fn open_in_mount(folder: &OwnedFd, name: &CStr) -> std::result::Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat2(folder, name, flags, Mode::empty(), ResolveFlags::NO_XDEV)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn files_of_the_right_owner_are_left_alone_and_links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir(path("top")).unwrap();
        std::fs::write(path("top/file"), "x").unwrap();
        std::os::unix::fs::symlink("/", path("top/link")).unwrap();
        let metadata = path("top/file").metadata().unwrap();
        let open = std::fs::File::open(path("top")).unwrap();
        // An ordinary user may change nothing, and need not: "/" belongs to another user.
        tree(open.as_fd(), &path("top"), metadata.uid(), metadata.gid()).unwrap();
        let after = path("top/file").metadata().unwrap();
        assert_eq!((metadata.ctime(), metadata.ctime_nsec()), (after.ctime(), after.ctime_nsec()));
    }

    #[test]
    fn a_file_that_cannot_be_given_is_named() {
        let open = std::fs::File::open("/proc/self").unwrap();
        let error =
            tree(open.as_fd(), Path::new("/x"), 4_000_000, 4_000_000).unwrap_err().to_string();
        assert!(error.starts_with("cannot give /x to 4000000:4000000: "), "{error}");
    }
}
