//! Handover from the launching process to the small monitor: the same process, after an exec of this program. The exec
//! frees the memory of the launch. Children, locks and the PID (the one in the record) stay the same.
//!
//! The handover consists of descriptor numbers and a few facts. Both travel as JSON in a memfd; the argument is the
//! number of its descriptor.

use std::convert::Infallible;
use std::io::{Read, Seek, Write};
use std::os::fd::{OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::pod::PodHandover;
use crate::engine::ListenSockets;
use crate::error::{Context, Error, Result};
use crate::net::{EndpointHandover, HelperHandover};
use crate::readiness::NotifierHandover;
use crate::sys::process::{self, Forked};
use crate::sys::{fd, title};

/// Role word: the program runs as a monitor.
pub const MONITOR: &str = "monitor";
/// Role word: the monitor starts its container again.
pub const RELAUNCH: &str = "monitor-relaunch";
/// Role word: the monitor removes its container.
pub const REMOVE: &str = "monitor-remove";
/// Role word: a child of the monitor checks the container's health.
pub const CHECK: &str = "monitor-check";

/// State that passes from one role to the next: paths, descriptors and a few facts.
#[derive(Debug, Serialize, Deserialize)]
pub struct Handover {
    /// Root folder of the store.
    pub store: PathBuf,
    /// The container's folder.
    pub folder: PathBuf,
    /// Lock on the container's folder.
    pub lock: RawFd,
    /// Descriptors to keep open while the container runs: locks of its image.
    pub held: Vec<RawFd>,
    /// Our end of the keeper's socket: the keeper watches this socket, and reports failures over it.
    pub keeper: Option<RawFd>,
    /// Helper that connects the network; null without one.
    pub helper: Option<HelperHandover>,
    /// Named networks of the container.
    pub networks: Vec<EndpointHandover>,
    /// Connection to the service manager; null without one.
    pub notifier: Option<NotifierHandover>,
    /// Sockets of socket activation for the container's next start, at their numbers; null without restarts.
    pub sockets: Option<ListenSockets>,
    /// Exit status of the command that has ended.
    pub status: u8,
    /// Part of the container in its pod's uplink; null without one.
    pub pod: Option<PodHandover>,
    /// Listening socket for clients.
    pub listener: Option<RawFd>,
    /// Client attached from the start, which the command's output waits for.
    pub client: Option<RawFd>,
    /// Master side of the container's terminal.
    pub terminal: Option<RawFd>,
    /// Our ends of the pipes: standard input, output, error.
    pub pipes: [Option<RawFd>; 3],
    /// True if the command is PID 1 of its own PID namespace: its end kills the rest.
    pub ends_all: bool,
    /// The last wait before a restart, in milliseconds.
    pub waited: u64,
    /// Signals received during the launch.
    pub signals: Vec<i32>,
}

impl Handover {
    /// Executes this program with the word `role`. Returns only on error.
    pub fn exec(&self, role: &str) -> Result<Infallible> {
        let said = || "cannot go on as a monitor";
        let flags = rustix::fs::MemfdFlags::empty();
        let mut file = std::fs::File::from(rustix::fs::memfd_create("usnea", flags).context(said)?);
        file.write_all(&serde_json::to_vec(self).map_err(Error::new)?).context(said)?;
        file.rewind().context(said)?;
        let number = fd::hand_over(file.into()).context(said)?;
        become_us(&title::of(role), &[role, &number.to_string()])
    }

    /// Reads the handover from the descriptor with this number.
    pub fn receive(number: &str) -> Result<Self> {
        let said = || "a monitor is started by usnea alone";
        let number = number.parse().map_err(Error::new).context(said)?;
        let mut file = std::fs::File::from(fd::take(number).context(said)?);
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).context(said)?;
        serde_json::from_slice(&bytes).map_err(Error::new).context(said)
    }
}

/// Takes ownership of a descriptor from the handover.
pub fn take(number: RawFd) -> Result<OwnedFd> {
    fd::take(number).context(|| format!("descriptor {number}"))
}

/// Forks the process that checks the health of the container in `folder`, and returns its PID. The process dies with
/// its parent.
pub fn start_check(folder: &Path) -> Result<i32> {
    match process::fork().context(|| "cannot fork")? {
        Forked::Parent(child) => Ok(child.pid),
        Forked::Child => {
            let _ = process::set_parent_death_signal(libc::SIGKILL);
            let _ = become_us(&title::of("health check"), &[CHECK, &folder.to_string_lossy()]);
            process::exit_now(1)
        }
    }
}

/// Executes this program with these arguments and the current environment, shown as `title`.
fn become_us(title: &str, arguments: &[&str]) -> Result<Infallible> {
    use std::ffi::CString;
    use std::os::unix::ffi::OsStrExt;
    let text = |bytes: &[u8]| CString::new(bytes).map_err(Error::new);
    let mut words = vec![text(title.as_bytes())?];
    for argument in arguments {
        words.push(text(argument.as_bytes())?);
    }
    let variables = std::env::vars_os()
        .map(|(name, value)| text(&[name.as_bytes(), b"=", value.as_bytes()].concat()));
    let variables = variables.collect::<Result<Vec<_>>>()?;
    let words: Vec<_> = words.iter().map(CString::as_c_str).collect();
    let variables: Vec<_> = variables.iter().map(CString::as_c_str).collect();
    Err(process::exec(c"/proc/self/exe", &words, &variables))
        .context(|| "cannot run our own program")
}
