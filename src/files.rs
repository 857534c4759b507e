//! Files that are complete or missing: created in `tmp/`, renamed into place; and locks that mark objects in use.
//!
//! A process that needs an object has a lock on it ([`locks`]), which ends with the process. Objects are a blob, a
//! layer's folder, or a folder being filled.

mod locks;
mod remover;
mod spool;

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::error::{Context, Error, ErrorKind, Result};
use crate::hint;
use crate::sys;

use locks::without_support;
pub use locks::{
    LOCK, Lock, LockAttempt, attempt, grip, has_no_locks, hold, is_held, leads_to, remove_held,
    remove_unlocked, share, try_exclusive,
};
pub use remover::FileRemover;
pub use spool::{SPOOL, Spool};

/// Writes a value as JSON to a pipe with a single system call: unbuffered, serde writes each bracket by itself. Errors:
/// write(2), EPIPE without a reader.
pub fn write_json(pipe: OwnedFd, value: &impl Serialize) -> io::Result<()> {
    File::from(pipe).write_all(&serde_json::to_vec(value)?)
}

/// Opens the lock file `path` (created if missing, never removed) and locks it, waiting.
pub fn lock_file(path: &Path, lock: Lock) -> Result<File> {
    locked(open_lock(path)?, lock, path)
}

fn open_lock(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.open(path).map_err(|error| cannot_write(error, path))
}

fn locked(file: File, lock: Lock, path: &Path) -> Result<File> {
    let locked = match lock {
        Lock::Shared => file.lock_shared(),
        Lock::Exclusive => file.lock(),
    };
    without_support(locked).context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}

/// Time after which a process is informed that it waits for a lock.
const PATIENCE: Duration = Duration::from_millis(500);
/// Number of attempts during that time.
const TRIES: u32 = 50;

/// Locks like [`lock_file`], exclusively. Calls `waits` once if another command has had the lock for half a second.
pub fn lock_file_or_tell(path: &Path, waits: &dyn Fn()) -> Result<File> {
    let file = open_lock(path)?;
    for _ in 0..TRIES {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(PATIENCE / TRIES),
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(_)) => return locked(file, Lock::Exclusive, path),
        }
    }
    waits();
    locked(file, Lock::Exclusive, path)
}

/// Returns a unique name: `prefix` and 16 hexadecimal digits.
pub fn random_name(prefix: &str) -> String {
    let mut bytes = [0; 8];
    // Cannot fail for so few bytes; on a failure the name is taken, and mkdir reports that.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    format!("{prefix}{}", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// Prefix of temporary files of [`replace`] in `tmp`.
pub const FILE_PREFIX: &str = "file-";

/// Hint for an output file of the user on a full disk.
const ELSEWHERE: &str = "free some space there, or write it elsewhere";

/// Builds the error of a failed write in the store, with a hint if the disk is full.
pub fn cannot_write(error: io::Error, path: &Path) -> Error {
    unwritable(error, path, hint::MORE_SPACE)
}

/// Builds the error of a failed write to a file that the user named, with a hint if the disk is full.
pub fn cannot_write_output(error: io::Error, path: &Path) -> Error {
    unwritable(error, path, ELSEWHERE)
}

fn unwritable(error: io::Error, path: &Path, way_out: &str) -> Error {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    let is_full = matches!(error.kind(), StorageFull | QuotaExceeded);
    let error =
        Err::<(), _>(error).context(|| format!("cannot write {}", path.display())).unwrap_err();
    if is_full {
        return error.of_kind(ErrorKind::Full).hint(way_out);
    }
    error
}

/// Creates a folder that others may read, and its missing parents. No one else may write to them, whatever the umask:
/// many a login's lets the group write.
pub fn make_folders(path: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o755).create(path);
    made.map_err(|error| cannot_write(error, path))
}

/// Folder being filled; removed with its contents unless put in place.
///
/// Its lock is a shared one from the beginning, which keeps removers off, and no other process knows the name. A change
/// of the lock would not be atomic (flock(2)), and could let a remover come between once the folder is in place.
#[derive(Debug)]
pub struct NewFolder {
    /// Current path of the folder.
    pub path: PathBuf,
    lock: Option<File>,
}

