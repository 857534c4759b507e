//! Group: commands that share one container, with its namespaces, its root and its servers (`run --join`).
//!
//! ```text
//!  first command                       holder (one for each group)        container
//!    locks, finds no socket
//!    forks it, waits ------------------> an orphan: launches the plan --------> its process never becomes a command
//!    <--------------------------- ready  (StartTrigger::Never)
//!    connects, unlocks ---------------->
//!    <--- terms, pidfd, namespaces -----
//!    enters as `enter` does
//!  another command
//!    locks, connects, unlocks --------->
//!    compares the terms, enters
//!  end of a command: its connection closes
//!                                      end of the last one: kills what is left, ends the container
//! ```
//!
//! The lock is the same as for holders of images: no command connects to a holder that is about to end. No count of
//! commands is needed, and none of them is special: the first may end before the others. A SIGKILL of the holder ends
//! the container with all commands in it. After one of the container's process or of its keeper the holder does.

mod greeting;
mod holder;

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::net::sockopt::{Timeout, set_socket_timeout};

use crate::engine::holder_address::HolderAddress;
use crate::engine::plan::running::RunningContainer;
use crate::error::{Context, Result};
use crate::fail;
pub use holder::GroupHolder;

/// Subfolder of the runtime folder.
const FOLDER: &str = "groups";

/// Longest wait for the holder of a group, in seconds. A launch with a copied root takes long.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(300);

/// Address of a group.
#[derive(Debug)]
pub struct GroupAddress(HolderAddress);

/// Removes the sockets in the runtime folder `runtime` of holders that were killed.
pub fn sweep_group_sockets(runtime: &Path) {
    HolderAddress::sweep(&runtime.join(FOLDER));
}

/// Command that has joined a group.
#[derive(Debug)]
pub struct GroupMember {
    running: RunningContainer,
    /// Terms of the group, as its first command gave them ([`GroupHolder::terms`]).
    pub terms: Vec<u8>,
    connection: GroupConnection,
}

/// Connection of a command to its group, which stays as long as any is open.
#[derive(Debug)]
pub struct GroupConnection(OwnedFd);

impl GroupConnection {
    /// Leaves the group. The last command returns when the container has ended and its files are removed.
    pub fn leave(self) {
        let _ = rustix::net::shutdown(&self.0, rustix::net::Shutdown::Write);
        // The holder closes its end: at once, or at its own end.
        let _ = rustix::io::retry_on_intr(|| rustix::io::read(&self.0, &mut [0]));
    }
}

impl GroupAddress {
    /// Returns the address of the group `key` of this user, below the runtime folder. Errors: the folder cannot be
    /// made.
    pub fn of(runtime: &Path, key: &str) -> Result<Self> {
        Ok(Self(HolderAddress::of(&runtime.join(FOLDER), key)?))
    }

    /// Locks the address, until the returned file is closed: no group begins or ends meanwhile.
    pub fn lock(&self) -> Result<File> {
        self.0.lock()
    }

    /// Connects to the group. `None`: there is none. The caller has the lock.
    pub fn connect(&self) -> Result<Option<OwnedFd>> {
        match self.0.connect() {
            Ok(connection) => Ok(Some(connection)),
            Err(error) if is_without_holder(&error) => {
                self.0.remove_stale();
                Ok(None)
            }
            Err(error) => Err(error).context(|| "cannot connect to the group"),
        }
    }
}

fn is_without_holder(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

impl GroupMember {
    /// Receives the container of the group. The caller has released the lock. Errors: the group has ended; its holder
    /// does not answer.
    pub fn of(connection: OwnedFd) -> Result<Self> {
        set_socket_timeout(&connection, Timeout::Recv, Some(PATIENCE))
            .context(|| "cannot limit the wait for the group")?;
        let Some(greeting) = greeting::receive(&connection)? else {
            fail!("the group has just ended");
        };
        let greeting::Greeting { terms, process, pid, namespaces, cgroup } = greeting;
        let running = RunningContainer::of_namespaces(process, pid, namespaces, cgroup)?;
        Ok(Self { running, terms, connection: GroupConnection(connection) })
    }

    /// Returns the container, and the connection that keeps it.
    pub fn into_parts(self) -> (RunningContainer, GroupConnection) {
        (self.running, self.connection)
    }

    /// Leaves the group, as [`GroupConnection::leave`].
    pub fn leave(self) {
        self.connection.leave();
    }
}
