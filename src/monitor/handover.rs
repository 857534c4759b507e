//! From the process that launched a container to the small one that watches it: the same process, after an exec of our
//! own program. So what the launch needed of memory is gone, its children and locks are still its own, and its number is
//! that of the record.
//!
//! What is handed over are descriptors by number, and a few facts, as JSON in a descriptor whose number is the argument.

use std::convert::Infallible;
use std::io::{Read, Seek, Write};
use std::os::fd::{OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Result};
use crate::sys::process::{self, Forked};
use crate::sys::{fd, title};

/// The word that makes our program a monitor.
pub const MONITOR: &str = "monitor";
/// The word that makes a monitor start its container again.
pub const RELAUNCH: &str = "monitor-relaunch";
/// The word that makes a monitor remove its container.
pub const REMOVE: &str = "monitor-remove";
/// The word that makes a monitor's child check the container's health.
pub const CHECK: &str = "monitor-check";

/// What is handed over.
#[derive(Debug, Serialize, Deserialize)]
pub struct Handover {
    /// The store.
    pub store: PathBuf,
    /// The container's folder.
    pub folder: PathBuf,
    /// The lock on the folder.
    pub lock: RawFd,
    /// What must stay open for the container's sake: locks of its image.
    pub held: Vec<RawFd>,
    /// Our end of what its keeper watches, and tells us of.
    pub keeper: Option<RawFd>,
    /// The number of the process that connects its network.
    pub helper: Option<i32>,
    /// Where we listen.
    pub listener: Option<RawFd>,
    /// Who is attached already, whom the command waits for.
    pub client: Option<RawFd>,
    /// The master of the terminal.
    pub terminal: Option<RawFd>,
    /// Our ends of the pipes: standard input, output, error.
    pub pipes: [Option<RawFd>; 3],
    /// Whether the end of the container's process is the end of all that it started.
    pub ends_all: bool,
    /// The last wait before a start, in milliseconds.
    pub waited: u64,
    /// Signals that came during the launch.
    pub signals: Vec<i32>,
}

impl Handover {
    /// Becomes our program, with the word `role`. Only an error returns.
    pub fn exec(&self, role: &str) -> Result<Infallible> {
        let said = || "cannot go on as a monitor";
        let flags = rustix::fs::MemfdFlags::empty();
        let mut file = std::fs::File::from(rustix::fs::memfd_create("usnea", flags).context(said)?);
        file.write_all(&serde_json::to_vec(self).map_err(Error::new)?).context(said)?;
        file.rewind().context(said)?;
        let number = fd::hand_over(file.into()).context(said)?;
        become_us(&title::of(role), &[role, &number.to_string()])
    }

    /// What was handed over under this number.
    pub fn receive(number: &str) -> Result<Self> {
        let said = || "a monitor is started by usnea alone";
        let number = number.parse().map_err(Error::new).context(said)?;
        let mut file = std::fs::File::from(fd::take(number).context(said)?);
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).context(said)?;
        serde_json::from_slice(&bytes).map_err(Error::new).context(said)
    }
}

/// Takes one of the numbers.
pub fn take(number: RawFd) -> Result<OwnedFd> {
    fd::take(number).context(|| format!("descriptor {number}"))
}

/// Makes the process that checks the health of the container in `folder`; its number. It dies with us.
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

/// Becomes our program with these arguments, shown as `title`, in the environment that we have.
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
