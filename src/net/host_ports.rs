//! Ports of the host at which a helper is to listen: the check that they are free, and the lock between two starts.
//!
//! A helper's own failure does not tell: pasta tolerates some ports that it cannot bind. Two of its datagram sockets
//! may share a port (SO_REUSEADDR in socket(7)). So the check is ours, and the lock lasts until the helper listens.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::resource::{Resource, getrlimit};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::error::{Context, Error, ErrorKind, Result, Setting};
use crate::fail;
use crate::forward::{Forward, Protocol};
use crate::hint;
use crate::host::addresses;
use crate::host::hint::Hint;

/// Limit of the wait for another container that starts with one of these ports.
const PATIENCE: Duration = Duration::from_secs(30);
/// Interval between two attempts to get the lock.
const PAUSE: Duration = Duration::from_millis(2);

/// Number of further checks of a port that is in use, [`PAUSE`] apart.
const CHECKS_OF_BUSY_PORT: u32 = 3;

/// Open files that a helper needs beside one for each port.
const HELPERS_FILES: u64 = 16;

/// Published ports of a launch, and the file for the locks between launches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostPorts {
    /// Published ports.
    pub forwards: Vec<Forward>,
    /// File of which each byte stands for a port.
    pub lock: PathBuf,
}

/// Lock on ports of the host. No other launch of this user looks at them, or listens there, while this value lives.
#[derive(Debug)]
pub struct PortClaim(File);

impl HostPorts {
    /// Locks the ports, and checks that they are free. `None`: no ports are published. Errors: the reason why a helper
    /// cannot listen there; another launch has the lock for too long.
    pub fn claim(&self) -> Result<Option<PortClaim>> {
        if self.forwards.is_empty() {
            return Ok(None);
        }
        let phrase = || format!("cannot lock {}", self.lock.display());
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        let claim = PortClaim(options.open(&self.lock).context(phrase)?);
        let deadline = Instant::now() + PATIENCE;
        // In order, so that two launches never wait for each other.
        for (first, count) in runs(&self.forwards) {
            while let Err(error) = claim.set(libc::F_WRLCK, first, count) {
                match error {
                    nix::Error::EAGAIN | nix::Error::EACCES if Instant::now() < deadline => {
                        std::thread::sleep(PAUSE);
                    }
                    nix::Error::EINTR => {}
                    error => return Err(std::io::Error::from(error)).context(phrase),
                }
            }
        }
        self.check()?;
        Ok(Some(claim))
    }

    /// Checks that a helper may have as many open files as it needs for the ports. Errors: the hard limit is lower.
    pub fn check_limit(&self) -> Result<()> {
        let needed = (self.forwards.len() as u64).saturating_add(HELPERS_FILES);
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).context(|| "the limit of open files")?;
        if self.forwards.is_empty() || needed <= hard {
            return Ok(());
        }
        let count = self.forwards.len();
        Err(Error::refused(format!(
            "{count} ports need {needed} open files, and the hard limit is {hard}"
        ))
        .within(Setting::Publish)
        .hint(hint::OPEN_FILES))
    }

    /// Checks that the ports are free. Errors: the reason why a helper cannot listen there.
    pub fn check(&self) -> Result<()> {
        self.forwards.iter().try_for_each(check_free)
    }

    /// Checks that a helper which is ready listens at each port. pasta omits the ports of a range that it cannot bind.
    /// Errors: a port at which no program listens.
    pub fn check_served(&self) -> Result<()> {
        match self.forwards.iter().find(|forward| !is_served(forward)) {
            None => Ok(()),
            Some(forward) => fail!(
                Conflict: "nothing listens at {}/{} of the host: it was in use for a moment",
                forward.host_end(), forward.protocol
            ),
        }
    }
}

impl PortClaim {
    fn set(&self, kind: i32, first: i64, count: i64) -> nix::Result<()> {
        let lock = libc::flock {
            l_type: kind as _,
            l_whence: libc::SEEK_SET as _,
            l_start: first,
            l_len: count,
            l_pid: 0,
        };
        fcntl(&self.0, FcntlArg::F_OFD_SETLK(&lock)).map(drop)
    }
}

