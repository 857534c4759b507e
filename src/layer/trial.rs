//! Trial of the form of whiteouts that a file system can hold.

use std::os::fd::BorrowedFd;

use rustix::fs::{FileType, Mode, XattrFlags};
use rustix::io::Errno;

use super::folder::{DiskFolder, LayerFolder};
use super::mark::FolderMarks;
use super::whiteout::{OPAQUE, Whiteouts, is_device};

/// Finds the form for layers on the file system of `folder`, which is empty and ours. The form is tried, and read back
/// by other descriptors: some file systems accept more than they store. Errors: the folder is not writable.
pub fn find_whiteout_form(folder: BorrowedFd<'_>) -> Result<Whiteouts, Errno> {
    const TRIAL: &str = "whiteout-trial";
    rustix::fs::mkdirat(folder, TRIAL, Mode::RWXU)?;
    let open = || rustix::fs::openat(folder, TRIAL, DiskFolder::FLAGS, Mode::empty());
    let write = || -> Result<(), Errno> {
        let inner = open()?;
        rustix::fs::mknodat(&inner, "gone", FileType::CharacterDevice, Mode::empty(), 0)?;
        rustix::fs::fsetxattr(&inner, OPAQUE, b"y", XattrFlags::empty())
    };
    let written = write();
    let is_kept = || -> Result<bool, Errno> {
        let inner = DiskFolder::from(open()?);
        let is_whiteout = is_device(&inner.stat("gone".as_ref())?);
        let mut is_listed = false;
        inner.for_each_entry(|name, _, _| is_listed |= name == c"gone")?;
        Ok(is_listed && is_whiteout && FolderMarks::read(&inner)?.is_opaque)
    };
    let form = match written.and_then(|()| is_kept()) {
        Ok(true) => Whiteouts::Overlay,
        // A full disk is no answer.
        Err(errno @ (Errno::NOSPC | Errno::DQUOT | Errno::ROFS)) => {
            let _ = crate::sys::tree::remove(folder, TRIAL.as_bytes());
            return Err(errno);
        }
        _ => Whiteouts::Names,
    };
    // Leftovers are removed with the folder.
    let _ = crate::sys::tree::remove(folder, TRIAL.as_bytes());
    Ok(form)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_trial_leaves_nothing_behind() {
        let top = tempfile::tempdir().unwrap();
        let folder = File::open(top.path()).unwrap();
        find_whiteout_form(folder.as_fd()).unwrap();
        assert_eq!(std::fs::read_dir(top.path()).unwrap().count(), 0);
    }
}
