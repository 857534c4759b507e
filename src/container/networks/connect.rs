//! `usnea network connect`, `disconnect`, `reload`: networks of a container that exists. The record is changed first; the
//! monitor of a running container then makes or removes the interface.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::RecvFlags;

use crate::container::network::{self, ContainerIdentity};
use crate::container::rename::current;
use crate::container::{Container, Names, attach};
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::hint;
use crate::monitor::Status;
use crate::monitor::events;
use crate::monitor::protocol::{self, MonitorMessage, NetworkChange, Request};
use crate::monitor::record::{self, Record};
use crate::net::{JoinPlan, MemberIdentity, Mode, definition};
use crate::network_attachment::NetworkAttachment;

/// Time limit for the answer of a monitor.
const PATIENCE: Duration = Duration::from_secs(30);

/// Connects a container to a network, at once if it runs. Errors: it is connected already; its network is the host's or
/// another container's, or it was made without one; an asked address is taken.
pub fn connect(container: &Container, mut attachment: NetworkAttachment) -> Result<()> {
    container.refuse_foreground("network can be connected to it")?;
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
            request.has_own_exit = true;
        }
        _ => {
            let error = Error::conflict(format!(
                "container {name} has network {}: no other can be connected to it",
                request.word()
            ));
            return Err(error.hint(hint::NEW_NETWORK));
        }
    }
    request.attachments.push(attachment);
    let change = || {
        let (plan, identity) = join_plan(container, &record, &definition.id)?;
        Ok(NetworkChange::Connect(Box::new(plan), Box::new(identity)))
    };
    apply(container, &before, &record, change)?;
    events::of_networks(store, &record.id, "connect", std::iter::once(&definition));
    Ok(())
}

/// Plans to join the network with this ID, one of the record's.
fn join_plan(
    container: &Container,
    record: &Record,
    id: &str,
) -> Result<(JoinPlan, MemberIdentity)> {
    let spec = container.spec()?;
    let identity = ContainerIdentity { id: &record.id, name: Some(&record.name) };
    let network = network::connected(&record.network, &spec, &container.store, identity)?;
    let plan = network.joins.into_iter().find(|join| join.definition.id == id);
    let gone = || Error::not_found("the network was removed meanwhile");
    Ok((plan.ok_or_else(gone)?, network.identity))
}

/// Disconnects a container from a network, at once if it runs. Errors: it is not connected.
pub fn disconnect(container: &Container, network: &str) -> Result<()> {
    container.refuse_foreground("network can be disconnected from it")?;
    let store = &container.store;
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
    if request.attachments.is_empty() && request.has_own_exit {
        request.mode = Mode::Helper;
        request.has_own_exit = false;
    }
    apply(container, &before, &record, || Ok(NetworkChange::Disconnect(definition.id.clone())))?;
    events::of_networks(store, &record.id, "disconnect", std::iter::once(&definition));
    Ok(())
}

/// Connects the networks of a running container anew. Errors: it does not run.
pub fn reload(container: &Container) -> Result<()> {
    container.refuse_foreground("network can be made anew")?;
    match container.status_here()? {
        Status::Running(_) => ask(container, &NetworkChange::Reload),
        status => Err(crate::container::not_running(container, &status, "start")),
    }
}

/// Replaces the record, and has the monitor of a running container carry the change out. Errors: the monitor fails; the
/// record is then the old one again.
fn apply(
    container: &Container,
    before: &Record,
    record: &Record,
    change: impl FnOnce() -> Result<NetworkChange>,
) -> Result<()> {
    let (store, folder) = (&container.store, &container.folder);
    let is_running = container.status_here()?.is_running();
    let change = is_running.then(change).transpose()?;
    record::change(store, folder, record)?;
    let Some(change) = change else { return Ok(()) };
    ask(container, &change).inspect_err(|_| {
        if let Err(error) = record::change(store, folder, before) {
            log::warn!("{error}");
        }
    })
}

/// Sends a change to the monitor, and waits for its result.
fn ask(container: &Container, change: &NetworkChange) -> Result<()> {
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
            // The command has just ended: at the next start the record counts.
            Some(MonitorMessage::Ended(_)) => return Ok(()),
            Some(_) => {}
            None => fail!("the monitor of container {} has ended", container.record.name),
        }
    }
}
