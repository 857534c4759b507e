//! Process 1 of a container with `--init`: reaps orphans, forwards signals, and exits when the command exits.
//!
//! The process runs usnea's own program, without an exec. It is hidden from the container (`/proc/1/exe` would be the
//! user's usnea), and keeps no descriptor but /dev/null.

use std::io;

use crate::engine::keeper::replace_standard_streams_by_null;
use crate::sys::process::{self, Child, Ended, Forked};
use crate::sys::{fd, signal, title};

/// Forks. Returns in the child, which becomes the command. The calling process runs `in_init`, stays as init, and never
/// returns.
pub fn fork_init(in_init: impl FnOnce()) -> io::Result<()> {
    // Before the fork: the command must find no moment in which it can inspect this process. Its own exec makes the
    // command dumpable again.
    process::set_undumpable()?;
    process::adopt_orphans()?; // for an init that is not process 1 (--pid host)
    // Before the fork: a quick command's end sends a signal, which must be blocked until the wait begins.
    signal::block_all();
    match process::fork()? {
        Forked::Parent(command) => {
            in_init();
            run_init(&command)
        }
        Forked::Child => {
            // A session of its own: the command, not process 1, has the terminal.
            rustix::process::setsid()?;
            Ok(())
        }
    }
}

fn run_init(command: &Child) -> ! {
    let pid = command.pid;
    title::set("init");
    fd::close_from(3);
    replace_standard_streams_by_null(2);
    loop {
        match signal::wait() {
            libc::SIGCHLD => {
                while let Ok(Some((ended, how))) = process::reap_any() {
                    if ended == pid {
                        process::exit_now(match how {
                            Ended::Exited(status) => status,
                            Ended::Killed(signal) => 128 + signal,
                        });
                    }
                }
            }
            other => {
                // The command may have just ended: SIGCHLD is on its way.
                let _ = process::signal_child(pid, other);
            }
        }
    }
}
