//! Messages between a launch and a holder, over a socket that keeps messages apart (SEQPACKET).
//!
//! The holder begins with its user namespace, before its IDs are mapped. Each request is an open image file. The answer
//! is a mount, followed by a report that its server serves; or an error in place of either. A byte
//! [`SHARED_SERVER_DIED`] follows later if the server of one of those images dies.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::net::SendFlags;
use serde::{Deserialize, Serialize};

use crate::engine::keeper::SHARED_SERVER_DIED;
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::sys::fd;

const DESCRIPTOR: u8 = b'F';
const SERVES: u8 = b'R';
const FAILED: u8 = b'E';

/// Limit of a message, in bytes.
pub const MOST: usize = 64 << 10;

/// Longest wait for the holder. The first mount of an image takes some ten milliseconds.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Request of a mount. The image's file comes with it as a descriptor.
#[derive(Debug, Serialize, Deserialize)]
pub struct ImageRequest {
    /// Start of the image in its file, in bytes.
    pub offset: u64,
    /// Source of the mount in /proc/self/mounts.
    pub source: String,
}

/// Answer of the holder.
#[derive(Debug)]
pub enum HolderAnswer {
    /// User namespace, or mount.
    Descriptor(OwnedFd),
    /// Report that the server of a sent mount serves.
    Serves,
    /// Failure of the request.
    Failed(Error),
    /// End of the holder.
    End,
}

impl HolderAnswer {
    /// Receives an answer. Errors: no answer in time; no message of a holder.
    pub fn receive(connection: &OwnedFd) -> Result<Self> {
        let mut room = vec![0; MOST];
        loop {
            let (count, descriptor) = fd::receive(connection, &mut room)
                .context(|| "the holder of images does not answer")?;
            let bytes = room.get(..count).unwrap_or_default();
            return match (bytes.split_first(), descriptor) {
                (None, _) => Ok(Self::End),
                (Some((&DESCRIPTOR, _)), Some(descriptor)) => Ok(Self::Descriptor(descriptor)),
                (Some((&SERVES, _)), _) => Ok(Self::Serves),
                (Some((&FAILED, json)), _) => {
                    Ok(Self::Failed(serde_json::from_slice(json).map_err(Error::new)?))
                }
                (Some((&SHARED_SERVER_DIED, _)), _) => continue,
                _ => fail!("the holder of images sent no answer"),
            };
        }
    }
}

/// Receives the holder's user namespace.
pub fn greeting(connection: &OwnedFd) -> Result<OwnedFd> {
    match HolderAnswer::receive(connection)? {
        HolderAnswer::Descriptor(namespace) => Ok(namespace),
        HolderAnswer::Failed(error) => Err(error),
        HolderAnswer::Serves | HolderAnswer::End => fail!("the holder of images has ended"),
    }
}

/// Receives the mounts of `count` requested images, in the order of the requests, once all their servers serve.
pub fn mounts(connection: &OwnedFd, count: usize) -> Result<Vec<OwnedFd>> {
    let (mut mounts, mut serving) = (Vec::new(), 0);
    while serving < count {
        match HolderAnswer::receive(connection)? {
            HolderAnswer::Descriptor(mount) => mounts.push(mount),
            HolderAnswer::Serves => serving += 1,
            HolderAnswer::Failed(error) => return Err(error),
            HolderAnswer::End => fail!("the holder of images has ended"),
        }
    }
    Ok(mounts)
}

/// Sends a descriptor to a client. Errors: the client has ended.
pub fn send_descriptor(client: &OwnedFd, descriptor: &OwnedFd) -> std::io::Result<()> {
    fd::send(client, &[DESCRIPTOR], Some(descriptor.as_fd()))
}

/// Reports that the server of a sent mount serves. Errors: the client has ended.
pub fn report_service(client: &OwnedFd) -> std::io::Result<()> {
    fd::send(client, &[SERVES], None)
}

/// Sends the failure of a request. Errors: the client has ended.
pub fn send_failure(client: &OwnedFd, error: &Error) -> std::io::Result<()> {
    let mut bytes = vec![FAILED];
    serde_json::to_writer(&mut bytes, error)?;
    fd::send(client, &bytes, None)
}

/// Reports to a client that a server of its images has died. A client that does not read misses the message.
pub fn report_death(client: &OwnedFd) {
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    let _ = rustix::net::send(client, &[SHARED_SERVER_DIED], flags);
}
