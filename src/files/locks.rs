//! Locks on files and folders: flocks, which end with the last process that has the descriptor.
//!
//! | locked object | local file system | a network's, in user space, unknown |
//! | --- | --- | --- |
//! | a file | flock of the file | the same |
//! | a folder | flock of the folder | flock of the file [`LOCK`] in it |
//!
//! NFS carries a flock to the other machines as a lock on the bytes of the file. So an exclusive lock needs a file open
//! for writing (EBADF, flock(2)). A folder, which has no bytes, can be locked for this machine alone. Several machines
//! see a store if they share a home. Earlier versions lock folders themselves everywhere: an exclusive lock must
//! include the folder's as well.
//!
//! Between opening an object and locking it, the object may have been renamed or removed. After the lock, the path must
//! still lead to it ([`leads_to`]).

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::sys::filesystem;

/// File that carries a folder's lock, if the folder itself cannot.
pub const LOCK: &str = ".usnea-lock";

/// Mode of a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// Shared lock, for users: many at once.
    Shared,
    /// Exclusive lock, for the process that creates or removes the object.
    Exclusive,
}

/// Result of a request for an exclusive lock that does not wait.
#[derive(Debug)]
pub enum LockAttempt {
    /// The lock: no other process has a lock while this one is open.
    Ours(File),
    /// Another process has a lock.
    Held,
    /// The path does not exist, or leads to another object now.
    Gone,
}

/// Accepts file systems without flock, as some of clusters are (Lustre without its option). There, users cannot prevent
/// removal, and no object is ever removed: [`try_exclusive`] fails there.
pub(super) fn without_support(locked: io::Result<()>) -> io::Result<()> {
    match locked {
        Err(error) if has_no_locks(&error) => {
            log::debug!("the store's filesystem has no locks: {error}");
            Ok(())
        }
        answer => answer,
    }
}

/// True for the error of a lock on a file system without flock.
pub fn has_no_locks(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EOPNOTSUPP | libc::ENOLCK))
}

/// True if `path` (still) names the open file.
pub fn leads_to(path: &Path, open: &File) -> bool {
    match (path.symlink_metadata(), open.metadata()) {
        (Ok(named), Ok(opened)) => (named.dev(), named.ino()) == (opened.dev(), opened.ino()),
        _ => false,
    }
}

/// Locks the object at `path`, waiting for others: a file, which is then open for reading, or a folder. `None`: the
/// object does not exist, or was removed meanwhile.
pub fn hold(path: &Path, lock: Lock) -> io::Result<Option<File>> {
    hold_as(path, lock, has_own_lock)
}

fn hold_as(path: &Path, lock: Lock, has_own_lock: OwnLock) -> io::Result<Option<File>> {
    let Some(object) = open(path, lock)? else { return Ok(None) };
    without_support(wait(&object, lock))?;
    if !leads_to(path, &object) {
        return Ok(None);
    }
    match carrier(path, &object, lock, has_own_lock)? {
        Carrier::Itself => Ok(Some(object)),
        Carrier::Gone => Ok(None),
        Carrier::File(file) => {
            without_support(wait(&file, lock))?;
            Ok(is_carrier_of(path, &file).then_some(file))
        }
    }
}

/// Locks the object at `path` for its removal, without waiting. Errors: it cannot be opened, or its file system has no
/// locks.
pub fn grip(path: &Path) -> io::Result<LockAttempt> {
    attempt(path, Lock::Exclusive)
}

/// Locks the object at `path`, without waiting. Errors: it cannot be opened, or its file system has no locks
/// ([`has_no_locks`]).
pub fn attempt(path: &Path, lock: Lock) -> io::Result<LockAttempt> {
    attempt_as(path, lock, has_own_lock)
}

fn attempt_as(path: &Path, lock: Lock, has_own_lock: OwnLock) -> io::Result<LockAttempt> {
    let try_lock = |file: &File| match lock {
        Lock::Exclusive => file.try_lock(),
        Lock::Shared => file.try_lock_shared(),
    };
    let Some(object) = open(path, lock)? else { return Ok(LockAttempt::Gone) };
    match try_lock(&object) {
        Err(TryLockError::WouldBlock) => return Ok(LockAttempt::Held),
        Err(TryLockError::Error(error)) => return Err(error),
        Ok(()) if !leads_to(path, &object) => return Ok(LockAttempt::Gone),
        Ok(()) => {}
    }
    match carrier(path, &object, lock, has_own_lock)? {
        Carrier::Itself => Ok(LockAttempt::Ours(object)),
        Carrier::Gone => Ok(LockAttempt::Gone),
        Carrier::File(file) => match try_lock(&file) {
            Err(TryLockError::WouldBlock) => Ok(LockAttempt::Held),
            Err(TryLockError::Error(error)) => Err(error),
            Ok(()) if is_carrier_of(path, &file) => Ok(LockAttempt::Ours(file)),
            Ok(()) => Ok(LockAttempt::Gone),
        },
    }
}

