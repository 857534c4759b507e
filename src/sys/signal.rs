//! Signals as data: blocked, and read from a descriptor (signalfd(2)).

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

/// Signals that [`Signals::next`] returned, a bit each.
static HEARD: AtomicU64 = AtomicU64::new(0);

/// True if this process received the signal and read it.
pub fn was_heard(signal: i32) -> bool {
    signal > 0 && HEARD.load(Ordering::Relaxed) & bit(signal) != 0
}

/// Ends this process by a signal, as if the signal had not been blocked. Returns only on failure.
pub fn end_by(signal: i32) {
    set_default(&[signal]);
    // SAFETY: the set is filled before use and outlives the call; raise takes a number.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, signal);
        libc::raise(signal);
        libc::sigprocmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut());
    }
}

/// Stops this process by a blocked signal, as if the signal had not been blocked, and returns when it is continued. Does
/// nothing where the kernel ignores the signal: in an orphaned process group, setpgid(2).
pub fn stop_by(signal: i32) {
    // SAFETY: the sets are filled before use and outlive the calls; raise takes a number.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, signal);
        libc::raise(signal);
        libc::sigprocmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut());
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
    }
}

/// Blocked signals, read from a descriptor.
pub struct Signals {
    fd: OwnedFd,
    before: libc::sigset_t,
}

impl Signals {
    /// Blocks `signals` for this process and its children ([`Signals::restore`] undoes this in a child). Signals that
    /// our parent ignored (nohup(1), background jobs of scripts) stay ignored.
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

    /// Returns the next pending signal, without waiting.
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
                _ => {
                    HEARD.fetch_or(bit(info.ssi_signo as i32), Ordering::Relaxed);
                    Ok(Some(info.ssi_signo as i32))
                }
            }
        }
    }

    /// Restores the signal mask from before [`Signals::block`].
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

/// Resets `signals` to their default action, whoever ignored them. SIGPIPE: Rust ignores it, and `usnea spec | head`
/// must end quietly. SIGCHLD: if ignored, children would vanish before they are waited for (wait(2)).
pub fn set_default(signals: &[i32]) {
    for signal in signals {
        // SAFETY: SIG_DFL installs no handler.
        unsafe { libc::signal(*signal, libc::SIG_DFL) };
    }
}

/// Ignores a signal. SIGCHLD: the kernel reaps the children of this process (wait(2)).
pub fn ignore(signal: i32) {
    // SAFETY: SIG_IGN installs no handler.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// Blocks all signals of this process, which then waits for them with [`wait`].
pub fn block_all() {
    // SAFETY: the set is filled before use and outlives the call.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
    }
}

/// Unblocks all signals of this process, before an exec.
pub fn unblock_all() {
    // SAFETY: the set is filled before use and outlives the call.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
    }
}

/// Unblocks and un-ignores all signals, before this process becomes a container's command. Its signals begin as those
/// of a program that init(1) starts, whatever our parent had blocked or ignored.
pub fn reset() {
    let known = KNOWN_DEFAULT.load(Ordering::Relaxed);
    // 32 and 33 are libc's own, and cannot be changed.
    let all = (1..=64).filter(|signal| ![libc::SIGKILL, libc::SIGSTOP, 32, 33].contains(signal));
    all.filter(|signal| known & bit(*signal) == 0).for_each(|signal| set_default(&[signal]));
    unblock_all();
}

/// Waits for any blocked signal, and returns its number.
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

/// Signals known to have their default action, which no code of ours changes afterwards. Each saves a system call
/// before exec.
static KNOWN_DEFAULT: AtomicU64 = AtomicU64::new(0);

fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

fn is_ignored(signal: i32) -> bool {
    // SAFETY: sigaction is plain data; a null new action only asks.
    let action = unsafe {
        let mut now: libc::sigaction = std::mem::zeroed();
        match libc::sigaction(signal, std::ptr::null(), &raw mut now) {
            0 => Some(now.sa_sigaction),
            _ => None,
        }
    };
    if action == Some(libc::SIG_DFL) {
        KNOWN_DEFAULT.fetch_or(bit(signal), Ordering::Relaxed);
    }
    action == Some(libc::SIG_IGN)
}

/// Returns the number of a signal: `9`, `KILL`, `SIGKILL`, `RTMIN+3`, in any case. `None`: not a signal.
pub fn number(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return (1..=64).contains(&number).then_some(number);
    }
    let text = text.to_ascii_uppercase();
    let name = text.strip_prefix("SIG").unwrap_or(&text);
    let near = |name: &str, sign: char, base: i32| {
        let offset = name.strip_prefix(sign)?.parse::<i32>().ok()?;
        let number = if sign == '+' { base + offset } else { base - offset };
        (34..=64).contains(&number).then_some(number)
    };
    // 34: glibc's first free number, and the one that docker and kill(1) mean.
    match (name, name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        ("RTMIN", ..) => Some(34),
        ("RTMAX", ..) => Some(64),
        (_, Some(rest), _) => near(rest, '+', 34),
        (_, _, Some(rest)) => near(rest, '-', 64),
        _ => {
            let aliases = match name {
                "CLD" => "CHLD",
                "IOT" => "ABRT",
                "POLL" => "IO",
                "UNUSED" => "SYS",
                name => name,
            };
            let signal: nix::sys::signal::Signal = format!("SIG{aliases}").parse().ok()?;
            Some(signal as i32)
        }
    }
}

/// Returns the name of a signal, such as `SIGTERM`.
pub fn name(number: i32) -> String {
    match nix::sys::signal::Signal::try_from(number) {
        Ok(signal) => signal.as_str().to_owned(),
        Err(_) if (34..=64).contains(&number) => format!("SIGRTMIN+{}", number - 34),
        Err(_) => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        for (text, signal) in [
            ("9", 9),
            ("KILL", 9),
            ("sigterm", 15),
            ("SIGRTMIN+3", 37),
            ("RTMAX-1", 63),
            ("SIGCLD", libc::SIGCHLD),
        ] {
            assert_eq!(number(text), Some(signal), "{text}");
        }
        for wrong in ["", "0", "65", "SIG", "TERMINATE", "RTMIN+31", "RTMAX+1", "-9"] {
            assert_eq!(number(wrong), None, "{wrong}");
        }
        for signal in 1..=64 {
            assert!(matches!(signal, 32 | 33) || number(&name(signal)) == Some(signal), "{signal}");
        }
    }
}
