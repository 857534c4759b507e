//! Signals as data: blocked, and read from a descriptor (signalfd(2)).

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Signals that were blocked and come through a descriptor from now on.
pub struct Signals {
    fd: OwnedFd,
    before: libc::sigset_t,
}

impl Signals {
    /// Blocks `signals` for this process and those that it makes ([`Signals::restore`] undoes it in a child). What
    /// whoever started us had ignored (nohup(1), background jobs of scripts) stays ignored.
    pub fn block(signals: &[i32]) -> io::Result<Self> {
        // SAFETY: sigset_t is plain data and is filled by sigemptyset at once; the sets outlive the calls.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            let mut before: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            for signal in signals.iter().filter(|signal| !is_ignored(**signal)) {
                libc::sigaddset(&raw mut set, *signal);
            }
            if libc::sigprocmask(libc::SIG_BLOCK, &raw const set, &raw mut before) != 0 {
                return Err(io::Error::last_os_error());
            }
            let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(Self { fd: OwnedFd::from_raw_fd(fd), before })
        }
    }

    /// The next signal that has come, without waiting.
    pub fn next(&self) -> io::Result<Option<i32>> {
        // SAFETY: signalfd_siginfo is plain data; read fills at most its size.
        unsafe {
            let mut info: libc::signalfd_siginfo = std::mem::zeroed();
            let size = size_of::<libc::signalfd_siginfo>();
            match libc::read(self.fd.as_raw_fd(), (&raw mut info).cast(), size) {
                -1 => match io::Error::last_os_error() {
                    error if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
                    error => Err(error),
                },
                _ => Ok(Some(info.ssi_signo as i32)),
            }
        }
    }

    /// Restores the mask of before [`Signals::block`]: in a child, before it becomes the user's command.
    pub fn restore(&self) {
        // SAFETY: `before` was filled by sigprocmask.
        unsafe {
            libc::sigprocmask(libc::SIG_SETMASK, &raw const self.before, std::ptr::null_mut())
        };
    }
}

impl std::os::fd::AsFd for Signals {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Undoes that `signals` are ignored, whoever had them so. SIGPIPE: Rust ignores it, and `usnea spec | head` must end
/// quietly. SIGCHLD: ignored, children would vanish before they are waited for (wait(2)).
pub fn set_default(signals: &[i32]) {
    for signal in signals {
        // SAFETY: SIG_DFL installs no handler.
        unsafe { libc::signal(*signal, libc::SIG_DFL) };
    }
}

/// Blocks every signal of this process, for one that only waits for them with [`wait`].
pub fn block_all() {
    // SAFETY: the set is filled before use and outlives the call.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
    }
}

/// Waits for any blocked signal.
pub fn wait() -> i32 {
    loop {
        // SAFETY: the set is filled before use and outlives the call; no information is asked for.
        let signal = unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&raw mut set);
            libc::sigwaitinfo(&raw const set, std::ptr::null_mut())
        };
        if signal > 0 {
            return signal;
        }
    }
}

fn is_ignored(signal: i32) -> bool {
    // SAFETY: sigaction is plain data; a null new action only asks.
    unsafe {
        let mut now: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &raw mut now) == 0
            && now.sa_sigaction == libc::SIG_IGN
    }
}
