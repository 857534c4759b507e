//! Files that are whole or not there: born in `tmp/`, renamed into place; and the locks that tell who uses what.
//!
//! Who needs an object (a blob, a layer's folder, a folder being born) has a lock on it ([`locks`]), which goes with the
//! process that holds it.

mod locks;

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Context, Error, Kind, Result};
use crate::sys;

use locks::without_support;
pub use locks::{
    Grip, LOCK, Lock, grip, hold, is_held, leads_to, remove_held, remove_unlocked, share,
    try_exclusive,
};

/// Opens the lock file `path` (made where it is missing, never removed) and locks it, waiting.
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

/// After how long whoever waits for a lock is told so.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often it is tried until then.
const TRIES: u32 = 50;

/// [`lock_file`], exclusive. `waits` is called once, when another command has had the lock for half a second since.
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

/// A name that nobody else has: `prefix` and 16 hexadecimal digits.
pub fn random_name(prefix: &str) -> String {
    let mut bytes = [0; 8];
    // Cannot fail for so few bytes; were it to, the name is taken and mkdir says so.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    format!("{prefix}{}", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// What [`replace`] puts into `tmp` meanwhile.
pub const FILE_PREFIX: &str = "file-";

/// The way out where there is no room.
pub const MORE_SPACE: &str = "free some space there ('usnea image prune' and 'usnea rm' remove what nobody needs), or keep usnea's files elsewhere with --root or USNEA_ROOT";

/// The way out where a file that the user named has no room.
const ELSEWHERE: &str = "free some space there, or write it elsewhere";

/// A failure to write in the store, with the way out where the place is full.
pub fn cannot_write(error: io::Error, path: &Path) -> Error {
    unwritable(error, path, MORE_SPACE)
}

/// A failure to write a file that the user named, with the way out where the place is full.
pub fn cannot_write_output(error: io::Error, path: &Path) -> Error {
    unwritable(error, path, ELSEWHERE)
}

fn unwritable(error: io::Error, path: &Path, way_out: &str) -> Error {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    let is_full = matches!(error.kind(), StorageFull | QuotaExceeded);
    let error =
        Err::<(), _>(error).context(|| format!("cannot write {}", path.display())).unwrap_err();
    if is_full {
        return error.of_kind(Kind::Full).hint(way_out);
    }
    error
}

/// Makes a folder that others may look into, and those above it that are missing. Nobody else may write to them, whatever
/// the umask: many a login's lets the group write.
pub fn make_folders(path: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o755).create(path);
    made.map_err(|error| cannot_write(error, path))
}

/// A folder that is being filled; removed with all it holds unless it is put in place.
///
/// Its lock is a shared one from the beginning: that keeps removers off, nobody else knows the name, and no change of
/// the lock, which would not be atomic (flock(2)), lets a remover come between once it is in place.
#[derive(Debug)]
pub struct Birth {
    /// Where it is.
    pub path: PathBuf,
    lock: Option<File>,
}

impl Birth {
    /// Makes `folder/PREFIXrandom`, mode 0700.
    pub fn folder(folder: &Path, prefix: &str) -> Result<Self> {
        loop {
            let path = folder.join(random_name(prefix));
            let made = DirBuilder::new().mode(0o700).create(&path);
            made.map_err(|error| cannot_write(error, &path))?;
            // A sweep may have taken it for a leftover before it was locked: then again.
            let held = hold(&path, Lock::Shared).map_err(|error| cannot_write(error, &path))?;
            if let Some(lock) = held {
                return Ok(Self { path, lock: Some(lock) });
            }
        }
    }

    /// Renames it to `place`, syncs the folder above, and gives its lock, a shared one. `None`: `place` was there already,
    /// made by somebody else; what was born is removed.
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

impl Drop for Birth {
    fn drop(&mut self) {
        if let Some(lock) = self.lock.take()
            && let Err(error) = remove_held(&self.path, lock)
        {
            log::debug!("cannot remove {}: {error}", self.path.display());
        }
    }
}

/// Makes the file `folder/PREFIXrandom` for reading and writing, with a lock that keeps removers off.
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
        // A sweep may have taken it for a leftover before it was locked: then again.
        if leads_to(&path, &file) {
            return Ok((path, file));
        }
    }
}

/// Puts a file with `content` (mode 0600) in the place of `path`, by way of `tmp`, which is on the same filesystem.
/// After a power cut there is the old content or the new.
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

/// Writes `content` over what is in the file `path`, in the room that it has: for where no other file can be made. Blanks
/// follow where it was longer, until they are cut off: whoever reads meanwhile, and whoever comes after a kill, has the old
/// content or the new. Errors: it was shorter.
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

/// Puts a file with `content` (mode 0600) in the place of `path`, without waiting for the disk: whoever reads it has the
/// old content or the new, whatever is killed; after a power cut it may be neither. It is born beside `path`, as a file
/// whose name begins with a dot.
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

/// Waits until everything on the filesystem of `folder` is on the disk: one flush for thousands of files.
pub fn sync_filesystem(folder: &Path) -> Result<()> {
    let synced = File::open(folder).and_then(|folder| Ok(rustix::fs::syncfs(folder)?));
    synced.map_err(|error| cannot_write(error, folder))
}

/// Removes what is at `path`, a file or a folder with all it holds, however deep. Nothing there is no error.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    match sys::tree::remove_at(path) {
        Err(rustix::io::Errno::NOENT) => Ok(()),
        answer => Ok(answer?),
    }
}

/// Removes what killed processes left in `folder`: named with one of `prefixes`, and locked by nobody. Failures are no
/// reason to fail: the next command tries again.
pub fn sweep(folder: &Path, prefixes: &[&str]) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.filter_map(io::Result::ok) {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !prefixes.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        let path = entry.path();
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
                    let birth = Birth::folder(&tmp, "born-").unwrap();
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
    fn who_waits_long_for_a_lock_is_told_once() {
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