/// Releases the lock also where a forked process has the descriptor.
impl Drop for PortClaim {
    fn drop(&mut self) {
        let _ = self.set(libc::F_UNLCK, 0, 0);
    }
}

/// Returns the runs of consecutive bytes that stand for the ports: their first ones, and their lengths.
fn runs(forwards: &[Forward]) -> Vec<(i64, i64)> {
    let byte = |forward: &Forward| {
        i64::from(forward.host_port)
            + match forward.protocol {
                Protocol::Tcp => 0,
                Protocol::Udp => 0x1_0000,
            }
    };
    let bytes: BTreeSet<i64> = forwards.iter().map(byte).collect();
    let mut runs: Vec<(i64, i64)> = Vec::new();
    for byte in bytes {
        match runs.last_mut() {
            Some((first, count)) if *first + *count == byte => *count += 1,
            _ => runs.push((byte, 1)),
        }
    }
    runs
}

/// Checks that a port is free. Waits a moment for a program that checks it too: that one has the port only as long.
/// Errors: the reason why a helper cannot listen there.
pub fn check_free(forward: &Forward) -> Result<()> {
    let mut result = bind(forward).map(drop);
    for _ in 0..CHECKS_OF_BUSY_PORT {
        match &result {
            Err(error) if error.errno() == Some(libc::EADDRINUSE) => std::thread::sleep(PAUSE),
            _ => break,
        }
        result = bind(forward).map(drop);
    }
    result
}

/// True if a program listens at one of the addresses of a published port: a helper may serve one family only.
fn is_served(forward: &Forward) -> bool {
    forward
        .addresses()
        .into_iter()
        .any(|address| bind_at(forward, address).err() == Some(Errno::ADDRINUSE))
}

/// Binds the places at which a helper will listen, as long as the descriptors are open: no client can connect to them.
/// Port 0 stands for a free one. Errors: the reason why a place cannot be had.
pub fn bind(forward: &Forward) -> Result<Vec<OwnedFd>> {
    let mut sockets = Vec::new();
    for address in forward.addresses() {
        match bind_at(forward, address) {
            Ok(socket) => sockets.push(socket),
            // A host without IPv6.
            Err(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL)
                if forward.host.is_none() && address.is_ipv6() => {}
            Err(errno) => return Err(failure(forward, address, errno)),
        }
    }
    Ok(sockets)
}

