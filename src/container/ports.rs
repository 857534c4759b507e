//! Published ports of the host: chooses them, checks that they are free, and finds those at which the helper of a
//! running container listens.

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::Path;

use super::Container;
use crate::error::{Context, Error, Result, Setting};
use crate::fail;
use crate::forward::{Forward, Protocol};
use crate::hint;
use crate::host::network_helper::NetworkHelper;
use crate::monitor::{Status, pod};
use crate::net::{NetworkRequest, host_ports};
use crate::phrase;
use crate::spec::{ContainerOptions, ExposedPorts, ImageDefaults, PublishedPorts};

/// Checks that the ports are free, just before a launch. Errors: a port in use; names the container of this store that
/// has it.
pub fn check_ports_free(store: &Path, wanted: &NetworkRequest) -> Result<()> {
    let taken = |forward: &Forward| Some((*forward, host_ports::check_free(forward).err()?));
    match wanted.forwards.iter().find_map(taken) {
        None => Ok(()),
        Some((forward, error)) => Err(with_owner(store, &forward, error)),
    }
}

/// Adds to `error` the name of the running container that has the port, if any.
fn with_owner(store: &Path, forward: &Forward, error: Error) -> Error {
    if error.errno() != Some(libc::EADDRINUSE) {
        return error;
    }
    let has_it = |container: &Container| {
        let forwards = &container.record.network.forwards;
        forwards.iter().any(|other| other.overlaps(forward))
            && container.status().is_ok_and(|status| status.is_running())
    };
    let owner = super::all_in(store).ok().and_then(|all| all.into_iter().find(has_it));
    let Some(owner) = owner else { return error };
    Error::conflict(format!("container {} listens there", owner.record.name))
        .within(format!("cannot listen at {}/{} of the host", forward.host_end(), forward.protocol))
        .hint(hint::OTHER_PORT)
}

/// Returns the exposed ports: those of the image, and of `--expose`.
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

/// Chooses the ports of the host for `--publish` and `--publish-all`. Errors: a port that is in use, or published
/// twice.
pub(super) fn forwards(
    options: &ContainerOptions,
    exposed: &[ExposedPorts],
) -> Result<Vec<Forward>> {
    let mut chosen = Chosen::default();
    // Explicit host ports first, so that the kernel does not choose one of them for the others.
    let (said, free): (Vec<_>, Vec<_>) =
        options.published().partition(|publish| publish.host_ports.is_some());
    for publish in said.into_iter().chain(free) {
        chosen.publish(publish).context(|| Setting::Publish.with(&publish.text))?;
    }
    if options.publish_all {
        let mut published: BTreeSet<_> =
            chosen.forwards.iter().map(|forward| (forward.port, forward.protocol)).collect();
        for (port, protocol) in exposed.iter().flat_map(ends) {
            if published.insert((port, protocol)) {
                chosen
                    .at_any(port, protocol, None)
                    .context(|| phrase!(Setting::PublishAll, format!(": {port}/{protocol}")))?;
            }
        }
    }
    Ok(chosen.forwards)
}

/// Number of attempts to find a port that is free at all addresses.
const ATTEMPTS: usize = 64;

/// Chosen ports, none of them twice.
#[derive(Default)]
struct Chosen {
    forwards: Vec<Forward>,
    /// Indexes in `forwards` by port, for a fast search: a container may publish thousands of ports.
    by_number: HashMap<(Protocol, u16), Vec<usize>>,
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
                let mut all = host.clone().map(|host| forward(*ports.start(), host));
                let is_free =
                    |forward: &Forward| !self.has(forward) && host_ports::bind(forward).is_ok();
                let Some(forward) = all.find(is_free) else {
                    fail!(Conflict: "none of these ports is free")
                };
                self.add(forward)
            }
        }
    }

    /// Adds a free port of the host, chosen by the kernel.
    fn at_any(&mut self, port: u16, protocol: Protocol, host: Option<IpAddr>) -> Result<()> {
        for _ in 0..ATTEMPTS {
            let mut forward = Forward { protocol, port, host, host_port: 0 };
            let first = Forward { host: Some(forward.address()), ..forward };
            let sockets = host_ports::bind(&first)?;
            let address = sockets.first().map(rustix::net::getsockname).transpose();
            let address = address.context(|| "cannot read the port of a socket")?;
            let address = address.and_then(|address| SocketAddr::try_from(address).ok());
            forward.host_port = address.map_or(0, |address| address.port());
            drop(sockets);
            // The port may be in use at addresses of the other family.
            if !self.has(&forward) && host_ports::bind(&forward).is_ok() {
                return self.add(forward);
            }
        }
        fail!(Conflict: "no port is free")
    }

    fn has(&self, forward: &Forward) -> bool {
        let same = self.by_number.get(&(forward.protocol, forward.host_port));
        same.into_iter().flatten().any(|index| self.forwards[*index].overlaps(forward))
    }

    fn add(&mut self, forward: Forward) -> Result<()> {
        if self.has(&forward) {
            fail!(Invalid: "port {}/{} of the host is published twice", forward.host_port, forward.protocol);
        }
        let key = (forward.protocol, forward.host_port);
        self.by_number.entry(key).or_default().push(self.forwards.len());
        self.forwards.push(forward);
        Ok(())
    }
}