/// Locks like [`grip`]. `None`: the object is in use, missing, or cannot be locked.
pub fn try_exclusive(path: &Path) -> Option<File> {
    match grip(path) {
        Ok(LockAttempt::Ours(lock)) => Some(lock),
        Ok(LockAttempt::Held | LockAttempt::Gone) => None,
        Err(error) => {
            log::debug!("cannot lock {}: {error}", path.display());
            None
        }
    }
}

/// True if another process, of this machine or of another, has the exclusive lock on the object at `path`. `None`: the
/// file system has no locks, or the object cannot be opened.
pub fn is_held(path: &Path) -> Option<bool> {
    is_held_as(path, has_own_lock)
}

fn is_held_as(path: &Path, has_own_lock: OwnLock) -> Option<bool> {
    let is_held = |file: &File| match file.try_lock_shared() {
        Ok(()) => Some(false),
        Err(TryLockError::WouldBlock) => Some(true),
        Err(TryLockError::Error(_)) => None,
    };
    let object = open(path, Lock::Shared).ok()??;
    if is_held(&object)? {
        return Some(true);
    }
    match carrier(path, &object, Lock::Shared, has_own_lock).ok()? {
        Carrier::File(file) => is_held(&file),
        Carrier::Itself | Carrier::Gone => Some(false),
    }
}

/// Turns the lock on `file` into a shared one. Not atomic (flock(2)): a remover may come between.
pub fn share(file: &File) -> io::Result<()> {
    without_support(file.lock_shared())
}

/// Removes the object at `path`, which no other process can reach, and releases its lock. A missing object is no error.
pub fn remove_held(path: &Path, lock: File) -> io::Result<()> {
    remove_unlocked(path, lock, || super::remove_tree(path))
}

/// Removes like [`remove_held`], by calling `remove`.
pub fn remove_unlocked<E>(
    path: &Path,
    lock: File,
    remove: impl Fn() -> Result<(), E>,
) -> Result<(), E> {
    if leads_to(path, &lock) {
        let removed = remove();
        drop(lock);
        return removed;
    }
    // A client of NFS renames an open file instead of removing it, so its folder would not be empty. The removal must
    // wait until neither this process nor one that checks the lock has the file open.
    drop(lock);
    for _ in 1..MOST_LOOKS {
        if remove().is_ok() {
            return Ok(());
        }
        std::thread::sleep(LOOK);
    }
    remove()
}

/// Number of attempts to remove a folder in which another process has a file open: half a second, on a slow server.
const MOST_LOOKS: u32 = 25;
/// Time that another process may need to check a lock.
const LOOK: Duration = Duration::from_millis(20);

fn wait(file: &File, lock: Lock) -> io::Result<()> {
    match lock {
        Lock::Shared => file.lock_shared(),
        Lock::Exclusive => file.lock(),
    }
}

/// Opens a file or a folder as the lock requires. `None`: no such file.
fn open(path: &Path, lock: Lock) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    // NONBLOCK: in a store of another user, the file may be a pipe.
    options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    let opened = match lock {
        Lock::Shared => options.open(path),
        // Not possible for unwritable objects: a folder, or another user's file. A local lock needs no write access.
        Lock::Exclusive => match options.clone().write(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(_) => options.open(path),
            answer => answer,
        },
    };
    match opened {
        Err(error) if is_gone(&error) => Ok(None),
        answer => answer.map(Some),
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESTALE))
}

/// True if all possible users see the lock of an open folder itself.
type OwnLock = fn(&File) -> bool;

fn has_own_lock(object: &File) -> bool {
    filesystem::kind_of(object).has_own_locks()
}

/// File that carries the lock of an object.
enum Carrier {
    Itself,
    File(File),
    /// The object was removed after it was opened.
    Gone,
}

/// Finds the carrier of the lock on `object`, which is itself locked already.
fn carrier(path: &Path, object: &File, lock: Lock, has_own_lock: OwnLock) -> io::Result<Carrier> {
    if has_own_lock(object) || !object.metadata()?.is_dir() {
        return Ok(Carrier::Itself);
    }
    match carrier_file(object, lock) {
        Err(error) if is_gone(&error) && leads_to(path, object) => Ok(Carrier::Itself),
        Err(error) if is_gone(&error) => Ok(Carrier::Gone),
        answer => answer.map(Carrier::File),
    }
}

/// Opens the file in a folder that carries the folder's lock, creating a missing one. Errors: ENOENT if it is missing
/// and cannot be created, as in another user's store made by an earlier version.
fn carrier_file(folder: &File, lock: Lock) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // Others that may read the folder lock it as well.
    let mode = Mode::from_raw_mode(0o644);
    let written = rustix::fs::openat(folder, LOCK, flags | OFlags::RDWR | OFlags::CREATE, mode);
    let refused = matches!(written, Err(Errno::ACCESS | Errno::PERM | Errno::ROFS));
    let opened = match written {
        Err(_) if refused && lock == Lock::Shared => {
            rustix::fs::openat(folder, LOCK, flags | OFlags::RDONLY, Mode::empty())
        }
        answer => answer,
    };
    Ok(File::from(opened?))
}