impl NewFolder {
    /// Creates `folder/PREFIXrandom`, mode 0700.
    pub fn folder(folder: &Path, prefix: &str) -> Result<Self> {
        Self::at(Self::unused_path(folder, prefix))
    }

    /// Returns a path for [`NewFolder::at`]: `folder/PREFIXrandom`.
    pub fn unused_path(folder: &Path, prefix: &str) -> PathBuf {
        folder.join(random_name(prefix))
    }

    /// Creates the folder `path`, mode 0700.
    pub fn at(path: PathBuf) -> Result<Self> {
        loop {
            let made = DirBuilder::new().mode(0o700).create(&path);
            made.map_err(|error| cannot_write(error, &path))?;
            // A sweep may have removed the folder as a leftover before it was locked: then again.
            let held = hold(&path, Lock::Shared).map_err(|error| cannot_write(error, &path))?;
            if let Some(lock) = held {
                return Ok(Self { path, lock: Some(lock) });
            }
        }
    }

    /// Renames the folder to `place`, syncs the parent, and returns its shared lock. `None`: another process has
    /// created `place` already; the new folder is removed.
    pub fn put(mut self, place: &Path) -> Result<Option<File>> {
        match fs::rename(&self.path, place) {
            Ok(()) => {}
            Err(error) if matches!(error.raw_os_error(), Some(libc::EEXIST | libc::ENOTEMPTY)) => {
                return Ok(None);
            }
            Err(error) => return Err(cannot_write(error, place)),
        }
        let Some(lock) = self.lock.take() else { return Ok(None) };
        sync_folder(place.parent().unwrap_or(place))?;
        Ok(Some(lock))
    }
}

impl Drop for NewFolder {
    fn drop(&mut self) {
        if let Some(lock) = self.lock.take()
            && let Err(error) = remove_held(&self.path, lock)
        {
            log::debug!("cannot remove {}: {error}", self.path.display());
        }
    }
}

/// Creates the file `folder/PREFIXrandom` for reading and writing, with a lock that keeps removers off.
pub fn new_file(folder: &Path, prefix: &str, mode: u32) -> Result<(PathBuf, File)> {
    loop {
        let path = folder.join(random_name(prefix));
        let make = || -> io::Result<File> {
            let mut options = OpenOptions::new();
            let file = options.read(true).write(true).create_new(true).mode(mode).open(&path)?;
            without_support(file.lock())?;
            Ok(file)
        };
        let file = make().map_err(|error| cannot_write(error, &path))?;
        // A sweep may have removed the file as a leftover before it was locked: then again.
        if leads_to(&path, &file) {
            return Ok((path, file));
        }
    }
}

/// Replaces `path` by a file with `content` (mode 0600), by way of `tmp`, which is on the same filesystem. A power cut
/// leaves the old content or the new.
pub fn replace(tmp: &Path, path: &Path, content: &[u8]) -> Result<()> {
    let (born, mut file) = new_file(tmp, FILE_PREFIX, 0o600)?;
    let mut write = || -> io::Result<()> {
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&born, path)
    };
    if let Err(error) = write() {
        let _ = fs::remove_file(&born);
        return Err(cannot_write(error, path));
    }
    sync_folder(path.parent().unwrap_or(path))
}

/// Overwrites the file `path` with `content`, in its existing space: for disks without space for another file. Blanks
/// fill up to the old length, until they are cut off. Readers see the old content or the new, even if this process is
/// killed. Errors: the old content was shorter.
pub fn replace_in_place(path: &Path, content: &[u8]) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    if content.len() > length {
        return Err(io::ErrorKind::StorageFull.into());
    }
    let mut padded = content.to_vec();
    padded.resize(length, b' ');
    file.write_all_at(&padded, 0)?;
    file.set_len(content.len() as u64)?;
    file.sync_all()
}

