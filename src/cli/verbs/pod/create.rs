//! `usnea pod create`: makes a pod.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use crate::cli::flags::lifecycle::labels_of;
use crate::cli::output::print_line;
use crate::container::Usnea;
use crate::container::pods::{self, CreatePod, PodNetwork};
use crate::error::{Error, Result};
use crate::host_entry::HostEntry;
use crate::monitor::pod::SharedKind;
use crate::monitor::policy::RestartPolicy;
use crate::network_attachment::{MacAddress, checked_host_name};
use crate::spec::{
    ContainerName, DnsServer, Hostname, NetworkMode, PublishValue, Size, VolumeFlag,
};

/// Create a pod
///
/// Containers of a pod share their network, their IPC namespace with /dev/shm, and their host name: they reach each
/// other at localhost. 'usnea run --pod' creates a container in a pod. The pod has no process of its own: the shared
/// namespaces exist as long as one of its containers runs. Prints the pod's ID.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct Arguments {
    /// Name of the pod. Default: a random one.
    #[arg(value_name = "NAME")]
    positional: Option<ContainerName>,

    /// Name of the pod.
    #[arg(short, long, value_name = "NAME", conflicts_with = "positional")]
    name: Option<ContainerName>,

    /// Set a label.
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,

    /// Read labels from a file, one per line.
    #[arg(long, value_name = "FILE")]
    label_file: Vec<PathBuf>,

    /// Namespaces that the containers share: ipc, net, pid, uts, or none; with a leading +, in addition to the default.
    /// In a shared PID namespace, all containers end with the one that was started first. Default: ipc,net,uts.
    #[arg(long, value_name = "[+]NAMESPACE,...")]
    share: Option<String>,

    /// Host name of the containers. Default: the name of the pod.
    #[arg(short = 'h', long, value_name = "NAME")]
    hostname: Option<Hostname>,

    /// Network of the containers, as for 'usnea run', except container:NAME.
    #[arg(long, visible_alias = "net", value_name = "NETWORK", value_parser = NetworkMode::of_flag)]
    network: Vec<NetworkMode>,

    /// Additional name of the pod on its named networks.
    #[arg(long, visible_alias = "net-alias", value_name = "NAME", value_parser = checked_host_name, value_delimiter = ',')]
    network_alias: Vec<String>,

    /// IPv4 address on the named network.
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<Ipv4Addr>,

    /// IPv6 address on the named network.
    #[arg(long, value_name = "ADDRESS")]
    ip6: Option<Ipv6Addr>,

    /// Hardware address on the named network.
    #[arg(long, value_name = "ADDRESS")]
    mac_address: Option<MacAddress>,

    /// Publish a port or a range of ports of the pod on the host, as for 'usnea run'.
    #[arg(short, long, value_name = "[[ADDRESS:]HOST:]PORT[/tcp|udp]")]
    publish: Vec<PublishValue>,

    /// DNS server; none: keep the images' /etc/resolv.conf. Default: those of the host, through the network helper.
    #[arg(long, value_name = "ADDRESS|none", value_delimiter = ',')]
    dns: Vec<DnsServer>,

    /// DNS search domain; a single dot: no search domain. Default: those of the host.
    #[arg(long, value_name = "DOMAIN", value_delimiter = ',')]
    dns_search: Vec<String>,

    /// DNS option of resolv.conf(5). Default: those of the host.
    #[arg(long, visible_alias = "dns-opt", value_name = "OPTION", value_delimiter = ',')]
    dns_option: Vec<String>,

    /// Add a line to /etc/hosts; host-gateway stands for the host's address.
    #[arg(long, value_name = "NAME:ADDRESS|host-gateway", value_delimiter = ',')]
    add_host: Vec<HostEntry>,

    /// Keep the /etc/hosts of the images.
    #[arg(long, conflicts_with = "add_host")]
    no_hosts: bool,

    /// User namespace mode of all containers, as for 'usnea run'.
    #[arg(long, value_name = "MODE")]
    userns: Option<String>,

    /// Mount a file or directory of the host, or a volume, in all containers, as for 'usnea run'.
    #[arg(short, long, value_name = "[HOST|NAME:]CONTAINER[:OPTIONS]")]
    volume: Vec<VolumeFlag>,

    /// Size of the shared /dev/shm, such as 64m or 1g. Default, and 0: 64m.
    #[arg(long, value_name = "BYTES")]
    shm_size: Option<Size>,

    /// Restart policy of containers that have none of their own: no, on-failure[:N], always, unless-stopped.
    #[arg(long, value_name = "POLICY")]
    restart: Option<RestartPolicy>,

    /// Policy for the end of the last container: stop. podman's continue is refused: no process would hold the shared
    /// namespaces and the published ports. The next start of a container makes them anew.
    #[arg(long, value_name = "stop", default_value = "stop", value_parser = exit_policy)]
    exit_policy: ExitPolicy,

    /// Parent cgroup of the containers that have none of their own, as for 'usnea run'. Limits of a systemd slice are
    /// those of the whole pod.
    #[arg(long, value_name = "SLICE|CGROUP")]
    cgroup_parent: Option<PathBuf>,

    /// Accepted for compatibility with podman: a pod has no infra container.
    #[arg(long)]
    infra: bool,

    /// Replace a pod of the same name, with its containers.
    #[arg(long)]
    replace: bool,

    /// Write the pod's ID to this file.
    #[arg(long, value_name = "FILE")]
    pod_id_file: Option<PathBuf>,

    /// Print help.
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
}

