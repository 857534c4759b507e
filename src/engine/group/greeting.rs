//! Greeting of a group's holder: the terms and the container, over a socket that keeps messages apart (SEQPACKET). Each
//! message has one descriptor: the terms in a file of memory, a pidfd, and the namespaces.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use rustix::fs::MemfdFlags;
use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Result};
use crate::fail;
use crate::sys::fd;

/// Limit of a message, in bytes.
const MOST: usize = 16 << 10;
/// Limit of the terms, in bytes.
const MOST_TERMS: u64 = 16 << 20;
/// Limit of the number of namespaces.
const MOST_NAMESPACES: usize = 8;

/// First message, which comes with the terms.
#[derive(Serialize, Deserialize)]
struct Header {
    pid: i32,
    cgroup: Option<PathBuf>,
    namespaces: usize,
}

/// Container of a group, as its holder hands it over.
#[derive(Debug)]
pub struct Greeting {
    /// Terms of the group.
    pub terms: Vec<u8>,
    /// pidfd of the container's process.
    pub process: OwnedFd,
    /// PID of that process.
    pub pid: i32,
    /// Namespaces of the container that differ from the host's, the user namespace first.
    pub namespaces: Vec<OwnedFd>,
    /// Folder of the container's cgroup.
    pub cgroup: Option<PathBuf>,
}

/// Messages to each member, made once.
#[derive(Debug)]
pub struct GreetingMessages {
    header: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

impl GreetingMessages {
    /// Makes the messages of `greeting`. Errors: no memory for the terms.
    pub fn of(greeting: Greeting) -> Result<Self> {
        let Greeting { terms, process, pid, namespaces, cgroup } = greeting;
        let header = Header { pid, cgroup, namespaces: namespaces.len() };
        let header = serde_json::to_vec(&header).map_err(Error::new)?;
        let memory = rustix::fs::memfd_create("terms", MemfdFlags::CLOEXEC);
        let mut file = File::from(memory.context(|| "cannot make a file of memory")?);
        file.write_all(&terms).context(|| "cannot keep the terms of the group")?;
        let descriptors = [OwnedFd::from(file), process].into_iter().chain(namespaces).collect();
        Ok(Self { header, descriptors })
    }

    /// Sends the messages. Errors: the member has gone, or does not read.
    pub fn send(&self, member: &OwnedFd) -> std::io::Result<()> {
        for (index, descriptor) in self.descriptors.iter().enumerate() {
            let bytes = if index == 0 { &*self.header } else { b"D" };
            fd::send(member, bytes, Some(descriptor.as_fd()))?;
        }
        Ok(())
    }
}

/// Receives the messages of a holder. `None`: it has ended. Errors: no message in time; no greeting.
pub fn receive(connection: &OwnedFd) -> Result<Option<Greeting>> {
    let mut room = vec![0; MOST];
    let mut next = || {
        let received = fd::receive(connection, &mut room);
        let (count, descriptor) = match received {
            // The holder ended with data of ours unread, or before it accepted the connection.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Ok(None),
            received => received.context(|| "the holder of the group does not answer")?,
        };
        let bytes = room.get(..count).unwrap_or_default().to_vec();
        Ok::<_, Error>(descriptor.map(|descriptor| (bytes, descriptor)))
    };
    let Some((header, terms)) = next()? else { return Ok(None) };
    let header: Header = serde_json::from_slice(&header).map_err(Error::new)?;
    if header.namespaces > MOST_NAMESPACES {
        fail!("the holder of the group sent no greeting");
    }
    let Some((_, process)) = next()? else { return Ok(None) };
    let mut namespaces = Vec::new();
    for _ in 0..header.namespaces {
        let Some((_, namespace)) = next()? else { return Ok(None) };
        namespaces.push(namespace);
    }
    let terms = read_terms(&terms.into()).context(|| "cannot read the terms of the group")?;
    Ok(Some(Greeting { terms, process, pid: header.pid, namespaces, cgroup: header.cgroup }))
}

/// Reads the terms at their offset: all members share the position of the file.
fn read_terms(file: &File) -> Result<Vec<u8>> {
    let length = file.metadata()?.len();
    if length > MOST_TERMS {
        fail!("{length} bytes");
    }
    let mut terms = vec![0; length as usize];
    file.read_exact_at(&mut terms, 0)?;
    Ok(terms)
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    #[test]
    fn a_greeting_comes_whole_or_not_at_all() {
        let pair = || {
            let flags = SocketFlags::CLOEXEC;
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap()
        };
        let null = || OwnedFd::from(File::open("/dev/null").unwrap());
        let messages = GreetingMessages::of(Greeting {
            terms: b"terms".repeat(50_000),
            process: null(),
            pid: 7,
            namespaces: vec![null(), null()],
            cgroup: Some("/c".into()),
        })
        .unwrap();
        for _ in 0..2 {
            let (near, far) = pair();
            messages.send(&far).unwrap();
            let received = receive(&near).unwrap().unwrap();
            assert_eq!(received.terms, b"terms".repeat(50_000));
            assert_eq!((received.pid, received.namespaces.len()), (7, 2));
            assert_eq!(received.cgroup, Some("/c".into()));
        }
        let (near, far) = pair();
        fd::send(&far, &messages.header, Some(messages.descriptors[0].as_fd())).unwrap();
        drop(far);
        assert!(receive(&near).unwrap().is_none());
    }
}