/// True if `file` is (still) the carrier of the folder at `path`: opened anew, since a client of NFS caches names.
fn is_carrier_of(path: &Path, file: &File) -> bool {
    let path = path.join(LOCK);
    let now = File::open(&path).and_then(|now| now.metadata());
    let held = file.metadata();
    matches!((now, held), (Ok(now), Ok(held)) if (now.dev(), now.ino()) == (held.dev(), held.ino()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn grip_as(path: &Path, kind: OwnLock) -> io::Result<LockAttempt> {
        attempt_as(path, Lock::Exclusive, kind)
    }

    const LOCAL: OwnLock = |_| true;
    const NETWORK: OwnLock = |_| false;

    fn exclusive(path: &Path, kind: OwnLock) -> File {
        hold_as(path, Lock::Exclusive, kind).unwrap().unwrap()
    }

    #[test]
    fn a_single_holder_keeps_removers_off_on_every_file_system() {
        let top = tempfile::tempdir().unwrap();
        let (folder, file) = (top.path().join("folder"), top.path().join("file"));
        fs::create_dir(&folder).unwrap();
        fs::write(&file, "").unwrap();
        for path in [&folder, &file] {
            for kind in [LOCAL, NETWORK] {
                let free = |path: &Path| matches!(grip_as(path, kind), Ok(LockAttempt::Ours(_)));
                assert!(free(path));
                let users = [0; 2].map(|_| hold_as(path, Lock::Shared, kind).unwrap().unwrap());
                assert!(matches!(grip_as(path, kind), Ok(LockAttempt::Held)));
                assert_eq!(is_held_as(path, kind), Some(false), "{}", path.display());
                let more = attempt_as(path, Lock::Shared, kind);
                assert!(matches!(more, Ok(LockAttempt::Ours(_))));
                drop((users, more));
                let lock = exclusive(path, kind);
                assert_eq!(is_held_as(path, kind), Some(true), "{}", path.display());
                assert!(matches!(grip_as(path, kind), Ok(LockAttempt::Held)));
                assert!(matches!(attempt_as(path, Lock::Shared, kind), Ok(LockAttempt::Held)));
                drop(lock);
                assert!(free(path));
            }
        }
    }

    #[test]
    fn the_lock_of_a_network_is_on_a_file_that_is_open_for_writing() {
        let top = tempfile::tempdir().unwrap();
        for lock in [Lock::Shared, Lock::Exclusive] {
            let held = hold_as(top.path(), lock, NETWORK).unwrap().unwrap();
            assert!(leads_to(&top.path().join(LOCK), &held));
            assert!(rustix::fs::fcntl_getfl(&held).unwrap().contains(OFlags::RDWR));
        }
        let file = top.path().join("file");
        fs::write(&file, "").unwrap();
        let held = exclusive(&file, NETWORK);
        assert!(rustix::fs::fcntl_getfl(&held).unwrap().contains(OFlags::RDWR));
    }

    #[test]
    fn locks_of_an_earlier_version_are_respected() {
        let top = tempfile::tempdir().unwrap();
        let before = File::open(top.path()).unwrap();
        before.lock().unwrap();
        assert!(matches!(grip_as(top.path(), NETWORK), Ok(LockAttempt::Held)));
        assert_eq!(is_held_as(top.path(), NETWORK), Some(true));
    }

    #[test]
    fn a_store_that_is_only_read_is_held_with_and_without_a_lock_file() {
        let top = tempfile::tempdir().unwrap();
        let read_only = |is: bool| {
            let mode = if is { 0o555 } else { 0o755 };
            fs::set_permissions(top.path(), fs::Permissions::from_mode(mode)).unwrap();
        };
        read_only(true);
        assert!(hold_as(top.path(), Lock::Shared, NETWORK).unwrap().is_some());
        read_only(false);
        let path = top.path().join(LOCK);
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
        let held = hold_as(top.path(), Lock::Shared, NETWORK).unwrap().unwrap();
        assert!(leads_to(&path, &held));
    }

    #[test]
    fn an_object_that_was_removed_meanwhile_is_gone() {
        let top = tempfile::tempdir().unwrap();
        let folder = top.path().join("folder");
        for kind in [LOCAL, NETWORK] {
            assert!(matches!(grip_as(&folder, kind), Ok(LockAttempt::Gone)));
            fs::create_dir(&folder).unwrap();
            let object = File::open(&folder).unwrap();
            remove_held(&folder, exclusive(&folder, kind)).unwrap();
            assert!(!folder.exists());
            let answer = carrier(&folder, &object, Lock::Exclusive, NETWORK);
            assert!(matches!(answer, Ok(Carrier::Gone)));
        }
    }
}