/// Value of `--exit-policy`: the end of the last container is the end of the namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ExitPolicy;

fn exit_policy(text: &str) -> std::result::Result<ExitPolicy, String> {
    match text {
        "stop" => Ok(ExitPolicy),
        "continue" => {
            Err("a pod has no process of its own, which would hold its namespaces and ports when \
                 its last container has ended; use stop: the next start of a container makes them anew"
                .to_owned())
        }
        _ => Err("no such policy: the one policy is stop".to_owned()),
    }
}

/// Namespaces that are shared without a flag.
const DEFAULT_SHARES: [SharedKind; 3] = [SharedKind::Ipc, SharedKind::Net, SharedKind::Uts];

/// Makes the pod, and prints its ID.
pub fn run(arguments: Arguments, usnea: &Usnea) -> Result<u8> {
    let ExitPolicy = arguments.exit_policy;
    let shares = match arguments.share.as_deref() {
        None => DEFAULT_SHARES.to_vec(),
        Some(text) => shares(text)?,
    };
    let request = CreatePod {
        name: arguments.name.or(arguments.positional),
        labels: labels_of(&arguments.label_file, &arguments.label)?,
        shares,
        network: PodNetwork {
            network: arguments.network.into_iter().filter(NetworkMode::is_asked).collect(),
            network_alias: arguments.network_alias,
            ip: arguments.ip,
            ip6: arguments.ip6,
            mac_address: arguments.mac_address,
            publish: arguments.publish,
            dns: arguments.dns,
            dns_search: arguments.dns_search,
            dns_option: arguments.dns_option,
            add_host: arguments.add_host,
            no_hosts: arguments.no_hosts,
            hostname: arguments.hostname,
            shm_size: arguments.shm_size,
            ..PodNetwork::default()
        },
        restart: arguments.restart.unwrap_or_default(),
        volumes: arguments.volume,
        userns: arguments.userns,
        cgroup_parent: arguments.cgroup_parent,
        replace: arguments.replace,
        id_file: arguments.pod_id_file,
        create_command: std::env::args_os()
            .map(|word| word.to_string_lossy().into_owned())
            .collect(),
    };
    print_line(&pods::create(usnea, &request)?.record.id);
    Ok(0)
}

/// Reads a list of kinds of namespaces. Errors: an unknown kind.
fn shares(text: &str) -> Result<Vec<SharedKind>> {
    let mut shares = Vec::new();
    for word in text.split(',').filter(|word| !word.is_empty()) {
        let kind = word.strip_prefix('+');
        if kind.is_some() {
            shares.extend(DEFAULT_SHARES);
        }
        let kind = kind.unwrap_or(word);
        match SharedKind::ALL.into_iter().find(|one| one.word() == kind) {
            Some(kind) => shares.push(kind),
            None if kind == "none" => {}
            None => {
                let kind = kind.escape_debug();
                return Err(Error::invalid(format!("--share {kind}: no namespace to share"))
                    .hint("ipc, net, pid, uts, or none"));
            }
        }
    }
    Ok(shares)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plus_adds_to_the_default_namespaces() {
        use SharedKind::{Ipc, Net, Pid, Uts};
        assert_eq!(shares("none").unwrap(), []);
        assert_eq!(shares("").unwrap(), []);
        assert_eq!(shares("net,uts").unwrap(), [Net, Uts]);
        assert_eq!(shares("+pid").unwrap(), [Ipc, Net, Uts, Pid]);
        assert!(shares("cgroup").is_err() && shares("net,nope").is_err());
    }
}
