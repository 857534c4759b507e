//! slirp4netns: its command line (slirp4netns(1)), and the socket for requests to forward ports. slirp4netns keeps the
//! caller's address, unless that is the host's loopback.

use std::io::{Read, Write};
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
pub(super) fn place(interface: &str, user: Option<&str>, net: &str) -> Vec<String> {
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
const PATIENCE: Duration = Duration::from_secs(10);

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

    /// Sends the port requests over the socket in that folder.
    pub(super) fn tell(&self, folder: &NewFolder) -> Result<()> {
        let path = folder.path.join(SOCKET);
        for (forward, request) in &self.requests {
            let ask = || -> std::io::Result<String> {
                let mut socket = UnixStream::connect(&path)?;
                socket.set_read_timeout(Some(PATIENCE))?;
                socket.write_all(request.to_string().as_bytes())?;
                socket.shutdown(std::net::Shutdown::Write)?;
                let mut answer = String::new();
                socket.read_to_string(&mut answer)?;
                Ok(answer)
            };
            let answer = ask().context(|| "cannot ask slirp4netns")?;
            let answer: Value = serde_json::from_str(answer.trim()).unwrap_or(Value::Null);
            if answer.get("return").is_none() {
                let why =
                    answer.pointer("/error/desc").and_then(Value::as_str).unwrap_or("no answer");
                let phrase = format!("slirp4netns cannot listen at {}", forward.host_end());
                // Releases up to 1.3.3 parse an IPv4 address.
                if forward.address().is_ipv6() && why.ends_with("bad arguments.host_addr") {
                    let cause = "this release of it forwards no ports of IPv6";
                    return Err(Error::refused(cause).within(phrase).hint(hint::IPV6_PORTS));
                }
                fail!(Conflict: "{phrase}: {why}");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
