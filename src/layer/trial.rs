//! Trial of the form of whiteouts that a file system can hold.

use std::ffi::OsStr;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::entry::{Layer, LayerEntry};
use super::folder::{DiskFolder, LayerFolder};

use super::mark_attributes::MarkAttributes;
use super::whiteout::{OPAQUE_NAME, Whiteouts, whiteout_name};

const TRIAL: &str = "whiteout-trial";

/// Finds the form for layers on the file system of `folder`, which is empty and ours. Each form is tried, and read back by
/// other descriptors: some file systems accept more than they store. Errors: the folder is not writable; that of the last
/// form, EOPNOTSUPP if the file system accepted it and lost it.
pub fn find_whiteout_form(folder: BorrowedFd<'_>) -> Result<Whiteouts, Errno> {
    let mut refusal = Errno::OPNOTSUPP;
    for form in [Whiteouts::Overlay, Whiteouts::Names, Whiteouts::Attributes] {
        let is_kept = is_kept(folder, form);
        // Leftovers are removed with the folder.
        let _ = crate::sys::tree::remove(folder, TRIAL.as_bytes());
        match is_kept {
            Ok(true) => return Ok(form),
            // A full disk is no answer.
            Err(errno @ (Errno::NOSPC | Errno::DQUOT | Errno::ROFS)) => return Err(errno),
            Ok(false) => refusal = Errno::OPNOTSUPP,
            Err(errno) => refusal = errno,
        }
    }
    Err(refusal)
}

/// Writes an opaque folder and a whiteout into it, and reads both. Errors: a failed write.
fn is_kept(folder: BorrowedFd<'_>, form: Whiteouts) -> Result<bool, Errno> {
    const GONE: &str = "gone";
    rustix::fs::mkdirat(folder, TRIAL, Mode::RWXU)?;
    let open = || rustix::fs::openat(folder, TRIAL, DiskFolder::FLAGS, Mode::empty());
    let written = open()?;
    let mark = |name: &OsStr| {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
        rustix::fs::openat(&written, name, flags, Mode::RUSR | Mode::WUSR).map(drop)
    };
    match form {
        Whiteouts::Overlay => {
            let device = FileType::CharacterDevice;
            rustix::fs::mknodat(&written, GONE, device, Mode::empty(), 0)?;
            MarkAttributes::KERNEL.set_opaque(folder, TRIAL.as_ref())?;
        }
        Whiteouts::Names => {
            mark(&whiteout_name(GONE.as_ref()))?;
            mark(OPAQUE_NAME.as_ref())?;
        }
        Whiteouts::Attributes => {
            MarkAttributes::OWN.declare(&written)?;
            MarkAttributes::OWN.make_whiteout(&written, GONE.as_ref())?;
            MarkAttributes::OWN.set_opaque(folder, TRIAL.as_ref())?;
        }
    }
    drop(written);
    let layer = Layer { root: DiskFolder::from(open()?), whiteouts: form };
    let listed = match form {
        Whiteouts::Names => whiteout_name(GONE.as_ref()),
        _ => GONE.into(),
    };
    let mut is_listed = false;
    layer.root.for_each_entry(|name, _, _| is_listed |= name.to_bytes() == listed.as_bytes())?;
    let is_whiteout = matches!(layer.entry(&layer.root, GONE.as_ref())?, LayerEntry::Whiteout);
    Ok(is_listed && is_whiteout && layer.is_opaque(&layer.root)?)
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

    #[test]
    fn every_form_that_is_written_is_read_back() {
        for form in [Whiteouts::Overlay, Whiteouts::Names, Whiteouts::Attributes] {
            let top = tempfile::tempdir().unwrap();
            let folder = File::open(top.path()).unwrap();
            assert_eq!(is_kept(folder.as_fd(), form), Ok(true), "{form:?}");
        }
    }
}
