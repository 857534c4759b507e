//! seccomp(2): filters, and the listener to which a filter passes calls.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Instruction of classic BPF.
pub type Instruction = libc::sock_filter;

/// Listener of a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listening {
    /// The filter has a listener.
    Yes,
    /// The filter has no listener, as no rule needs any.
    No,
}

/// Call that waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Unique ID of this call.
    pub id: u64,
    /// The thread's ID in our PID namespace; 0: the thread is outside.
    pub pid: u32,
    /// Architecture (linux/audit.h).
    pub architecture: u32,
    /// Number of the call.
    pub number: u32,
    /// Arguments of the call.
    pub arguments: [u64; 6],
}

/// Answer to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Skip the call and return this value.
    Value(i64),
    /// Skip the call and fail with this errno.
    Errno(i32),
    /// Let the kernel make the call, with the arguments as they are then: never an answer that protects anything.
    Continue,
}

/// Installs a filter on this thread and its children. Requires `no_new_privs` or CAP_SYS_ADMIN. Errors: seccomp(2).
pub fn install(
    program: &[Instruction],
    flags: u32,
    listening: Listening,
) -> io::Result<Option<OwnedFd>> {
    let length = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // The kernel only reads the program: the field is not const because C's is not.
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    let flags = match listening {
        Listening::Yes => u64::from(flags) | libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
        Listening::No => u64::from(flags),
    };
    // SAFETY: `program` points to `length` instructions, which outlive the call.
    let answer = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program)
    };
    match (answer, listening) {
        (-1, _) => Err(io::Error::last_os_error()),
        // SAFETY: with NEW_LISTENER the answer is a new descriptor, close-on-exec, that nobody else knows.
        (fd, Listening::Yes) => Ok(Some(unsafe { OwnedFd::from_raw_fd(fd as i32) })),
        (_, Listening::No) => Ok(None),
    }
}

/// Listener of a filter.
#[derive(Debug)]
pub struct Listener(OwnedFd);

impl From<OwnedFd> for Listener {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Listener {
    /// Asks the kernel to run the waiting side on our processor at once (kernel 6.6), which halves the time of a call.
    /// Older kernels ignore this.
    pub fn hurry(&self) {
        const SYNC_WAKE_UP: u64 = 1;
        // SAFETY: this ioctl takes a plain number.
        unsafe {
            libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS, SYNC_WAKE_UP)
        };
    }

    /// Waits for a call; `None`: an interruption of the caller or of us. Errors: no process has the filter any more.
    pub fn receive(&self) -> io::Result<Option<Call>> {
        if !self.has_call()? {
            return Ok(None);
        }
        // SAFETY: a C struct of numbers, for which all zeros is a value, and which the kernel wants zeroed.
        let mut notif: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: `notif` is what this ioctl fills, and outlives the call.
        let answer = unsafe {
            libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut notif)
        };
        if answer == -1 {
            let error = io::Error::last_os_error();
            return match error.raw_os_error() {
                Some(libc::EINTR | libc::ENOENT) => Ok(None),
                _ => Err(error),
            };
        }
        Ok(Some(Call {
            id: notif.id,
            pid: notif.pid,
            architecture: notif.data.arch,
            number: notif.data.nr as u32,
            arguments: notif.data.args,
        }))
    }

    /// Waits until a call is pending, or an interruption. Before kernel 6.11 the ioctl alone would wait forever after
    /// the last caller has gone. Errors: no process has the filter any more (kernel 5.9; earlier kernels never report
    /// this).
    fn has_call(&self) -> io::Result<bool> {
        use rustix::event::{PollFd, PollFlags, poll};
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        match poll(&mut fds, None) {
            Err(rustix::io::Errno::INTR) => return Ok(false),
            answer => answer?,
        };
        let came = fds[0].revents();
        if came.contains(PollFlags::HUP) {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        Ok(came.contains(PollFlags::IN))
    }

    /// Answers a call. A caller that is gone, or was interrupted by a signal, is no error.
    pub fn answer(&self, call: &Call, answer: Answer) -> io::Result<()> {
        let (val, error, flags) = match answer {
            Answer::Value(value) => (value, 0, 0),
            Answer::Errno(errno) => (0, -errno, 0),
            Answer::Continue => (0, 0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32),
        };
        let response = libc::seccomp_notif_resp { id: call.id, val, error, flags };
        // SAFETY: `response` is what this ioctl reads, and outlives the call.
        let answer = unsafe {
            libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw const response)
        };
        match answer {
            -1 => match io::Error::last_os_error() {
                error if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
                error => Err(error),
            },
            _ => Ok(()),
        }
    }

    /// True if the call still waits: then its thread is still the one with `pid`, and no later one.
    pub fn waits(&self, call: &Call) -> bool {
        // SAFETY: this ioctl reads the one number that it is pointed to.
        let answer = unsafe {
            libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &raw const call.id)
        };
        answer == 0
    }
}

/// Reads from the memory of another thread; returns the number of bytes. Errors: process_vm_readv(2).
pub fn read_memory(pid: u32, address: u64, room: &mut [u8]) -> io::Result<usize> {
    let local = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
    let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: room.len() };
    // SAFETY: `local` is the whole of `room`; `remote` is an address in the other process, which the kernel checks.
    let answer = unsafe { libc::process_vm_readv(pid as i32, &local, 1, &remote, 1, 0) };
    usize::try_from(answer).map_err(|_| io::Error::last_os_error())
}

/// Writes all of `bytes` into the memory of another thread. Errors: process_vm_writev(2); EFAULT: only a part fitted.
pub fn write_memory(pid: u32, address: u64, bytes: &[u8]) -> io::Result<()> {
    let local = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: bytes.len() };
    // SAFETY: `local` is the whole of `bytes` and is only read; `remote` is in the other process.
    let answer = unsafe { libc::process_vm_writev(pid as i32, &local, 1, &remote, 1, 0) };
    match usize::try_from(answer) {
        Ok(written) if written == bytes.len() => Ok(()),
        Ok(_) => Err(io::Error::from_raw_os_error(libc::EFAULT)),
        Err(_) => Err(io::Error::last_os_error()),
    }
}
