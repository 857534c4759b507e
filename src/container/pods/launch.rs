//! Start of a member: the first one makes the namespaces of the pod, the others join those of a running member.

use std::path::Path;

use oci_spec::runtime::{LinuxNamespaceType, Spec};

use super::host_names;
use super::known::{Pod, members};
use crate::container::network::{self, ContainerIdentity};
use crate::container::shared_namespaces::{self, OtherContainers};
use crate::container::{Container, ports};
use crate::engine::{LaunchOptions, Plan};
use crate::error::{Context, Error, Result};
use crate::files::{self, Lock};
use crate::host::process_id::ProcessId;
use crate::monitor::PodJob;
use crate::monitor::pod::{self, PodRecord, PodUplink, START_LOCK, SharedKind, UplinkFile};
use crate::monitor::record::Record;
use crate::net::{Mode, Network, NetworkRequest};
use crate::object_id::short;
use crate::spec::JoinTarget;
use crate::userns::Base;

/// Largest number of members that may end, one after the other, while their namespaces are being joined.
pub(in crate::container) const TRIES: u32 = 20;

/// Plans the launch of a member with the current namespaces of its pod. Returns the lock that delays other starts in
/// the pod, too. Errors: the pod was removed; a published port is in use; those of `shared_namespaces::plan`.
pub(in crate::container) fn plan(
    container: &Container,
    id: &str,
    spec: &Spec,
    base: &Base,
    options: &LaunchOptions,
) -> Result<(Plan, PodJob)> {
    let store = &container.store;
    let gone = || Error::not_found(format!("its pod {} is gone", short(id)));
    let pod = Pod::open(store, id)?.ok_or_else(gone)?.record;
    let folder = pod::folder(store, id);
    let start = files::lock_file(&folder.join(START_LOCK), Lock::Exclusive)?;
    let mut tries = 0;
    loop {
        let running = running_member(container, id)?;
        let other = running.as_ref().map(|(member, _)| member);
        let member = Member { container, pod: &pod, running: other };
        match member.plan(spec, base, options.clone()) {
            Ok((plan, uplink)) => {
                let file = UplinkFile::of(&folder);
                let names = names(&container.record);
                let joined = running.map(|(_, process)| process);
                return Ok((plan, PodJob { start, file, uplink, joined, names }));
            }
            // If the running member has ended meanwhile, tries again with another one, or with new namespaces.
            Err(error) => {
                let has_ended = running.is_some_and(|(_, process)| !process.lives());
                tries += 1;
                if !has_ended || tries > TRIES {
                    return Err(error);
                }
            }
        }
    }
}

/// Returns a member that runs on this machine, and its first process. Errors: one runs on another machine.
fn running_member(container: &Container, id: &str) -> Result<Option<(Container, ProcessId)>> {
    for member in members(&container.store, id)? {
        if member.record.id == container.record.id {
            continue;
        }
        let status = member.status_here().context(|| format!("pod {}", short(id)))?;
        let process = status.state().filter(|_| status.is_running()).map(|state| state.process);
        if let Some(process) = process.filter(ProcessId::lives) {
            return Ok(Some((member, process)));
        }
    }
    Ok(None)
}

/// Returns the names of a member on the named networks of its pod: docker's order.
pub(super) fn names(record: &Record) -> Vec<String> {
    vec![record.name.clone(), short(&record.id).to_owned()]
}

/// Member that is being started.
struct Member<'a> {
    container: &'a Container,
    pod: &'a PodRecord,
    /// Member whose namespaces are joined; `None`: this one makes them.
    running: Option<&'a Container>,
}

