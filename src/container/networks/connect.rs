//! `usnea network connect`, `disconnect` and `reload`: networks of an existing container. The record is changed first;
//! then the monitor of a running container makes or removes the interface.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::RecvFlags;

use super::builtin::BuiltinNetwork;
use crate::container::network::{self, ContainerIdentity};
use crate::container::rename::current;
use crate::container::{Container, Names, attach};
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::hint;
use crate::monitor::Status;
use crate::monitor::events;
use crate::monitor::protocol::{self, MonitorMessage, Request};
use crate::monitor::record::{self, CONTAINER, Record};
use crate::net::{Mode, NetworkChange, NetworkChangeKind, UplinkChange, definition};
use crate::network_attachment::NetworkAttachment;

/// Time limit for the answer of a monitor.
const PATIENCE: Duration = Duration::from_secs(30);

/// Connects a container to a network, immediately if it runs. Errors: it is connected already; it has the host's or
/// another container's network, or none; a requested address is in use.
pub fn connect(container: &Container, mut attachment: NetworkAttachment) -> Result<()> {
    let store = &container.store;
    let (definition, _held) = definition::hold(store, &attachment.network)?;
    attachment.network = definition.name.to_string();
    let _names = Names::lock(store)?;
    let before = current(container)?;
    let name = &before.name;
    if before.network.attachments.iter().any(|one| one.network == attachment.network) {
        fail!(Conflict: "container {name} is connected to network {} already", definition.name);
    }
    let mut record = before.clone();
    let request = &mut record.network;
    match request.mode {
        Mode::Named => {}
        Mode::Helper => {
            request.mode = Mode::Named;
            request.has_own_uplink = true;
        }
        _ => {
            let error = Error::conflict(format!(
                "container {name} has network {}: no other can be connected to it",
                request.word()
            ));
            return Err(error.hint(match request.mode {
                Mode::None => hint::LEAVE_NONE,
                _ => hint::NEW_NETWORK,
            }));
        }
    }
    request.attachments.push(attachment);
    let change = || connection(container, &before, &record, &definition.id);
    apply(container, &before, &record, change)?;
    events::of_networks(store, &record.id, "connect", std::iter::once(&definition));
    Ok(())
}

/// Returns the change that connects the network with this ID, one of those in `record`.
fn connection(
    container: &Container,
    before: &Record,
    record: &Record,
    id: &str,
) -> Result<NetworkChange> {
    let spec = container.spec()?;
    let identity = ContainerIdentity { id: &record.id, name: Some(&record.name) };
    let (store, request) = (&container.store, &record.network);
    let had_uplink = before.network.has_uplink(&network::definitions(store, &before.network)?);
    let definitions = network::definitions(store, request)?;
    let network = network::connected(request, definitions, &spec, store, identity)?;
    let plan = network.joins.into_iter().find(|join| join.definition.id == id);
    let plan = plan.ok_or_else(|| Error::not_found("the network was removed meanwhile"))?;
    Ok(NetworkChange {
        kind: NetworkChangeKind::Connect(Box::new(plan), Box::new(network.identity)),
        uplink: if had_uplink { UplinkChange::Keep } else { UplinkChange::Begin(network.helpers) },
        resolv_conf: resolv_conf(container, record)?,
    })
}

fn resolv_conf(container: &Container, record: &Record) -> Result<Option<String>> {
    record.network.resolv_conf(&network::definitions(&container.store, &record.network)?)
}

