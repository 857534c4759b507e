//! `run --pod` and `create --pod`: adapts the options of a container to those of its pod.

use super::create::{CreatePod, PodNetwork, create};
use super::known::{Pod, find};
use super::remove::{PodRemoval, remove};
use crate::container::{Lifecycle, Usnea};
use crate::error::{Error, Result, Setting};
use crate::monitor::pod::SharedKind;
use crate::phrase;
use crate::spec::{
    CgroupMode, ContainerName, ContainerOptions, IpcMode, JoinTarget, NamespaceSharing,
    NetworkMode, VolumeFlag,
};

/// Pod of a new container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodChoice {
    /// Existing pod, by name or ID.
    Existing(String),
    /// New pod: podman's `new:NAME`.
    New(ContainerName),
}

impl std::str::FromStr for PodChoice {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text.strip_prefix("new:") {
            Some(name) => name.parse().map(Self::New),
            None => Ok(Self::Existing(text.to_owned())),
        }
    }
}

/// Guard of a pod that was made for a new container. Removes the pod on drop, unless [`NewPod::keep`] was called: its
/// container was not created.
#[must_use]
pub struct NewPod<'a> {
    usnea: &'a Usnea,
    pod: Option<Pod>,
}

impl NewPod<'_> {
    /// Keeps the pod.
    pub fn keep(mut self) {
        self.pod = None;
    }
}

impl Drop for NewPod<'_> {
    fn drop(&mut self) {
        let Some(pod) = self.pod.take() else { return };
        // The container may exist: then the failure came after its creation.
        if !pod.members().is_ok_and(|members| members.is_empty()) {
            return;
        }
        let how = PodRemoval::default();
        if let Err(error) = remove(self.usnea, &pod.record.id, how) {
            log::debug!("{error}");
        }
    }
}

/// Makes a container a member of a pod: changes its options and its lifecycle. Returns the guard of a pod that was made
/// for it. Errors: no such pod; options that only the pod can have.
pub fn join<'a>(
    usnea: &'a Usnea,
    choice: &PodChoice,
    options: &mut ContainerOptions,
    lifecycle: &mut Lifecycle,
) -> Result<NewPod<'a>> {
    let (pod, new) = match choice {
        PodChoice::Existing(text) => (find(usnea, text)?, None),
        PodChoice::New(name) => {
            let request = CreatePod {
                name: Some(name.clone()),
                shares: vec![SharedKind::Ipc, SharedKind::Net, SharedKind::Uts],
                network: take_network(options),
                userns: None,
                create_command: lifecycle.create_command.clone(),
                ..CreatePod::default()
            };
            let pod = create(usnea, &request)?;
            (pod.clone(), Some(pod))
        }
    };
    let new = NewPod { usnea, pod: new };
    refuse(&pod, options)?;
    share(&pod, options);
    if lifecycle.has_default_restart && !options.rm {
        lifecycle.restart = pod.record.restart;
    }
    lifecycle.pod = Some(pod.record.id);
    Ok(new)
}

/// Moves the options of the network from a container to its new pod.
fn take_network(options: &mut ContainerOptions) -> PodNetwork {
    use std::mem::take;
    PodNetwork {
        network: take(&mut options.network),
        ip: options.ip.take(),
        ip6: options.ip6.take(),
        mac_address: options.mac_address.take(),
        network_alias: take(&mut options.network_alias),
        publish: take(&mut options.publish),
        dns: take(&mut options.dns),
        dns_search: take(&mut options.dns_search),
        dns_option: take(&mut options.dns_option),
        add_host: take(&mut options.add_host),
        no_hosts: options.no_hosts,
        hostname: options.hostname.take(),
        ..PodNetwork::default()
    }
}

/// Refuses options that only the pod can have.
fn refuse(pod: &Pod, options: &ContainerOptions) -> Result<()> {
    let shares = |kind| pod.record.shares(kind);
    let of_network = shares(SharedKind::Net);
    let asked = [
        (Setting::Network, of_network && !options.network.is_empty()),
        (Setting::Publish, of_network && !options.publish.is_empty()),
        (Setting::PublishAll, of_network && options.publish_all),
        (Setting::Dns, of_network && options.has_resolver_options()),
        (Setting::AddHost, of_network && !options.add_host.is_empty()),
        (Setting::NetworkAlias, of_network && options.has_address_options()),
        (Setting::Hostname, shares(SharedKind::Uts) && options.hostname.is_some()),
        (Setting::Domainname, shares(SharedKind::Uts) && options.domainname.is_some()),
        (Setting::Uts, shares(SharedKind::Uts) && options.uts != NamespaceSharing::Private),
        (Setting::Ipc, shares(SharedKind::Ipc) && options.ipc_mode() != IpcMode::Private),
        (Setting::ShmSize, shares(SharedKind::Ipc) && options.shm_size.is_some()),
        (
            Setting::Pid,
            shares(SharedKind::Pid) && options.pid_sharing() != NamespaceSharing::Private,
        ),
        (Setting::Userns, options.userns.is_some() || !options.uidmap.is_empty()),
        (Setting::Gidmap, !options.gidmap.is_empty()),
    ];
    let Some((setting, _)) = asked.into_iter().find(|(_, is_asked)| *is_asked) else {
        return Ok(());
    };
    let name = &pod.record.name;
    let text = format!(" {name} exclude each other: it is set when the pod is created");
    Err(Error::invalid(phrase!(setting, " and ", Setting::Pod, text)))
}

fn share(pod: &Pod, options: &mut ContainerOptions) {
    let record = &pod.record;
    let target = || JoinTarget::Pod(record.id.clone());
    for kind in &record.shares {
        match kind {
            SharedKind::Net => options.network = vec![NetworkMode::Joined(target())],
            SharedKind::Ipc => options.ipc = Some(IpcMode::Joined(target())),
            SharedKind::Uts => options.uts = NamespaceSharing::Joined(target()),
            SharedKind::Pid => options.pid = Some(NamespaceSharing::Joined(target())),
        }
    }
    if options.cgroup_parent.is_none() && options.cgroups == CgroupMode::Enabled {
        options.cgroup_parent.clone_from(&record.cgroup_parent);
    }
    if let Some(mode) = &record.userns {
        options.userns = mode.parse().ok();
    }
    let own: Vec<_> = options.volume.iter().map(|volume| volume.destination.clone()).collect();
    let of_pod = record.volumes.iter().filter_map(|text| text.parse().ok());
    let of_pod = of_pod.filter(|volume: &VolumeFlag| !own.contains(&volume.destination));
    options.volume.extend(of_pod);
}
