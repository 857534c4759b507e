//! Trial of the kernel's overlay for an ordinary user: distributions, AppArmor and file systems differ.

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags};

use crate::error::{Context, Error, ErrorKind, Result};
use crate::host::scratch::{self, ScratchFolder};
use crate::host::{boot_id, filesystem, trial};
use crate::sys::mount::{self, Attributes, Overlay};
use crate::sys::namespace::Namespaces;

/// Name of the note of a trial, in the store. The note holds the ID of the boot in which the trial succeeded, or the ID
/// and the error.
const NOTE: &str = "overlay-serves";
/// Separator of boot ID and error.
const FAILED: &str = " no: ";

/// Source of the knowledge that the overlay serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverlayEvidence {
    /// A noted trial since the machine was started.
    Noted,
    /// A trial just now, not noted yet.
    Tried,
}

/// Checks that the overlay serves with the store's file system. Tries, unless a trial since the machine was started is
/// noted. Errors: the step that fails.
pub fn serves(store: &Path) -> Result<OverlayEvidence> {
    if let Ok(text) = fs::read_to_string(store.join(NOTE))
        && let Some(rest) = text.strip_prefix(&boot_id())
    {
        match rest.strip_prefix(FAILED) {
            _ if rest.is_empty() => return Ok(OverlayEvidence::Noted),
            Some(error) => return Err(Error::refused(error)),
            None => {}
        }
    }
    match try_in(&ScratchFolder::new(store).context(|| "cannot try the kernel overlay")?) {
        Ok(_) => Ok(OverlayEvidence::Tried),
        Err(error) => {
            // The overlay will not serve later either, and each trial is a line in the kernel's log.
            if error.errno().is_some_and(is_lasting) {
                write(store, &format!("{}{FAILED}{error}", boot_id()));
            }
            Err(error)
        }
    }
}

/// True if the kernel refuses the overlay for good: not for want of a resource, and not for this process alone (a
/// filter of calls).
fn is_lasting(errno: i32) -> bool {
    matches!(errno, libc::EINVAL | libc::EOPNOTSUPP | libc::ENODEV)
}

/// Forgets a noted failure: the doctor found that the overlay serves.
pub fn forget(store: &Path) {
    let has_failed = |text: String| text.contains(FAILED);
    if fs::read_to_string(store.join(NOTE)).is_ok_and(has_failed) {
        let _ = fs::remove_file(store.join(NOTE));
    }
}

/// Notes that the overlay serves. No more trials will follow: sweeps up after killed ones. A store of another user gets
/// no note.
pub fn note(store: &Path) {
    scratch::sweep(store);
    write(store, &boot_id());
}

/// Writes the note, if the store exists.
fn write(store: &Path, text: &str) {
    if let Err(error) = fs::write(store.join(NOTE), text) {
        log::debug!("{NOTE}: {error}");
    }
}

/// Mounts an overlay and does what containers do to layers: change a file, delete, and make a folder in place of a
/// deleted one. The last needs extended attributes on the upper layer. Errors of kind `Refused`: the mount fails, or
/// does not serve.
pub fn try_in(scratch: &ScratchFolder) -> Result<String> {
    trial::run(Namespaces::USER.with(Namespaces::MOUNT), trial::map_own_ids, || {
        let folder = |name| scratch.folder(name).context(|| format!("cannot make {name}"));
        let (lower, upper, work) = (folder("lower")?, folder("upper")?, folder("work")?);
        fs::write(lower.join("file"), "x").context(|| "cannot write a file")?;
        fs::create_dir(lower.join("folder")).context(|| "cannot make a folder")?;
        let layers = Overlay {
            lowers: vec![&lower],
            upper: Some((&upper, &work)),
            flags: vec!["userxattr"],
        };
        let merged = mount::overlay(&layers, Attributes::NONE)
            .context(|| "cannot mount it")
            .of_kind(ErrorKind::Refused)?;
        exercise(merged.as_fd()).of_kind(ErrorKind::Refused)?;
        let place =
            if filesystem::memory_keeps_attributes() { "in memory" } else { "in the store" };
        let on = filesystem::kind(&upper).name;
        Ok(format!("mounted on {on} and written to; disposable layers are kept {place}"))
    })
}

fn exercise(merged: impl AsFd + Copy) -> Result<()> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CLOEXEC;
    rustix::fs::openat(merged, "file", flags, Mode::empty())
        .context(|| "mounted, but cannot change a file")?;
    rustix::fs::unlinkat(merged, "file", AtFlags::empty())
        .context(|| "mounted, but cannot delete a file")?;
    rustix::fs::unlinkat(merged, "folder", AtFlags::REMOVEDIR)
        .context(|| "mounted, but cannot delete a folder")?;
    rustix::fs::mkdirat(merged, "folder", Mode::from_raw_mode(0o755))
        .context(|| "mounted, but cannot make a folder in place of another")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_noted_for_this_boot_until_it_serves() {
        let store = tempfile::tempdir().unwrap();
        fs::create_dir(store.path().join("tmp")).unwrap();
        let note = |text: &str| fs::write(store.path().join(NOTE), text).unwrap();
        note(&format!("{}{FAILED}cannot mount it: Invalid argument", boot_id()));
        let error = serves(store.path()).unwrap_err();
        assert_eq!(error.to_string(), "cannot mount it: Invalid argument");
        forget(store.path());
        assert!(!store.path().join(NOTE).exists());
        note(&boot_id());
        forget(store.path());
        assert_eq!(serves(store.path()).unwrap(), OverlayEvidence::Noted);
    }
}
