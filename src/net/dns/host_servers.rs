//! Name servers of the host: read from resolv.conf(5), again whenever the file changes.

use std::fs::{File, Metadata};
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use rustix::net::{AddressFamily, SocketType};

use super::sockets::FLAGS;

/// Number of name servers that the C library asks (resolv.h, MAXNS).
pub(super) const MOST_SERVERS: usize = 3;

/// Bytes of the file that are read: far more than any has.
const MOST_BYTES: u64 = 64 << 10;

/// Servers of a file in the form of resolv.conf(5).
#[derive(Debug)]
pub(super) struct HostServers {
    path: PathBuf,
    port: u16,
    /// State of the file when it was read; `None`: not there, or not yet read.
    seen: Option<FileStamp>,
    servers: Vec<SocketAddr>,
}

/// State by which a changed file is recognised: a new file in its place, or new content.
#[derive(Debug, PartialEq, Eq)]
struct FileStamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileStamp {
    fn of(file: &Metadata) -> Self {
        Self {
            device: file.dev(),
            inode: file.ino(),
            size: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        }
    }
}

impl HostServers {
    pub(super) fn new(path: PathBuf, port: u16) -> Self {
        Self { path, port, seen: None, servers: servers_in("", port) }
    }

    /// Returns the servers that the file names now.
    pub(super) fn now(&mut self) -> &[SocketAddr] {
        // Links are followed: systemd-resolved and NetworkManager keep the file elsewhere.
        let seen = self.path.metadata().ok().map(|file| FileStamp::of(&file));
        if seen != self.seen {
            self.servers = servers_in(&self.read(), self.port);
            self.seen = seen;
        }
        &self.servers
    }

    fn read(&self) -> String {
        let mut bytes = Vec::new();
        if let Ok(file) = File::open(&self.path) {
            let _ = file.take(MOST_BYTES).read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Returns the servers of the lines `nameserver`; without any, the one on this machine (resolv.conf(5)).
fn servers_in(text: &str, port: u16) -> Vec<SocketAddr> {
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next()? == "nameserver")
            .then(|| words.next().and_then(|word| server(word, port)))
            .flatten()
    });
    let mut servers: Vec<_> = servers.take(MOST_SERVERS).collect();
    if servers.is_empty() {
        servers.push((Ipv4Addr::LOCALHOST, port).into());
    }
    servers
}

/// Reads an address. A link-local one has its interface behind `%`, by name or number.
fn server(word: &str, port: u16) -> Option<SocketAddr> {
    let Some((address, interface)) = word.split_once('%') else {
        return Some((word.parse::<IpAddr>().ok()?, port).into());
    };
    let scope = interface.parse().ok().or_else(|| index_of(interface))?;
    Some(SocketAddrV6::new(address.parse().ok()?, port, 0, scope).into())
}

fn index_of(interface: &str) -> Option<u32> {
    let (family, kind) = (AddressFamily::INET6, SocketType::DGRAM);
    let socket = rustix::net::socket_with(family, kind, FLAGS, None).ok()?;
    rustix::net::netdevice::name_to_index(socket, interface).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_name_the_servers() {
        let text = "# nameserver 1.1.1.1\nsearch a\nnameserver 127.0.0.53\nnameserver none\n \
                    nameserver ::1\nnameserver fe80::1%lo\nnameserver 9.9.9.9\n";
        let servers: Vec<_> = servers_in(text, 53).iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["127.0.0.53:53", "[::1]:53", "[fe80::1%1]:53"]);
        assert_eq!(servers_in("nameserver\n", 53)[0].to_string(), "127.0.0.1:53");
    }

    #[test]
    fn a_changed_file_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resolv.conf");
        let mut servers = HostServers::new(path.clone(), 53);
        let mut first = || servers.now()[0].ip().to_string();
        assert_eq!(first(), "127.0.0.1");
        std::fs::write(&path, "nameserver 10.0.0.1\n").unwrap();
        assert_eq!(first(), "10.0.0.1");
        std::fs::write(folder.path().join("new"), "nameserver 10.0.0.2\n").unwrap();
        std::fs::rename(folder.path().join("new"), &path).unwrap();
        assert_eq!(first(), "10.0.0.2");
        std::fs::write(&path, "nameserver 10.0.0.30\n").unwrap();
        assert_eq!(first(), "10.0.0.30");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(first(), "127.0.0.1");
    }
}
