//! slirp4netns: its command line (slirp4netns(1)), and the socket for requests to forward ports. slirp4netns keeps the
//! caller's address, unless that is the host's loopback.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Addresses;
use crate::error::{Context, Error, Phrase, Result, Setting};
use crate::fail;
use crate::files::NewFolder;
use crate::forward::Forward;
use crate::hint;

/// Largest MTU that both helpers accept: fewer packets mean fewer turns.
const MTU: u32 = 65520;

/// Flag that hides the host's files from slirp4netns, which must be root of a user namespace for this.
pub(super) const SANDBOX: &str = "--enable-sandbox";

/// Flag for IPv6 in the container's network.
const IPV6: &str = "--enable-ipv6";

/// Name of the API socket. slirp4netns starts in the folder of the socket: the whole path may be too long.
pub(super) const SOCKET: &str = "api";

/// Converts podman's options to flags of slirp4netns.
pub(super) fn flags(options: &[String]) -> Result<Vec<String>> {
    let mut mtu = MTU;
    let mut reaches_loopback = false;
    let mut flags = Vec::new();
    for option in options {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        let switch = || match value {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(invalid(format!("{key} is true or false"))),
        };
        match key {
            "mtu" => match value.parse() {
                Ok(size) if (68..=65521).contains(&size) => mtu = size,
                _ => return Err(invalid("mtu is a number from 68 to 65521")),
            },
            "enable_ipv6" if switch()? => flags.push(IPV6.to_owned()),
            "enable_ipv6" => {}
            "allow_host_loopback" => reaches_loopback = switch()?,
            "outbound_addr" => flags.push(format!("--outbound-addr={value}")),
            "outbound_addr6" => flags.push(format!("--outbound-addr6={value}")),
            // The only value that applies: slirp4netns itself listens on published ports.
            "port_handler" if value == "slirp4netns" => {}
            _ => return Err(invalid(format!("'{option}' is no option of it"))),
        }
    }
    flags.push(format!("--mtu={mtu}"));
    if !reaches_loopback {
        flags.push("--disable-host-loopback".to_owned());
    }
    Ok(flags)
}

fn invalid(cause: impl Into<Phrase>) -> Error {
    Error::invalid(cause).within(Setting::Network.with("slirp4netns"))
}

/// Builds the arguments without the namespaces. Ports of IPv6 need that family inside.
pub(super) fn arguments(
    addresses: &Addresses,
    flags: &[String],
    forwards: &[Forward],
) -> Vec<String> {
    let cidr = format!("--cidr={}", addresses.cidr());
    let own = ["--configure", SANDBOX, "--enable-seccomp", &cidr];
    let needs_ipv6 = forwards.iter().any(|forward| forward.address().is_ipv6());
    let has_ipv6 = flags.iter().any(|flag| flag == IPV6);
    let ipv6 = (needs_ipv6 && !has_ipv6).then_some(IPV6);
    own.into_iter().chain(ipv6).map(str::to_owned).chain(flags.iter().cloned()).collect()
}

/// Builds the arguments for the namespaces and the interface.
pub(super) fn target_arguments(interface: &str, user: Option<&str>, net: &str) -> Vec<String> {
    let user = user.map(|user| format!("--userns-path={user}"));
    let last = [net.to_owned(), interface.to_owned()];
    user.into_iter().chain(["--netns-type=path".to_owned()]).chain(last).collect()
}

/// Place of the folder with the API socket.
#[derive(Clone, Copy, Debug)]
pub(super) struct SocketPlace<'a> {
    /// Folder for temporary files.
    pub tmp: &'a Path,
    /// Beginning of the folder's name.
    pub prefix: &'static str,
}

/// Port requests, and the place of the API socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Api {
    tmp: PathBuf,
    prefix: String,
    requests: Vec<(Forward, Value)>,
}

/// Time limit for an answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

impl Api {
    /// Builds the requests. `None`: no ports are published.
    pub(super) fn of(forwards: &[Forward], place: SocketPlace<'_>) -> Option<Self> {
        let request = |forward: &Forward| {
            // No address in the container: it is the one that slirp4netns gives, in the family of the host's.
            let arguments = json!({
                "proto": forward.protocol,
                "host_addr": forward.address().to_string(),
                "host_port": forward.host_port,
                "guest_port": forward.port,
            });
            (*forward, json!({ "execute": "add_hostfwd", "arguments": arguments }))
        };
        let requests: Vec<_> = forwards.iter().map(request).collect();
        (!requests.is_empty()).then(|| Self {
            tmp: place.tmp.to_owned(),
            prefix: place.prefix.to_owned(),
            requests,
        })
    }

    /// Creates the folder of the socket. The folder is removed after the requests; leftovers of a killed process are
    /// swept.
    pub(super) fn folder(&self) -> Result<NewFolder> {
        NewFolder::folder(&self.tmp, &self.prefix)
    }

    /// Prepares to send the port requests over the socket in that folder.
    pub(super) fn begin(&self, folder: &NewFolder) -> Result<PortRequests> {
        self.begin_in(&folder.path)
    }

    fn begin_in(&self, folder: &Path) -> Result<PortRequests> {
        let path = folder.join(SOCKET);
        let mut all = PortRequests {
            path,
            left: self.requests.clone().into(),
            asked: None,
            room: Vec::new(),
        };
        all.ask_next()?;
        Ok(all)
    }
}

/// Port requests on their way, one connection for each. Nothing here waits: slirp4netns may hang.
#[derive(Debug)]
pub(super) struct PortRequests {
    path: PathBuf,
    left: VecDeque<(Forward, Value)>,
    /// Request that is not answered yet.
    asked: Option<(Forward, UnixStream)>,
    /// Answer so far.
    room: Vec<u8>,
}

