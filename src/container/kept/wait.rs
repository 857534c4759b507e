//! `usnea wait`: the exit status of a container, when it has ended.

use super::Kept;
use super::stop::ended_within;
use crate::error::{Error, Result};
use crate::monitor::Status;
use crate::monitor::record::State;
use crate::monitor::talk::{self, Request, Told};

/// Waits until the container has ended; its exit status. Its monitor is asked, so that one that is removed at its end
/// (`--rm`) tells too; without a monitor's answer the record does.
pub fn wait(kept: &Kept) -> Result<u8> {
    let status = kept.status_here()?;
    match &status {
        // docker: what never ran has ended with 0.
        Status::Created => return Ok(0),
        Status::Exited(exit) | Status::Restarting(_, exit) => return Ok(exit.status),
        Status::Running(state) | Status::Paused(state) => {
            if let Some(status) = asked(state) {
                return Ok(status);
            }
            if let Some(process) = state.process.open() {
                ended_within(&process, None)?;
            }
        }
    }
    let gone = |_| Error::new(format!("container {} was removed", kept.record.name));
    match kept.status().map_err(gone)? {
        Status::Exited(exit) | Status::Restarting(_, exit) => Ok(exit.status),
        _ => Err(Error::new(format!("container {} was started again", kept.record.name))),
    }
}

fn asked(state: &State) -> Option<u8> {
    let socket = talk::connect(state.socket.as_ref()?).ok()?;
    talk::send(&socket, &Request::Wait.bytes()).ok()?;
    let mut room = [0; 64];
    loop {
        let (length, _) = rustix::io::retry_on_intr(|| {
            rustix::net::recv(&socket, &mut room[..], rustix::net::RecvFlags::empty())
        })
        .ok()?;
        match Told::parse(&room[..length])? {
            Told::Ended(status) => return Some(status),
            _ => continue,
        }
    }
}
