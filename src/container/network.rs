//! Network of a container: from the flags to the settings in its record, and to the actions of a launch.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::Path;

use oci_spec::runtime::Spec;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::folder;
use crate::error::{Context, Error, Result, Setting};
use crate::fail;
use crate::forward::{Forward, Protocol};
use crate::hint;
use crate::host::hint::Hint;
use crate::monitor::process_id;
use crate::net::{Mode, Network, NetworkRequest, Resolver};
use crate::phrase;
use crate::spec::{self, ContainerOptions, ExposedPorts, ImageDefaults, PublishedPorts};

/// Returns the network of the flags, with free ports of the host where none are named. Errors: published ports without
/// a network; no free port.
pub fn wanted(options: &ContainerOptions, image: &ImageDefaults) -> Result<NetworkRequest> {
    let network = options.network();
    options.joined_network().map_err(Error::invalid).context(|| Setting::Network)?;
    let publishes = options.publish_all || !options.publish.is_empty();
    let mut attachments = Vec::new();
    let (mode, flag) = match network {
        spec::NetworkMode::None if publishes => {
            return Err(Error::invalid("a container without a network has no ports")
                .within(Setting::Publish)
                .hint(hint::NOT_NETWORK_NONE));
        }
        spec::NetworkMode::None => (Mode::None, Default::default()),
        spec::NetworkMode::Host => (Mode::Host, Default::default()),
        spec::NetworkMode::Helper(flag) => (Mode::Helper, flag),
        spec::NetworkMode::Named(named, flag) => {
            attachments = named;
            if let Some(first) = attachments.first() {
                let text = format!("there is no network {}", first.network);
                return Err(Error::not_found(text).within(Setting::Network));
            }
            (Mode::Named, flag.unwrap_or_default())
        }
    };
    let exposed = exposed(options, image);
    if mode == Mode::Host && publishes {
        log::warn!(
            "{}: on the host's network the container's ports are the host's already",
            Setting::Publish
        );
    }
    let forwards = match mode {
        Mode::Helper | Mode::Named => forwards(options, &exposed)?,
        Mode::None | Mode::Host => Vec::new(),
    };
    let resolver = || Resolver {
        servers: options.dns.clone(),
        search: options.dns_search.clone(),
        options: options.dns_option.clone(),
    };
    Ok(NetworkRequest {
        mode,
        program: flag.program,
        options: flag.options,
        attachments,
        forwards,
        exposed: exposed
            .iter()
            .flat_map(ends)
            .map(|(port, protocol)| format!("{port}/{protocol}"))
            .collect(),
        resolver: options.has_own_resolver().then(resolver),
        hosts: options.has_own_hosts().then(|| options.add_host.clone()),
        names_host: options.has_own_hostname(),
    })
}

/// Checks that the ports are free, just before a launch: a helper would say less. Errors: a port that is taken.
pub fn look_at_ports(wanted: &NetworkRequest) -> Result<()> {
    wanted.forwards.iter().try_for_each(|forward| taken(forward).map(drop))
}

/// Returns the network actions for a launch of `spec`. Errors: no helper; invalid options.
pub fn connected(wanted: &NetworkRequest, spec: &Spec, store: &Path) -> Result<Network> {
    let hostname = spec.hostname().clone().unwrap_or_else(process_id::host_name);
    let full_name = match spec.domainname() {
        Some(domain) if !hostname.contains('.') => format!("{hostname}.{domain}"),
        _ => hostname.clone(),
    };
    wanted.decide(&hostname, &full_name, &store.join("tmp"), folder::PREFIX)
}

/// Returns the ports that the container claims to listen at: those of the image, and of `--expose`.
fn exposed(options: &ContainerOptions, image: &ImageDefaults) -> Vec<ExposedPorts> {
    let of_image = image.exposed_ports.iter().filter_map(|text| match text.parse() {
        Ok(exposed) => Some(exposed),
        Err(error) => {
            log::warn!("the image's port {text}: {error}");
            None
        }
    });
    of_image.chain(options.expose.iter().cloned()).collect()
}

fn ends(exposed: &ExposedPorts) -> impl Iterator<Item = (u16, Protocol)> + use<> {
    let protocol = exposed.protocol;
    exposed.ports.clone().map(move |port| (port, protocol))
}

fn forwards(options: &ContainerOptions, exposed: &[ExposedPorts]) -> Result<Vec<Forward>> {
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

    #[test]
    fn all_that_is_exposed_is_published_once() {
        let image = ImageDefaults {
            exposed_ports: vec!["80/tcp".into(), "odd".into(), "53/udp".into()],
            ..ImageDefaults::default()
        };
        let options = ContainerOptions { publish_all: true, ..options(&["127.0.0.1:40002:80"]) };
        let wanted = wanted(&options, &image).unwrap();
        let ends: Vec<_> = wanted.forwards.iter().map(Forward::container_end).collect();
        assert_eq!(ends, ["80/tcp", "53/udp"]);
        assert_eq!(wanted.exposed, ["80/tcp", "53/udp"]);
    }
}