impl PortRequests {
    /// Socket that is readable when [`PortRequests::turn`] has work.
    pub(super) fn readiness(&self) -> Option<BorrowedFd<'_>> {
        self.asked.as_ref().map(|(_, socket)| socket.as_fd())
    }

    /// Reads the answer that has arrived, and sends the next request. Returns the number of requests without an answer.
    /// Errors: slirp4netns refuses a request, or has ended.
    pub(super) fn turn(&mut self) -> Result<usize> {
        if let Some((forward, socket)) = &mut self.asked {
            match socket.read_to_end(&mut self.room) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Ok(self.left.len() + 1);
                }
                read => read.context(CANNOT_ASK)?,
            };
            check_answer(forward, &self.room)?;
            self.room.clear();
        }
        self.ask_next()?;
        Ok(self.left.len() + usize::from(self.asked.is_some()))
    }

    fn ask_next(&mut self) -> Result<()> {
        self.asked = None;
        let Some((forward, request)) = self.left.pop_front() else { return Ok(()) };
        let ask = || -> std::io::Result<UnixStream> {
            // At once: the queue of the socket has room for the only client.
            let mut socket = UnixStream::connect(&self.path)?;
            socket.set_nonblocking(true)?;
            socket.write_all(request.to_string().as_bytes())?;
            socket.shutdown(std::net::Shutdown::Write)?;
            Ok(socket)
        };
        self.asked = Some((forward, ask().context(CANNOT_ASK)?));
        Ok(())
    }
}

const CANNOT_ASK: fn() -> &'static str = || "cannot ask slirp4netns";

/// Checks the answer to a request. Errors: slirp4netns cannot listen there.
fn check_answer(forward: &Forward, answer: &[u8]) -> Result<()> {
    let answer: Value = serde_json::from_slice(answer.trim_ascii()).unwrap_or(Value::Null);
    if answer.get("return").is_some() {
        return Ok(());
    }
    let why = answer.pointer("/error/desc").and_then(Value::as_str).unwrap_or("no answer");
    let phrase = format!("slirp4netns cannot listen at {}", forward.host_end());
    // Releases up to 1.3.3 parse an IPv4 address.
    if forward.address().is_ipv6() && why.ends_with("bad arguments.host_addr") {
        let cause = "this release of it forwards no ports of IPv6";
        return Err(Error::refused(cause).within(phrase).hint(hint::IPV6_PORTS));
    }
    fail!(Conflict: "{phrase}: {why}");
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::forward::Protocol;

    #[test]
    fn podmans_options_are_taken_and_others_refused() {
        let of = |text: &str| flags(&text.split(',').map(str::to_owned).collect::<Vec<_>>());
        let words = of("mtu=1500,enable_ipv6=true,allow_host_loopback=true").unwrap();
        assert_eq!(words, ["--enable-ipv6", "--mtu=1500"]);
        assert_eq!(flags(&[]).unwrap(), ["--mtu=65520", "--disable-host-loopback"]);
        for text in ["mtu=1", "enable_ipv6=maybe", "port_handler=rootlesskit", "x", ""] {
            assert!(of(text).is_err(), "{text}");
        }
    }

    /// Requests for two ports, and slirp4netns's end of the socket.
    fn asked(folder: &tempfile::TempDir) -> (PortRequests, UnixListener) {
        let listener = UnixListener::bind(folder.path().join(SOCKET)).unwrap();
        let forward = |protocol, host_port| Forward {
            protocol,
            port: 80,
            host: Some(std::net::Ipv4Addr::LOCALHOST.into()),
            host_port,
        };
        let forwards = [forward(Protocol::Tcp, 8080), forward(Protocol::Udp, 8081)];
        let place = SocketPlace { tmp: folder.path(), prefix: "x" };
        let api = Api::of(&forwards, place).unwrap();
        (api.begin_in(folder.path()).unwrap(), listener)
    }

    fn answer(listener: &UnixListener, answer: &str) -> String {
        let mut socket = listener.accept().unwrap().0;
        let mut request = String::new();
        socket.read_to_string(&mut request).unwrap();
        socket.write_all(answer.as_bytes()).unwrap();
        request
    }

    #[test]
    fn port_requests_wait_for_no_answer() {
        let folder = tempfile::tempdir().unwrap();
        let (mut requests, listener) = asked(&folder);
        // A blocking read would never return.
        assert_eq!((requests.turn().unwrap(), requests.turn().unwrap()), (2, 2));
        assert!(answer(&listener, r#"{"return":{"id":1}}"#).contains(r#""host_port":8080"#));
        assert_eq!((requests.turn().unwrap(), requests.turn().unwrap()), (1, 1));
        assert!(answer(&listener, r#"{"return":{"id":2}}"#).contains(r#""proto":"udp""#));
        assert_eq!(requests.turn().unwrap(), 0);
        assert!(requests.readiness().is_none());
    }

    #[test]
    fn a_refused_port_and_an_end_without_an_answer_are_errors() {
        for (said, phrase) in [(r#"{"error":{"desc":"in use"}}"#, "in use"), ("", "no answer")] {
            let folder = tempfile::tempdir().unwrap();
            let (mut requests, listener) = asked(&folder);
            answer(&listener, said);
            let error = requests.turn().unwrap_err().to_string();
            assert!(error.contains("127.0.0.1:8080") && error.contains(phrase), "{error}");
        }
    }
}
