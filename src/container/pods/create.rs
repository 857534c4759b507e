//! `usnea pod create`: makes a folder with the pod's record in `tmp/`, and moves it to its place by a rename.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::known::{Pod, find};
use super::remove::{PodRemoval, remove};
use crate::cgroup::{self, CgroupLimits, ParentSource};
use crate::config;
use crate::container::names::{NamedKind, Names};
use crate::container::{Usnea, folder, network};
use crate::error::{Context, Error, ErrorKind, Result, Setting};
use crate::files::NewFolder;
use crate::ids::UsernsMode;
use crate::monitor::pod::{self, POD, PodRecord, SharedKind};
use crate::monitor::policy::RestartPolicy;
use crate::monitor::record;
use crate::net::NetworkRequest;
use crate::object_id::random_id;
use crate::spec::{ContainerName, ContainerOptions, ImageDefaults, VolumeFlag};

/// Settings of a new pod.
#[derive(Clone, Debug, Default)]
pub struct CreatePod {
    /// Name; `None`: a random one.
    pub name: Option<ContainerName>,
    /// Labels of the pod.
    pub labels: BTreeMap<String, String>,
    /// Namespaces that the members share.
    pub shares: Vec<SharedKind>,
    /// Network, host name and size of `/dev/shm` of the members.
    pub network: PodNetwork,
    /// Restart policy of members that have none of their own.
    pub restart: RestartPolicy,
    /// Volumes of all members.
    pub volumes: Vec<VolumeFlag>,
    /// Mode of the members' user namespaces, as typed.
    pub userns: Option<String>,
    /// Parent cgroup of members that have none of their own.
    pub cgroup_parent: Option<PathBuf>,
    /// True if a pod of the same name is replaced.
    pub replace: bool,
    /// File for the pod's ID.
    pub id_file: Option<PathBuf>,
    /// Command line that creates the pod.
    pub create_command: Vec<String>,
}

/// Container options that a pod has instead of its members: network, ports, name servers, host name, size of
/// `/dev/shm`.
pub type PodNetwork = ContainerOptions;

/// Makes a pod. Errors: a taken name; options that contradict each other, or that need a namespace that is not shared.
pub fn create(usnea: &Usnea, request: &CreatePod) -> Result<Pod> {
    let store = usnea.make_store()?;
    config::open_private(&pod::pods(store))?;
    if let Some(path) = request.id_file.as_ref().filter(|path| path.exists()) {
        return Err(Error::conflict(format!("{} is there already", path.display()))
            .hint("remove the file if that pod is no longer in use"))
        .context(|| Setting::PodIdFile);
    }
    if let Some(mode) = &request.userns {
        let parsed = mode.parse::<UsernsMode>();
        parsed.map_err(Error::invalid).context(|| Setting::Userns.with(mode))?;
    }
    if let Some(parent) = &request.cgroup_parent {
        // The members' groups are made at their starts: only the parent is looked at.
        cgroup::find(&parent.join("pod"), CgroupLimits::default(), ParentSource::Setting)?;
    }
    let (network, held) = network_of(usnea, request)?;
    replaced(usnea, request)?;
    let mut record = PodRecord {
        id: random_id()?,
        name: String::new(),
        created: Timestamp::now(),
        hostname: String::new(),
        labels: request.labels.clone(),
        shares: SharedKind::ALL.into_iter().filter(|kind| request.shares.contains(kind)).collect(),
        network,
        restart: request.restart,
        volumes: request.volumes.iter().map(|volume| volume.text.clone()).collect(),
        userns: request.userns.clone(),
        cgroup_parent: request.cgroup_parent.clone(),
        shm_size: request.network.shm_size.map(|size| size.bytes()).filter(|bytes| *bytes > 0),
        create_command: request.create_command.clone(),
    };
    let born = NewFolder::folder(&store.join("tmp"), folder::PREFIX)?;
    let names = Names::lock(store)?;
    match &request.name {
        Some(name) => {
            names.assign_to(NamedKind::Pod, name.as_str(), &record.id)?;
            record.name = name.to_string();
        }
        None => record.name = names.assign_random_to(NamedKind::Pod, &record.id)?,
    }
    let asked = request.network.hostname.as_ref().map(|name| name.as_str().to_owned());
    // podman's rule: the host name is the name of the pod, even one with an underscore.
    record.hostname = asked.unwrap_or_else(|| record.name.clone());
    let put = record::write(&born.path, POD, &record)
        .and_then(|()| born.put(&pod::folder(store, &record.id)));
    put.inspect_err(|_| names.release(&record.name, &record.id))?;
    drop((names, held));
    let made = Pod { store: store.to_owned(), record };
    made.log_event("create");
    if let Some(path) = &request.id_file {
        write_id(usnea, &made, path)?;
    }
    Ok(made)
}

/// Writes the pod's ID into the file `path`. Errors: the file cannot be written; the pod is removed again.
fn write_id(usnea: &Usnea, made: &Pod, path: &Path) -> Result<()> {
    std::fs::write(path, &made.record.id)
        .context(|| format!("cannot write {}", path.display()))
        .context(|| Setting::PodIdFile)
        .inspect_err(|_| {
            let _ = remove(usnea, &made.record.id, PodRemoval { force: true, time: None });
        })
}

/// Removes an existing pod with the requested name, with `--replace`.
fn replaced(usnea: &Usnea, request: &CreatePod) -> Result<()> {
    let Some(name) = request.name.as_ref().filter(|_| request.replace) else { return Ok(()) };
    match find(usnea, name.as_str()) {
        Ok(other) => remove(usnea, &other.record.id, PodRemoval { force: true, time: None }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Returns the network request of the pod's members, and the locks on its named networks.
fn network_of(
    usnea: &Usnea,
    request: &CreatePod,
) -> Result<(NetworkRequest, network::HeldNetworks)> {
    let mut options = request.network.clone();
    if !request.shares.contains(&SharedKind::Net) {
        refuse_without_network(&options)?;
        return Ok((NetworkRequest::default(), network::HeldNetworks::default()));
    }
    if matches!(options.network(), crate::spec::NetworkMode::Joined(_)) {
        return Err(Error::invalid("a pod has a network of its own, or the host's"))
            .context(|| Setting::Network);
    }
    network::set_default(&mut options, usnea)?;
    let mut network = network::wanted(&options, &ImageDefaults::default())?;
    let held = network::hold_networks(usnea.store()?, &mut network)?;
    Ok((network, held))
}

/// Refuses settings of a network that the members do not share.
fn refuse_without_network(options: &ContainerOptions) -> Result<()> {
    let asked = [
        (Setting::Network, !options.network.is_empty()),
        (Setting::Publish, !options.publish.is_empty()),
        (Setting::Dns, options.has_resolver_options()),
        (Setting::AddHost, !options.add_host.is_empty()),
        (Setting::NetworkAlias, options.has_address_options()),
    ];
    match asked.into_iter().find(|(_, is_asked)| *is_asked) {
        Some((setting, _)) => {
            Err(Error::invalid("the members do not share a network namespace").within(setting))
        }
        None => Ok(()),
    }
}