fn bind_at(forward: &Forward, address: IpAddr) -> rustix::io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let kind = match forward.protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
    };
    let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    if address.is_ipv6() {
        rustix::net::sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if forward.protocol == Protocol::Tcp {
        // Connections that ended a moment ago do not listen.
        rustix::net::sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    rustix::net::bind(&socket, &SocketAddr::new(address, forward.host_port))?;
    Ok(socket)
}

fn failure(forward: &Forward, address: IpAddr, errno: Errno) -> Error {
    let end = SocketAddr::new(address, forward.host_port);
    let phrase = format!("cannot listen at {end}/{} of the host", forward.protocol);
    let error = Error::from(errno);
    match errno {
        Errno::ADDRINUSE => {
            error.of_kind(ErrorKind::Conflict).within(phrase).hint(hint::OTHER_PORT)
        }
        Errno::ACCESS => {
            let first = crate::host::limits::first_unprivileged_port();
            let cause = format!(
                "only root may, as the port is below {first} (net.ipv4.ip_unprivileged_port_start)"
            );
            Error::refused(cause).within(phrase).hint(Hint::LowPorts(forward.host_port).to_string())
        }
        Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT => {
            let here: Vec<String> = addresses::of_host()
                .into_iter()
                .filter(|one| one.is_ipv4() == address.is_ipv4())
                .map(|address| address.to_string())
                .collect();
            let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
            let cause = match here.is_empty() {
                true => format!("the host has no {family} address"),
                false => format!("not an address of the host, which has {}", here.join(", ")),
            };
            Error::invalid(cause).within(phrase)
        }
        _ => error.within(phrase),
    }
}

/// Returns the ports at [`Ipv6Addr::UNSPECIFIED`] at which programs of this user listen. Hosts without IPv6 have none.
pub fn listeners_at_any_ipv6() -> BTreeSet<(Protocol, u16)> {
    // States of a listening socket, and of one for datagrams without a peer (include/net/tcp_states.h).
    let files = [(Protocol::Tcp, "/proc/net/tcp6", "0A"), (Protocol::Udp, "/proc/net/udp6", "07")];
    let user = rustix::process::geteuid().as_raw().to_string();
    let any = format!("{:032X}:", u128::from(Ipv6Addr::UNSPECIFIED));
    let mut all = BTreeSet::new();
    for (protocol, path, state) in files {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        for line in text.lines().skip(1) {
            // Number, local address, remote address, state, queues, timer, retransmits, user (proc_pid_net(5)).
            let words: Vec<&str> = line.split_whitespace().take(8).collect();
            let [_, local, _, its_state, _, _, _, its_user] = words[..] else { continue };
            let port = local.strip_prefix(&any).and_then(|port| u16::from_str_radix(port, 16).ok());
            if let Some(port) = port.filter(|_| its_state == state && its_user == user) {
                all.insert((protocol, port));
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forward(protocol: Protocol, host: Option<&str>, host_port: u16) -> Forward {
        Forward { protocol, port: 80, host: host.map(|host| host.parse().unwrap()), host_port }
    }

    #[test]
    fn ports_side_by_side_are_locked_at_once() {
        let tcp = |port| forward(Protocol::Tcp, None, port);
        let all = [tcp(8001), tcp(8000), tcp(9000), forward(Protocol::Udp, None, 8000), tcp(8000)];
        assert_eq!(runs(&all), [(8000, 2), (9000, 1), (0x1_0000 + 8000, 1)]);
    }

    #[test]
    fn two_launches_do_not_have_a_port_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let ports = HostPorts {
            forwards: vec![forward(Protocol::Tcp, Some("127.0.0.1"), free)],
            lock: folder.path().join("ports"),
        };
        let claim = ports.claim().unwrap().unwrap();
        let again = File::options().write(true).open(&ports.lock).map(PortClaim).unwrap();
        assert!(again.set(libc::F_WRLCK, free.into(), 1).is_err());
        drop(claim);
        again.set(libc::F_WRLCK, free.into(), 1).unwrap();
        drop(again);
        let error = ports.check_served().unwrap_err().to_string();
        assert!(error.contains(&format!("127.0.0.1:{free}/tcp")), "{error}");
        let listening = std::net::TcpListener::bind(("127.0.0.1", free)).unwrap();
        ports.check_served().unwrap();
        assert_eq!(ports.check().unwrap_err().kind(), ErrorKind::Conflict);
        drop(listening);
        let _held = bind(&ports.forwards[0]).unwrap();
        let listener = std::net::TcpListener::bind(("127.0.0.2", free)).unwrap();
        assert!(bind(&forward(Protocol::Tcp, Some("127.0.0.2"), free)).is_err());
        drop(listener);
        assert!(HostPorts::default().claim().unwrap().is_none());
    }

    #[test]
    fn an_address_of_another_machine_is_reported_with_those_of_this_one() {
        let error = bind(&forward(Protocol::Udp, Some("203.0.113.77"), 40000)).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("203.0.113.77:40000/udp") && text.contains("127.0.0.1"), "{text}");
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }

    #[test]
    fn a_listener_at_all_addresses_is_seen() {
        let Ok(listener) = std::net::TcpListener::bind("[::]:0") else { return };
        let port = listener.local_addr().unwrap().port();
        assert!(listeners_at_any_ipv6().contains(&(Protocol::Tcp, port)));
        drop(listener);
        assert!(!listeners_at_any_ipv6().contains(&(Protocol::Tcp, port)));
    }
}
