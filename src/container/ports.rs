//! Ports of the host that lead into a container: their choice, and the check that they are free.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::error::{Context, Result, Setting};
use crate::fail;
use crate::forward::{Forward, Protocol};
use crate::hint;
use crate::host::hint::Hint;
use crate::net::NetworkRequest;
use crate::phrase;
use crate::spec::{ContainerOptions, ExposedPorts, ImageDefaults, PublishedPorts};

/// Checks that the ports are free, just before a launch: a helper would say less. Errors: a port that is taken.
pub fn look_at_ports(wanted: &NetworkRequest) -> Result<()> {
    wanted.forwards.iter().try_for_each(|forward| taken(forward).map(drop))
}

/// Returns the ports that the container claims to listen at: those of the image, and of `--expose`.
pub(super) fn exposed(options: &ContainerOptions, image: &ImageDefaults) -> Vec<ExposedPorts> {
    let of_image = image.exposed_ports.iter().filter_map(|text| match text.parse() {
        Ok(exposed) => Some(exposed),
        Err(error) => {
            log::warn!("the image's port {text}: {error}");
            None
        }
    });
    of_image.chain(options.expose.iter().cloned()).collect()
}

/// Returns each port of a range with its protocol.
pub(super) fn ends(exposed: &ExposedPorts) -> impl Iterator<Item = (u16, Protocol)> + use<> {
    let protocol = exposed.protocol;
    exposed.ports.clone().map(move |port| (port, protocol))
}

/// Chooses the ports of the host for `--publish` and `--publish-all`. Errors: a port that is taken, or published twice.
pub(super) fn forwards(
    options: &ContainerOptions,
    exposed: &[ExposedPorts],
) -> Result<Vec<Forward>> {
    let mut chosen = Chosen::default();
    // Named ports first, so that the kernel picks no free port that is named.
    let (said, free): (Vec<_>, Vec<_>) =
        options.publish.iter().partition(|publish| publish.host_ports.is_some());
    for publish in said.into_iter().chain(free) {
        chosen.publish(publish).context(|| Setting::Publish.with(&publish.text))?;
    }
    if options.publish_all {
        for (port, protocol) in exposed.iter().flat_map(ends) {
            let is_its = |forward: &Forward| (forward.port, forward.protocol) == (port, protocol);
            if !chosen.forwards.iter().any(is_its) {
                chosen
                    .at_any(port, protocol, None)
                    .context(|| phrase!(Setting::PublishAll, format!(": {port}/{protocol}")))?;
            }
        }
    }
    Ok(chosen.forwards)
}

/// Chosen ports, each bound meanwhile, so that none is chosen twice.
#[derive(Default)]
struct Chosen {
    forwards: Vec<Forward>,
    held: Vec<OwnedFd>,
}

impl Chosen {
    fn publish(&mut self, publish: &PublishedPorts) -> Result<()> {
        let ExposedPorts { ports, protocol } = publish.container.clone();
        let forward = |port, host_port| Forward { protocol, port, host: publish.host, host_port };
        match &publish.host_ports {
            None => ports.clone().try_for_each(|port| self.at_any(port, protocol, publish.host)),
            Some(host) if host.len() == ports.len() => {
                host.clone().zip(ports).try_for_each(|(host, port)| self.add(forward(port, host)))
            }
            Some(host) => {
                let free = host.clone().find_map(|host| {
                    let forward = forward(*ports.start(), host);
                    let is_new = !self.forwards.iter().any(|other| is_same(other, &forward));
                    taken(&forward).ok().filter(|_| is_new).map(|socket| (forward, socket))
                });
                let Some((forward, socket)) = free else {
                    fail!(Conflict: "none of these ports is free")
                };
                self.held.push(socket);
                self.add(forward)
            }
        }
    }

    /// Adds a free port of the host, picked by the kernel.
    fn at_any(&mut self, port: u16, protocol: Protocol, host: Option<IpAddr>) -> Result<()> {
        let mut forward = Forward { protocol, port, host, host_port: 0 };
        let socket = taken(&forward)?;
        let address = rustix::net::getsockname(&socket).context(|| "cannot see a port")?;
        let address = SocketAddr::try_from(address).context(|| "cannot see a port")?;
        forward.host_port = address.port();
        self.held.push(socket);
        self.add(forward)
    }

    fn add(&mut self, forward: Forward) -> Result<()> {
        if self.forwards.iter().any(|other| is_same(other, &forward)) {
            fail!(Invalid: "port {}/{} of the host is published twice", forward.host_port, forward.protocol);
        }
        self.forwards.push(forward);
        Ok(())
    }
}

/// True if both listen at the same place.
fn is_same(one: &Forward, other: &Forward) -> bool {
    (one.protocol, one.host_port) == (other.protocol, other.host_port)
        && (one.host == other.host || one.host.is_none() || other.host.is_none())
}

/// Binds the place at which a helper will listen, as long as the descriptor is open: no client can connect to it.
/// Errors: the reason why the place is taken.
fn taken(forward: &Forward) -> Result<OwnedFd> {
    let address = SocketAddr::new(forward.address(), forward.host_port);
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let kind = match forward.protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
    };
    let take = || -> rustix::io::Result<OwnedFd> {
        let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
        if forward.protocol == Protocol::Tcp {
            // Connections that ended a moment ago do not listen.
            rustix::net::sockopt::set_socket_reuseaddr(&socket, true)?;
        }
        rustix::net::bind(&socket, &address)?;
        Ok(socket)
    };
    let taken = take();
    let errno = taken.as_ref().err().copied();
    let taken = taken.context(|| {
        format!("cannot listen at {}/{} of the host", forward.host_end(), forward.protocol)
    });
    match errno {
        Some(Errno::ACCESS) => taken.hint(|| Hint::LowPorts.to_string()),
        Some(Errno::ADDRINUSE) => taken.hint(|| hint::OTHER_PORT),
        _ => taken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(publish: &[&str]) -> ContainerOptions {
        let publish = publish.iter().map(|text| text.parse().unwrap()).collect();
        ContainerOptions { publish, ..ContainerOptions::default() }
    }

    #[test]
    fn what_is_not_said_is_free_and_none_is_taken_twice() {
        let all = forwards(&options(&["127.0.0.1::80", "127.0.0.1::81", "127.0.0.1::80/udp"]), &[])
            .unwrap();
        assert_eq!(all.len(), 3);
        assert!(all.iter().all(|forward| forward.host_port > 1023));
        assert_ne!(all[0].host_port, all[1].host_port);
        let said = forwards(&options(&["127.0.0.1:40000:80", "127.0.0.1:40001:80"]), &[]).unwrap();
        assert_eq!(
            said.iter().map(|forward| forward.host_port).collect::<Vec<_>>(),
            [40000, 40001]
        );
        for twice in [["8080:80", "8080:81"], ["127.0.0.1:8080:80", "8080:81"]] {
            assert!(forwards(&options(&twice), &[]).is_err());
        }
    }

    #[test]
    fn a_port_of_a_range_is_one_that_is_free() {
        let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = held.local_addr().unwrap().port();
        let one = format!("127.0.0.1:{port}:80");
        assert!(taken(&forwards(&options(&[&one]), &[]).unwrap()[0]).is_err());
        if port < u16::MAX - 20 {
            let range = format!("127.0.0.1:{port}-{}:80", port + 20);
            assert_ne!(forwards(&options(&[&range]), &[]).unwrap()[0].host_port, port);
        }
    }
}
