//! `usnea pod inspect`: the document of a pod, in podman's shape.

use std::collections::BTreeMap;

use super::known::Pod;
use crate::documents::pod::{PodDocument, PodMember, PodNetworkConfig, PodPort};
use crate::error::Result;
use crate::forward::Forward;
use crate::monitor::pod::SharedKind;
use crate::net::Mode;

/// Returns the document of a pod. Errors: the state of a member cannot be read.
pub fn inspect(pod: &Pod) -> Result<PodDocument> {
    let record = &pod.record;
    let mut members = Vec::new();
    for member in pod.members()? {
        members.push(PodMember {
            id: member.record.id.to_string(),
            name: member.record.name.clone(),
            state: member.status()?.word(),
        });
    }
    Ok(PodDocument {
        id: record.id.clone(),
        name: record.name.clone(),
        namespace: String::new(),
        created: record.created.to_string(),
        create_command: record.create_command.clone(),
        exit_policy: "stop",
        state: pod.state()?.word(),
        hostname: match record.shares(SharedKind::Uts) {
            true => record.hostname.clone(),
            false => String::new(),
        },
        labels: record.labels.clone(),
        create_cgroup: false,
        cgroup_parent: record
            .cgroup_parent
            .as_ref()
            .map(|parent| parent.display().to_string())
            .unwrap_or_default(),
        cgroup_path: String::new(),
        create_infra: false,
        infra_container_id: String::new(),
        infra_config: network_config(pod),
        shared_namespaces: record.shares.iter().map(|kind| kind.word()).collect(),
        num_containers: members.len(),
        containers: members,
        mounts: record.volumes.clone(),
        restart_policy: record.restart.to_string(),
        lock_number: 0,
    })
}

fn network_config(pod: &Pod) -> Option<PodNetworkConfig> {
    let record = &pod.record;
    if !record.has_network() {
        return None;
    }
    let network = &record.network;
    let mut ports: BTreeMap<String, Vec<PodPort>> = BTreeMap::new();
    for forward in &network.forwards {
        let host_ip = forward.host.map(|host| host.to_string()).unwrap_or_default();
        let port = PodPort { host_ip, host_port: forward.host_port.to_string() };
        ports.entry(Forward::container_end(forward)).or_default().push(port);
    }
    let resolver = network.resolver.clone().unwrap_or_default();
    let first = network.attachments.first();
    let ip = first.and_then(|first| first.ip);
    let mac = first.and_then(|first| first.mac);
    Some(PodNetworkConfig {
        port_bindings: ports,
        host_network: network.mode == Mode::Host,
        static_ip: ip.map(|ip| ip.to_string()).unwrap_or_default(),
        static_mac: mac.map(|mac| mac.to_string()).unwrap_or_default(),
        no_manage_resolv_conf: network.resolver.is_none(),
        dns_server: resolver.servers.iter().map(ToString::to_string).collect(),
        dns_search: resolver.search,
        dns_option: resolver.options,
        no_manage_hosts: network.hosts.is_none(),
        host_add: network.hosts.iter().flatten().map(ToString::to_string).collect(),
        networks: network.names().into_iter().map(str::to_owned).collect(),
        network_options: None,
        userns: record.userns.clone().unwrap_or_else(|| "host".to_owned()),
    })
}
