//! Process 1 of a container with `--init`: reaps what is left to it, hands signals on, ends as the command ends.
//!
//! It is our own image, without exec: so it is hidden from the container (`/proc/1/exe` would be the user's usnea), and
//! keeps no descriptor but /dev/null.

use std::io;

use rustix::fs::{Mode, OFlags};

use crate::sys::process::{self, Child, Ended, Forked, Patience};
use crate::sys::{fd, signal};

/// Forks: the caller goes on in the child, which becomes the command; this process stays and never returns.
pub fn stay_as_init_and_go_on_in_child() -> io::Result<()> {
    // Before the fork: the command must not find a moment at which it could look. Its exec ends that for itself.
    process::hide_from_others()?;
    process::adopt_orphans()?; // where it is not process 1 (--pid host)
    match process::fork()? {
        Forked::Parent(command) => be_init(&command),
        Forked::Child => {
            // A session of its own, so that it, not process 1, has the terminal.
            rustix::process::setsid()?;
            Ok(())
        }
    }
}

fn be_init(command: &Child) -> ! {
    signal::block_all();
    let pid = command.pid;
    fd::close_from(3);
    if let Ok(null) = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty()) {
        use std::os::fd::AsFd;
        for number in 0..=2 {
            let _ = fd::install(null.as_fd(), number);
        }
    }
    loop {
        match signal::wait() {
            libc::SIGCHLD => {
                while let Ok(Some((ended, how))) = process::reap_any(Patience::Look) {
                    if ended == pid {
                        process::exit_now(match how {
                            Ended::Exited(status) => status,
                            Ended::Killed(signal) => 128 + signal,
                        });
                    }
                }
            }
            other => {
                // It may have ended this moment: SIGCHLD is on its way.
                let _ = process::signal_child(pid, other);
            }
        }
    }
}