/// Replaces `path` by a file with `content` (mode 0600), without waiting for the disk. Readers see the old content or
/// the new, whichever process is killed; after a power cut the content may be neither. The temporary file lies beside
/// `path`, with a name that begins with a dot.
pub fn replace_quickly(path: &Path, content: &[u8]) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let born = path.with_file_name(random_name(&format!(".{name}-")));
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&born)?;
        file.write_all(content)?;
        fs::rename(&born, path)
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&born);
        cannot_write(error, path)
    })
}

/// Writes a new file (mode 0600) and waits until it is on the disk.
pub fn write_synced(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Waits until the names in `folder` are on the disk.
pub fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| cannot_write(error, folder))
}

/// Waits until all data on the filesystem of `folder` is on the disk: one flush for thousands of files.
pub fn sync_filesystem(folder: &Path) -> Result<()> {
    let synced = File::open(folder).and_then(|folder| Ok(rustix::fs::syncfs(folder)?));
    synced.map_err(|error| cannot_write(error, folder))
}

/// Removes the file or folder at `path` with all contents, however deep. A missing path is no error.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    match sys::tree::remove_at(path) {
        Err(rustix::io::Errno::NOENT) => Ok(()),
        answer => Ok(answer?),
    }
}

/// Removes leftovers of killed processes in `folder`: names with one of `prefixes` that are not locked. Failures are
/// ignored: the next command tries again.
pub fn sweep(folder: &Path, prefixes: &[&str]) {
    sweep_if(folder, prefixes, |_| true);
}

/// Removes leftovers like [`sweep`], those that `is_removed` selects.
pub fn sweep_if(folder: &Path, prefixes: &[&str], is_removed: impl Fn(&Path) -> bool) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.filter_map(io::Result::ok) {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !prefixes.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        let path = entry.path();
        if !is_removed(&path) {
            continue;
        }
        let Some(lock) = try_exclusive(&path) else { continue };
        let removed = remove_held(&path, lock);
        log::debug!("removed {}, left by a killed command: {removed:?}", path.display());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn no_remover_comes_between_a_folder_and_its_lock() {
        let top = tempfile::tempdir().unwrap();
        let (tmp, places) = (top.path().join("tmp"), top.path().join("places"));
        fs::create_dir(&tmp).unwrap();
        fs::create_dir(&places).unwrap();
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let remover = scope.spawn(|| {
                let mut taken = 0;
                while !is_over.load(Ordering::Relaxed) {
                    sweep(&tmp, &["born-"]);
                    for place in fs::read_dir(&places).unwrap().flatten() {
                        taken += usize::from(try_exclusive(&place.path()).is_some());
                    }
                }
                taken
            });
            let held: Vec<File> = (0..200)
                .map(|number| {
                    let birth = NewFolder::folder(&tmp, "born-").unwrap();
                    birth.put(&places.join(number.to_string())).unwrap().unwrap()
                })
                .collect();
            is_over.store(true, Ordering::Relaxed);
            assert_eq!((remover.join().unwrap(), held.len()), (0, 200));
        });
    }

    #[test]
    fn no_sweep_takes_a_file_before_it_has_its_name() {
        let top = tempfile::tempdir().unwrap();
        let (tmp, path) = (top.path().join("tmp"), top.path().join("file"));
        fs::create_dir(&tmp).unwrap();
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    sweep(&tmp, &[FILE_PREFIX]);
                }
            });
            let all: Result<Vec<()>> = (0..300).map(|_| replace(&tmp, &path, b"x")).collect();
            is_over.store(true, Ordering::Relaxed);
            all.unwrap();
        });
    }

    #[test]
    fn a_long_wait_for_a_lock_is_reported_once() {
        let top = tempfile::tempdir().unwrap();
        let path = top.path().join("lock");
        let told = AtomicBool::new(false);
        let tell = || assert!(!told.swap(true, Ordering::SeqCst));
        drop(lock_file_or_tell(&path, &tell).unwrap());
        assert!(!told.load(Ordering::SeqCst));
        let lock = lock_file(&path, Lock::Exclusive).unwrap();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| drop(lock_file_or_tell(&path, &tell).unwrap()));
            while !told.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
            assert!(!waiter.is_finished());
            drop(lock);
        });
    }
}