/// Disconnects a container from a network, immediately if it runs. Errors: it is not connected.
pub fn disconnect(container: &Container, network: &str) -> Result<()> {
    let store = &container.store;
    if network == BuiltinNetwork::None.name() {
        return leave_none(container);
    }
    let definition = definition::named(store, network)?;
    let _names = Names::lock(store)?;
    let before = current(container)?;
    let mut record = before.clone();
    let request = &mut record.network;
    request.attachments.retain(|one| one.network != definition.name.as_str());
    if request.attachments.len() == before.network.attachments.len() {
        let (container, network) = (&before.name, &definition.name);
        fail!(Conflict: "container {container} is not connected to network {network}");
    }
    if request.attachments.is_empty() && request.has_own_uplink {
        request.mode = Mode::Helper;
        request.has_own_uplink = false;
    }
    let change = || {
        let request = &record.network;
        let has_uplink = request.has_uplink(&network::definitions(store, request)?);
        Ok(NetworkChange {
            kind: NetworkChangeKind::Disconnect(definition.id.clone()),
            uplink: if has_uplink { UplinkChange::Keep } else { UplinkChange::End },
            resolv_conf: resolv_conf(container, &record)?,
        })
    };
    apply(container, &before, &record, change)?;
    events::of_networks(store, &record.id, "disconnect", std::iter::once(&definition));
    Ok(())
}

/// Disconnects a container from docker's network `none`, so that it can be connected to others. Errors: it has a
/// network.
fn leave_none(container: &Container) -> Result<()> {
    let _names = Names::lock(&container.store)?;
    let mut record = current(container)?;
    if record.network.mode != Mode::None {
        fail!(Conflict: "container {} is not connected to network none", record.name);
    }
    record.network.mode = Mode::Named;
    change_record(container, &record)
}

/// Reconnects the networks of a running container. Errors: it does not run.
pub fn reload(container: &Container) -> Result<()> {
    match container.status_here()? {
        Status::Running(_) => {
            let change = NetworkChange {
                kind: NetworkChangeKind::Reload,
                uplink: UplinkChange::Keep,
                resolv_conf: resolv_conf(container, &container.record)?,
            };
            request_change(container, &change)
        }
        status => Err(crate::container::not_running(container, &status, "start")),
    }
}

/// Replaces the record, then lets the monitor of a running container apply the change. Errors: the monitor fails; the
/// old record is then restored.
fn apply(
    container: &Container,
    before: &Record,
    record: &Record,
    change: impl FnOnce() -> Result<NetworkChange>,
) -> Result<()> {
    let is_running = container.status_here()?.is_running();
    let change = is_running.then(change).transpose()?;
    change_record(container, record)?;
    let Some(change) = change else { return Ok(()) };
    request_change(container, &change).inspect_err(|_| {
        if let Err(error) = change_record(container, before) {
            log::warn!("{error}");
        }
    })
}

/// Replaces the record of a container. That of a disposable one is in the runtime folder.
fn change_record(container: &Container, record: &Record) -> Result<()> {
    match container.is_in_store() {
        true => record::change(&container.store, &container.folder, record),
        false => record::write(&container.folder, CONTAINER, record),
    }
}

/// Sends a change to the monitor, and waits for its result.
fn request_change(container: &Container, change: &NetworkChange) -> Result<()> {
    let status = container.status_here()?;
    let Status::Running(state) = &status else { return Ok(()) };
    let socket = attach::connect(container, state)?;
    let json = serde_json::to_vec(change).map_err(Error::new)?;
    let cannot = || format!("cannot ask the monitor of container {}", container.record.name);
    protocol::send(&socket, &Request::Networks(&json).bytes()).context(cannot)?;
    let deadline = Instant::now() + PATIENCE;
    let mut room = vec![0; protocol::ROOM];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let limit = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&limit)) {
            Err(rustix::io::Errno::INTR) => continue,
            Ok(0) => fail!("the monitor of container {} does not answer", container.record.name),
            answer => answer.context(cannot)?,
        };
        let (length, _) =
            rustix::net::recv(&socket, &mut room[..], RecvFlags::DONTWAIT).context(cannot)?;
        match MonitorMessage::parse(&room[..length]) {
            Some(MonitorMessage::Changed(json)) => {
                return serde_json::from_slice::<Result<()>>(json).map_err(Error::new)?;
            }
            // The command has just ended: the next start uses the new record.
            Some(MonitorMessage::Ended(_)) => return Ok(()),
            Some(_) => {}
            None => fail!("the monitor of container {} has ended", container.record.name),
        }
    }
}
