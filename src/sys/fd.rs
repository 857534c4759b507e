//! Descriptors: closing them at exec, passing them over a socket, notification of removals.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

/// Marks every descriptor from `first` on close-on-exec, whoever left it open (close_range(2), kernel 5.11). On older
/// kernels, marks those listed in `/proc/self/fd`.
pub fn close_at_exec_from(first: RawFd) -> io::Result<()> {
    const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;
    // SAFETY: close_range with CLOEXEC closes nothing now and touches no memory of ours.
    let done = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first as libc::c_uint,
            libc::c_uint::MAX,
            CLOSE_RANGE_CLOEXEC,
        )
    };
    if done == 0 {
        return Ok(());
    }
    for entry in std::fs::read_dir("/proc/self/fd")? {
        if let Some(number) =
            entry?.file_name().to_str().and_then(|name| name.parse::<RawFd>().ok())
            && number >= first
        {
            set_at_exec(number, AtExec::Close)?;
        }
    }
    Ok(())
}

/// Fate of a descriptor at exec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtExec {
    /// Closed.
    Close,
    /// Handed on to the program.
    Keep,
}

/// Sets the fate of a descriptor, by number, at exec. Errors: EBADF if not open.
pub fn set_at_exec(number: RawFd, fate: AtExec) -> io::Result<()> {
    let flags = if fate == AtExec::Close { libc::FD_CLOEXEC } else { 0 };
    // SAFETY: F_SETFD on any number touches no memory; a number that is not open gives EBADF.
    match unsafe { libc::fcntl(number, libc::F_SETFD, flags) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Makes `number` (0, 1 or 2) a copy of `fd`, not close-on-exec.
pub fn install(fd: BorrowedFd<'_>, number: RawFd) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    // SAFETY: the numbers 0 to 2 belong to the standard streams, which no OwnedFd of ours owns.
    match unsafe { libc::dup2(fd.as_raw_fd(), number) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Sends `bytes` and at most one descriptor over a socket, as a single message. No SIGPIPE.
pub fn send(socket: impl AsFd, bytes: &[u8], fd: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let fds: Vec<BorrowedFd<'_>> = fd.into_iter().collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(&fds));
    }
    rustix::io::retry_on_intr(|| {
        rustix::net::sendmsg(&socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)
    })?;
    Ok(())
}

/// Receives a message of at most `room.len()` bytes and the descriptor in it. 0 bytes: the other end has closed.
pub fn receive(socket: impl AsFd, room: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = rustix::io::retry_on_intr(|| {
        rustix::net::recvmsg(
            &socket,
            &mut [IoSliceMut::new(room)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )
    })?;
    let fd = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    Ok((message.bytes, fd))
}

/// Closes every descriptor from `first` on, whoever owns it: for a process that never returns to its owners.
pub fn close_from(first: RawFd) {
    // SAFETY: the caller goes on in a function that never returns, so no OwnedFd of this process is used or dropped.
    let done = unsafe {
        libc::syscall(libc::SYS_close_range, first as libc::c_uint, libc::c_uint::MAX, 0)
    };
    if done != 0 {
        for number in first..65536 {
            // SAFETY: as above.
            unsafe { libc::close(number) };
        }
    }
}

/// Closes every descriptor from 3 on but `kept`, whoever owns them: for a process that never returns to their owners.
pub fn close_all_but(kept: &[BorrowedFd<'_>]) {
    close_all_but_from(3, kept, &[]);
}

/// Closes every descriptor from `first` on but `kept` and the numbers `preserved`, as [`close_all_but`].
pub fn close_all_but_from(first: RawFd, kept: &[BorrowedFd<'_>], preserved: &[u32]) {
    let mut kept: Vec<RawFd> = kept.iter().map(AsRawFd::as_raw_fd).collect();
    kept.extend(preserved.iter().map(|number| *number as RawFd));
    kept.sort_unstable();
    let mut first = first;
    for number in kept {
        for other in first..number {
            // SAFETY: as in `close_from`.
            unsafe { libc::close(other) };
        }
        first = first.max(number + 1);
    }
    close_from(first);
}

/// Makes all inherited descriptors after 2 close-on-exec: programs that this process starts get none. Must be called
/// before any open. Errors: EBADF and the number, for one of `passed` that is not open.
pub fn close_all_at_exec(
    passed: impl IntoIterator<Item = RawFd>,
) -> Result<(), (RawFd, io::Error)> {
    close_at_exec_from(3).map_err(|error| (3, error))?;
    passed
        .into_iter()
        .try_for_each(|number| set_at_exec(number, AtExec::Close).map_err(|error| (number, error)))
}

/// Returns the numbers of the descriptors after 2 that this process has inherited: all of its own are close-on-exec.
/// Must be called before [`close_all_at_exec`].
pub fn inherited() -> io::Result<Vec<RawFd>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let Some(number) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // SAFETY: F_GETFD only reads a flag of the number, which may be closed already (EBADF).
        let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
        if number > 2 && flags != -1 && flags & libc::FD_CLOEXEC == 0 {
            all.push(number);
        }
    }
    Ok(all)
}

/// Closes these descriptors, which no [`OwnedFd`] owns: those that this process has inherited.
pub fn close_numbers(numbers: std::ops::Range<RawFd>) {
    for number in numbers {
        // SAFETY: the caller says that nobody owns the number.
        unsafe { libc::close(number) };
    }
}

/// Makes reads and writes non-blocking.
pub fn set_nonblocking(fd: impl AsFd) -> io::Result<()> {
    Ok(rustix::io::ioctl_fionbio(fd, true)?)
}

/// Takes ownership of a descriptor that was passed through exec. Errors: EBADF.
pub fn take(number: RawFd) -> io::Result<OwnedFd> {
    use std::os::fd::FromRawFd;
    set_at_exec(number, AtExec::Close)?;
    if number < 3 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: it is open (fcntl has just said so), and only the code that hands over knows the number, once.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Makes a descriptor survive the next exec, owned by nobody until then; returns its number.
pub fn hand_over(fd: OwnedFd) -> io::Result<RawFd> {
    use std::os::fd::{AsRawFd, IntoRawFd};
    set_at_exec(fd.as_raw_fd(), AtExec::Keep)?;
    Ok(fd.into_raw_fd())
}

/// Signal sent after [`tell_of_removals`].
pub const REMOVAL: i32 = libc::SIGIO;

/// Requests [`REMOVAL`] for each removal in `folder`, while this process has `folder` open (F_NOTIFY, fcntl(2)). Not
/// inotify(7): a user has 128 instances in total, for all editors and all containers. Errors: EINVAL on a kernel
/// without F_NOTIFY; EACCES if the folder is unreadable.
pub fn tell_of_removals(folder: impl AsFd) -> io::Result<()> {
    // <linux/fcntl.h>
    const DN_DELETE: libc::c_int = 0x8;
    const DN_MULTISHOT: libc::c_int = libc::c_int::MIN;
    let events = DN_DELETE | DN_MULTISHOT;
    // SAFETY: F_NOTIFY takes a number and touches no memory of ours.
    match unsafe { libc::fcntl(folder.as_fd().as_raw_fd(), libc::F_NOTIFY, events) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