impl Member<'_> {
    fn plan(
        &self,
        spec: &Spec,
        base: &Base,
        mut options: LaunchOptions,
    ) -> Result<(Plan, Option<PodUplink>)> {
        let mut spec = spec.clone();
        match self.running {
            Some(running) => join(&mut spec, &self.pod.id, &running.record.id),
            None => make(&mut spec, self.pod)?,
        }
        let store = &self.container.store;
        let record = &self.container.record;
        let own = ContainerIdentity { id: &record.id, name: Some(&record.name) };
        let mut uplink = None;
        options.network = match (self.pod.has_network(), self.running) {
            (false, _) => {
                ports::check_ports_free(store, &record.network)?;
                connected(&record.network, &spec, store, own)?
            }
            (true, None) => {
                ports::check_ports_free(store, &self.pod.network)?;
                let network = self.network(&spec)?;
                uplink = Some(PodUplink::of(&network));
                network
            }
            (true, Some(_)) => {
                // A member can start in the existing namespace even if this machine no longer has a network helper.
                let of_pod = self.network(&spec).unwrap_or_else(|error| {
                    log::debug!("{error}");
                    Network::default()
                });
                uplink = Some(PodUplink::of(&of_pod));
                let joined = NetworkRequest {
                    mode: Mode::Joined,
                    attachments: Vec::new(),
                    forwards: Vec::new(),
                    ..self.request()
                };
                connected(&joined, &spec, store, own)?
            }
        };
        host_names::add_all(&mut options.network, self.pod, store)?;
        let others = OtherContainers::MustRun;
        let plan = shared_namespaces::plan(store, &spec, base.clone(), options, others)?;
        Ok((plan, uplink))
    }

    /// Returns the network request of the pod, with the member's own settings for /etc/hosts and /etc/hostname.
    fn request(&self) -> NetworkRequest {
        let own = &self.container.record.network;
        NetworkRequest {
            spares_root: own.spares_root,
            names_host: own.names_host,
            ..self.pod.network.clone()
        }
    }

    fn network(&self, spec: &Spec) -> Result<Network> {
        let identity = ContainerIdentity { id: &self.pod.id, name: Some(&self.pod.name) };
        let store = &self.container.store;
        let mut network = connected(&self.request(), spec, store, identity)?;
        network.identity.hostname.clone_from(&self.pod.hostname);
        Ok(network)
    }
}

fn connected(
    request: &NetworkRequest,
    spec: &Spec,
    store: &Path,
    identity: ContainerIdentity<'_>,
) -> Result<Network> {
    let definitions = network::definitions(store, request)?;
    network::connected(request, definitions, spec, store, identity)
}

/// Replaces `pod:ID` in the spec by the container `running`.
fn join(spec: &mut Spec, pod: &str, running: &str) {
    let target = JoinTarget::Container(running.to_owned()).path();
    shared_namespaces::replace_pod(spec, pod, Some(&target));
}

/// Replaces `pod:ID` in the spec by new namespaces, with the host name and the shared memory of the pod.
fn make(spec: &mut Spec, pod: &PodRecord) -> Result<()> {
    shared_namespaces::replace_pod(spec, &pod.id, None);
    if pod.shares(SharedKind::Uts) {
        spec.set_hostname(Some(pod.hostname.clone()));
    }
    if pod.shares(SharedKind::Ipc) {
        shared_namespaces::make_shared_memory(spec, pod.shm_size)?;
    }
    Ok(())
}

/// Replaces `pod:ID` in the spec by new namespaces, for a plan that is only checked or explained. Returns false if the
/// spec has no pod.
pub(in crate::container) fn stopped(store: &Path, spec: &mut Spec) -> Result<bool> {
    let kinds = [
        LinuxNamespaceType::Network,
        LinuxNamespaceType::Ipc,
        LinuxNamespaceType::Uts,
        LinuxNamespaceType::Pid,
    ];
    let mut targets = kinds.into_iter().filter_map(|kind| shared_namespaces::joined(spec, kind));
    let id = targets.find_map(|target| match target {
        JoinTarget::Pod(id) => Some(id),
        _ => None,
    });
    let Some(id) = id else { return Ok(false) };
    let gone = || Error::not_found(format!("pod {} is gone", short(&id)));
    make(spec, &pod::open(store, &id)?.ok_or_else(gone)?)?;
    Ok(true)
}
