//! Whether the kernel's overlay serves an ordinary user here: tried, since distributions, AppArmor and file systems differ.

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags};

use crate::error::{Context, Error, Result};
use crate::host::scratch::{self, Scratch};
use crate::host::{boot_id, filesystem, trial};
use crate::sys::mount::{self, Attributes, Overlay};
use crate::sys::namespace::Namespaces;

/// The note of a trial, in the store: the ID of the boot in which it went well, or the ID and what it failed at.
const NOTE: &str = "overlay-serves";
/// Separator of the two.
const FAILED: &str = " no: ";

/// How it is known that it serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// From a trial since the machine was started.
    Noted,
    /// From a trial just now, not noted yet.
    Tried,
}

/// Whether it serves with the store's file system: tried, unless it did since the machine was started. Errors: what it
/// fails at.
pub fn serves(store: &Path) -> Result<Known> {
    if let Ok(text) = fs::read_to_string(store.join(NOTE))
        && let Some(rest) = text.strip_prefix(&boot_id())
    {
        match rest.strip_prefix(FAILED) {
            _ if rest.is_empty() => return Ok(Known::Noted),
            Some(error) => return Err(Error::new(error)),
            None => {}
        }
    }
    match try_in(&Scratch::new(store).context(|| "cannot try the kernel overlay")?) {
        Ok(_) => Ok(Known::Tried),
        Err(error) => {
            // It will not serve later either, and each trial is a line in the kernel's log.
            if error.errno().is_some_and(is_lasting) {
                write(store, &format!("{}{FAILED}{error}", boot_id()));
            }
            Err(error)
        }
    }
}

/// Whether the kernel refuses it for good: not for want of something, and not to this process alone (a filter of calls).
fn is_lasting(errno: i32) -> bool {
    matches!(errno, libc::EINVAL | libc::EOPNOTSUPP | libc::ENODEV)
}

/// Forgets that it does not serve: a doctor found that it does.
pub fn forget(store: &Path) {
    let has_failed = |text: String| text.contains(FAILED);
    if fs::read_to_string(store.join(NOTE)).is_ok_and(has_failed) {
        let _ = fs::remove_file(store.join(NOTE));
    }
}

/// Notes that it serves: there will be no trial more, and nobody to clean up after those that were killed. A store that
/// is not ours does without.
pub fn note(store: &Path) {
    scratch::sweep(store);
    write(store, &boot_id());
}

/// Without making the store.
fn write(store: &Path, text: &str) {
    if let Err(error) = fs::write(store.join(NOTE), text) {
        log::debug!("{NOTE}: {error}");
    }
}

/// Mounts one and does in it what containers do to layers: change, delete, and make a folder anew over a deleted one,
/// which needs extended attributes on the upper layer.
pub fn try_in(scratch: &Scratch) -> Result<String> {
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
        let merged = mount::overlay(&layers, Attributes::NONE).context(|| "cannot mount it")?;
        exercise(merged.as_fd())?;
        let place =
            if filesystem::memory_keeps_attributes() { "in memory" } else { "in the store" };
        let on = filesystem::kind(&upper).name;
        Ok(format!("mounted on {on} and written to; layers that are thrown away are kept {place}"))
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
        assert_eq!(serves(store.path()).unwrap(), Known::Noted);
    }
}