/// Ports at which programs of this user listen at any IPv6 address of the host. Read once, when first needed.
#[derive(Debug, Default)]
pub struct Ipv6Listeners(OnceCell<BTreeSet<(Protocol, u16)>>);

impl Ipv6Listeners {
    /// Returns the published ports as docker lists them. A port without an address is listed for IPv4. It is listed for
    /// IPv6 too while the container's helper listens there.
    pub fn shown(&self, container: &Container, status: &Status) -> Vec<Forward> {
        let of_pod = network_of_pod(container);
        let network = of_pod.as_ref().unwrap_or(&container.record.network);
        let is_here = status.is_running() && status.elsewhere().is_none();
        let mut shown = Vec::with_capacity(network.forwards.len());
        for forward in &network.forwards {
            shown.push(*forward);
            let here = || self.0.get_or_init(host_ports::listeners_at_any_ipv6);
            if is_here
                && forward.host.is_none()
                && here().contains(&(forward.protocol, forward.host_port))
            {
                shown.push(Forward { host: Some(Ipv6Addr::UNSPECIFIED.into()), ..*forward });
            }
        }
        shown
    }
}

/// Returns the published ports of a container as docker lists them. Those of a pod are there for each member (podman's
/// rule).
pub fn published_ports(container: &Container) -> Result<Vec<Forward>> {
    Ok(Ipv6Listeners::default().shown(container, &container.status()?))
}

/// Returns the network of the container's pod. `None`: the container has its own network.
fn network_of_pod(container: &Container) -> Option<NetworkRequest> {
    let id = container.record.pod.as_deref()?;
    // A damaged record of the pod is no reason not to list its members.
    let pod = pod::open(&container.store, id).ok().flatten()?;
    pod.has_network().then_some(pod.network)
}

/// Returns the kind of a running container's network helper, which is a child of the monitor. `None`: no helper, or the
/// container runs on another machine.
pub(super) fn helper(status: &Status) -> Option<NetworkHelper> {
    let state = status.state().filter(|_| status.is_running() && status.elsewhere().is_none())?;
    let monitor = state.monitor.pid;
    let children = std::fs::read_to_string(format!("/proc/{monitor}/task/{monitor}/children"));
    let of_child = |pid: &str| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        // pasta is a link to passt, which may execute a variant for the processor, such as passt.avx2.
        match name.starts_with("passt") {
            true => Some(NetworkHelper::Pasta),
            false => NetworkHelper::ALL.into_iter().find(|helper| name.starts_with(helper.name())),
        }
    };
    children.ok()?.split_whitespace().find_map(of_child)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(publish: &[&str]) -> ContainerOptions {
        let publish = publish.iter().map(|text| text.parse().unwrap()).collect();
        ContainerOptions { publish, ..ContainerOptions::default() }
    }

    #[test]
    fn unspecified_ports_are_free_ones_and_none_is_taken_twice() {
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
        assert!(host_ports::bind(&forwards(&options(&[&one]), &[]).unwrap()[0]).is_err());
        if port < u16::MAX - 20 {
            let range = format!("127.0.0.1:{port}-{}:80", port + 20);
            assert_ne!(forwards(&options(&[&range]), &[]).unwrap()[0].host_port, port);
        }
    }

    #[test]
    fn a_thousand_free_ports_are_chosen_without_a_descriptor_for_each() {
        let options = options(&["127.0.0.1::2000-2999"]);
        let all = forwards(&options, &[]).unwrap();
        let numbers: BTreeSet<u16> = all.iter().map(|forward| forward.host_port).collect();
        assert_eq!(numbers.len(), 1000);
    }
}
