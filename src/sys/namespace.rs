//! Namespaces: making, opening and entering them.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

pub use super::namespace_set::Namespaces;

/// Moves this process, which must have a single thread, to a copy of its mount namespace.
pub fn unshare_mounts() -> std::io::Result<()> {
    unshare(Namespaces::MOUNT)
}

/// Moves this process, which must have a single thread, to new `namespaces`. Errors: unshare(2).
pub fn unshare(namespaces: Namespaces) -> std::io::Result<()> {
    let flags = nix::sched::CloneFlags::from_bits_retain(namespaces.flags() as libc::c_int);
    Ok(nix::sched::unshare(flags)?)
}

/// True if this process has CAP_SYS_ADMIN in its user namespace, which mounting requires.
pub fn can_mount() -> bool {
    caps::has_cap(None, caps::CapSet::Effective, caps::Capability::CAP_SYS_ADMIN).unwrap_or(false)
}

/// Enters the `namespaces` of the process behind `pidfd` (setns(2), kernel 5.8). A PID or time namespace applies to
/// children created from then on. Errors: ESRCH if the process has ended; EINVAL for a user namespace if a second
/// thread exists, and on an older kernel.
pub fn join(pidfd: BorrowedFd<'_>, namespaces: Namespaces) -> io::Result<()> {
    let flags = nix::sched::CloneFlags::from_bits_retain(namespaces.flags() as libc::c_int);
    Ok(nix::sched::setns(pidfd, flags)?)
}

/// Fallback of [`join`] for older kernels, by PID. The user namespace is entered first: capabilities over the others
/// come from it.
pub fn join_one_by_one(pid: i32, pidfd: BorrowedFd<'_>, namespaces: Namespaces) -> io::Result<()> {
    let wanted = Namespaces::ALL.iter().filter(|(one, ..)| namespaces.contains(*one));
    let open = |(_, name, _): &(_, &str, _)| std::fs::File::open(format!("/proc/{pid}/ns/{name}"));
    let opened = wanted.map(open).collect::<io::Result<Vec<_>>>()?;
    // Checked after the opens: the descriptors refer to the process that had the PID at that moment.
    super::process::pidfd_signal(pidfd, 0)?;
    opened.iter().try_for_each(|namespace| enter(namespace.as_fd()))
}

/// Enters a namespace. Errors: setns(2); EINVAL for a user namespace if a second thread exists.
pub fn enter(namespace: BorrowedFd<'_>) -> io::Result<()> {
    Ok(nix::sched::setns(namespace, nix::sched::CloneFlags::empty())?)
}

/// ioctl_nsfs(2): <linux/nsfs.h>
const NS_GET_USERNS: u64 = 0xb701;
const NS_GET_NSTYPE: u64 = 0xb703;

/// Opens the user namespace that owns a namespace; the parent, for a user namespace (ioctl_nsfs(2), kernel 4.9). Errors:
/// EPERM if that is not the caller's user namespace or below.
pub fn owner(namespace: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: NS_GET_USERNS takes no argument and touches no memory of ours.
    match unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_USERNS as _) } {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: the kernel has just given us this descriptor, close-on-exec; nobody else owns it.
        owner => Ok(unsafe { OwnedFd::from_raw_fd(owner) }),
    }
}

/// True if both descriptors are of the same namespace. Errors: fstat(2).
pub fn is_same(one: &OwnedFd, other: &OwnedFd) -> io::Result<bool> {
    let (one, other) = (rustix::fs::fstat(one)?, rustix::fs::fstat(other)?);
    Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
}

/// Returns the kind of a namespace (ioctl_nsfs(2), kernel 4.11). Errors: ENOTTY if the file is no namespace.
pub fn kind(namespace: BorrowedFd<'_>) -> io::Result<Namespaces> {
    // SAFETY: NS_GET_NSTYPE takes no argument and touches no memory of ours.
    match unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_NSTYPE as _) } {
        -1 => Err(io::Error::last_os_error()),
        kind => Ok(Namespaces(kind as u32 as u64)),
    }
}

/// Opens the user namespace of a process, which must be a child of ours, so that its PID is valid. Errors: open(2).
pub fn user_of(pid: i32) -> io::Result<OwnedFd> {
    Ok(std::fs::File::open(format!("/proc/{pid}/ns/user"))?.into())
}

/// True if the current user namespace has a single user and a single group.
pub fn has_one_id() -> bool {
    ["/proc/self/uid_map", "/proc/self/gid_map"].iter().all(|path| {
        let map = std::fs::read_to_string(path).unwrap_or_default();
        let mut counts = map.lines().map(|line| line.split_ascii_whitespace().nth(2));
        matches!((counts.next(), counts.next()), (Some(Some("1")), None))
    })
}
