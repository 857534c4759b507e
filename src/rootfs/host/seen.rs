//! Host files that a root's content depends on: a second start checks by lstat(2) alone that nothing has changed.
//!
//! Of a big folder (python's library, gconv) only the folders are noted, not each file. Package managers, `cp` and
//! editors replace a file by a rename or make a new one, and both change the folder's times. A file of such a folder
//! that is overwritten in place goes unnoticed until another change. A program, its libraries and every symbolic link
//! on the way to them are noted one by one.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Identity and state of a file: device, inode, size, mtime and ctime in nanoseconds. No user can set the ctime back
/// (inode(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stamp(u64, u64, u64, i64, i64);

impl Stamp {
    /// Returns device and inode: hard links of one file share them.
    pub fn identity(self) -> (u64, u64) {
        (self.0, self.1)
    }
}

impl From<&Metadata> for Stamp {
    fn from(metadata: &Metadata) -> Self {
        let nanoseconds =
            |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
        Self(
            metadata.dev(),
            metadata.ino(),
            metadata.size(),
            nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
        )
    }
}

/// Paths with their state when they were checked; `None` for a missing file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenFiles(BTreeMap<PathBuf, Option<Stamp>>);

impl SeenFiles {
    /// Notes a path with `stamp`. The first note stays: earlier decisions depend on it.
    pub fn note(&mut self, path: &Path, stamp: Option<Stamp>) {
        if !self.0.contains_key(path) {
            self.0.insert(path.to_owned(), stamp);
        }
    }

    /// Checks a path (not through a link at its end) and notes its state. For a missing file, notes the first missing
    /// folder on the way: nothing can appear below that folder earlier.
    pub fn note_state_of(&mut self, path: &Path) {
        if self.0.contains_key(path) {
            return;
        }
        let now = state(path).unwrap_or_default();
        let mut noted = path;
        if now.is_none() {
            while let Some(parent) =
                noted.parent().filter(|parent| matches!(state(parent), Ok(None)))
            {
                noted = parent;
            }
        }
        self.note(noted, now);
    }

    /// True if every path still has its noted state.
    pub fn is_unchanged(&self) -> bool {
        self.0.iter().all(|(path, noted)| state(path).is_ok_and(|now| now == *noted))
    }
}

/// Returns the present state. `None` for a missing file, also where a folder on the way is missing, is no folder, or is
/// closed to the caller: PATH may name root's own.
fn state(path: &Path) -> io::Result<Option<Stamp>> {
    const UNSEEN: [i32; 3] = [libc::ENOENT, libc::ENOTDIR, libc::EACCES];
    match path.symlink_metadata() {
        Ok(metadata) => Ok(Some(Stamp::from(&metadata))),
        Err(error) if error.raw_os_error().is_some_and(|errno| UNSEEN.contains(&errno)) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_appears_or_is_replaced_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let (here, missing) = (folder.path().join("here"), folder.path().join("missing/file"));
        std::fs::write(&here, "a").unwrap();
        let mut seen = SeenFiles::default();
        seen.note_state_of(&here);
        seen.note_state_of(&missing);
        assert!(seen.is_unchanged());
        std::fs::write(folder.path().join("new"), "a").unwrap();
        std::fs::rename(folder.path().join("new"), &here).unwrap();
        assert!(!seen.is_unchanged());

        let mut seen = SeenFiles::default();
        seen.note_state_of(&missing);
        assert!(seen.0.contains_key(missing.parent().unwrap()) && seen.is_unchanged());
        std::fs::create_dir(missing.parent().unwrap()).unwrap();
        assert!(!seen.is_unchanged());
        let mut seen = SeenFiles::default();
        seen.note_state_of(&missing);
        assert!(seen.is_unchanged());
        std::fs::write(&missing, "").unwrap();
        assert!(!seen.is_unchanged());
    }

    #[test]
    fn a_folder_that_is_closed_to_us_stays_so() {
        let folder = tempfile::tempdir().unwrap();
        let closed = folder.path().join("closed");
        std::fs::create_dir(&closed).unwrap();
        let mode = |mode| std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(&closed, mode(0o000)).unwrap();
        let mut seen = SeenFiles::default();
        seen.note_state_of(&closed.join("program"));
        assert!(seen.is_unchanged());
        std::fs::set_permissions(&closed, mode(0o700)).unwrap();
        std::fs::write(closed.join("program"), "").unwrap();
        assert!(!seen.is_unchanged());
    }
}
