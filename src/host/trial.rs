//! Trials in namespaces of a child: no mount, namespace or process stays with the caller.
//!
//! The child waits until its IDs are mapped, does its work, and answers through a pipe. The child never outlives the
//! trial, and the trial never outlasts [`PATIENCE`]: a mount on a dead NFS server must not hang the doctor.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::error::{Context, Error, Result};
use crate::fail;
use crate::files;
use crate::sys::namespace::Namespaces;
use crate::sys::process::{self, Child, Forked, Parentage};

/// Time limit of a child.
pub const PATIENCE: Duration = Duration::from_secs(2);

const DONE: u8 = b'+';

/// Makes a child in `namespaces`, whose ID maps `map` writes by the child's number. Then runs `work` in the child and
/// returns its result. Errors: the clone, `map` or `work` failed, or the time is over.
pub fn run(
    namespaces: Namespaces,
    map: impl FnOnce(i32) -> Result<()>,
    work: impl FnOnce() -> Result<String>,
) -> Result<String> {
    let (go_out, go_in) = pipe()?;
    let (answer_out, answer_in) = pipe()?;
    match process::clone(namespaces, Parentage::Ours).context(|| "cannot make namespaces")? {
        Forked::Child => {
            // The child must not hold the parent's ends: they would prevent the end of file.
            drop((go_in, answer_out));
            child(go_out, answer_in, work)
        }
        Forked::Parent(child) => {
            drop((go_out, answer_in));
            let outcome = map(child.pid).and_then(|()| {
                File::from(go_in).write_all(&[DONE]).context(|| "the child is gone")?;
                answer(answer_out)
            });
            end(&child);
            outcome
        }
    }
}

/// Maps the child's ID 0 to the caller's: any user may do this (user_namespaces(7)).
pub fn map_own_ids(pid: i32) -> Result<()> {
    let uid = rustix::process::geteuid().as_raw();
    let gid = rustix::process::getegid().as_raw();
    // Before gid_map: otherwise a group that takes rights away could be dropped (CVE-2014-8989), and the kernel refuses
    // the map.
    write_proc(pid, "setgroups", "deny")?;
    write_proc(pid, "uid_map", &format!("0 {uid} 1"))?;
    write_proc(pid, "gid_map", &format!("0 {gid} 1"))
}

/// Writes a file of the child in /proc.
pub fn write_proc(pid: i32, file: &str, content: &str) -> Result<()> {
    let path = format!("/proc/{pid}/{file}");
    std::fs::write(&path, content).context(|| format!("cannot write {content:?} to {file}"))
}

fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).context(|| "cannot make a pipe")
}

fn child(go: OwnedFd, answer: OwnedFd, work: impl FnOnce() -> Result<String>) -> ! {
    let _ = process::set_parent_death_signal(libc::SIGKILL);
    // End of file instead of the byte: the parent could not map the IDs, and reports that itself.
    if File::from(go).read_exact(&mut [0]).is_ok() {
        let outcome: Result<String> = catch_unwind(AssertUnwindSafe(work))
            .unwrap_or_else(|_| Err(Error::new("the probe itself failed")));
        let _ = files::write_json(answer, &outcome);
    }
    process::exit_now(0)
}

fn answer(pipe: OwnedFd) -> Result<String> {
    let deadline = Instant::now() + PATIENCE;
    let mut bytes = Vec::new();
    let mut pipe = File::from(pipe);
    while wait_readable(&pipe, deadline) {
        let mut room = [0; 1024];
        match pipe.read(&mut room)? {
            0 => return decode(&bytes),
            length => bytes.extend(&room[..length]),
        }
    }
    fail!("no answer within {} seconds", PATIENCE.as_secs())
}

fn decode(answer: &[u8]) -> Result<String> {
    serde_json::from_slice(answer).unwrap_or_else(|_| Err(Error::new("the child was killed")))
}

/// True if the descriptor is readable, or at its end, before `deadline`.
fn wait_readable(fd: &impl AsFd, deadline: Instant) -> bool {
    let left = deadline.saturating_duration_since(Instant::now());
    let Ok(left) = Timespec::try_from(left) else {
        return false;
    };
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    loop {
        match poll(&mut fds, Some(&left)) {
            Err(rustix::io::Errno::INTR) => {}
            answer => return answer.is_ok_and(|ready| ready > 0),
        }
    }
}

fn end(child: &Child) {
    let _ = child.signal(libc::SIGKILL);
    // A child that hangs in a dead file server cannot even be killed. The child ends when the server does, without a
    // wait here.
    if wait_readable(&child.pidfd, Instant::now() + PATIENCE) {
        let _ = child.wait();
    }
}
