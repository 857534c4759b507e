//! Flags of `usnea run` and `usnea spec`: docker's and podman's names and meanings. The comments are the help text.
//! Values are well-formed after parsing; `build` checks whether they can be fulfilled.
//!
//! The derive of clap stands here and not in `cli`. A second struct there would repeat a hundred fields with their
//! comments and value names. The scenarios of the tests below begin with parsed flags.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use super::{
    CgroupMode, ContainerName, DeviceFlag, DnsServer, Entrypoint, EnvChange, ExposedPorts,
    GpusFlag, GroupAdd, HelperFlag, Hostname, HostsBase, ImageVolumes, IpcMode, MountFlag,
    NamespaceSharing, NetworkMode, OverlayFlag, PersonalityFlag, PublishValue, PublishedPorts,
    Resources, RootEmulation, SecretFlag, SecurityOption, Size, StorageDriver, Sysctl, SystemdMode,
    TmpfsMount, Ulimit, UserFlag, VolumeFlag, VolumeSource, VolumesFrom,
};
use crate::capability::CapabilityChange;
use crate::host_entry::HostEntry;
use crate::ids::{AskedMap, UsernsMode};
use crate::network_attachment::{MacAddress, checked_host_name};

/// Options of a container. As with docker, a flag with a single value may be repeated and the last value counts; other
/// flags append.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(args_override_self = true)]
pub struct ContainerOptions {
    /// Keep standard input open.
    #[arg(short, long)]
    pub interactive: bool,

    /// Allocate a pseudo-terminal.
    #[arg(short, long)]
    pub tty: bool,

    /// Remove the container when it exits.
    #[arg(long)]
    pub rm: bool,

    /// Name of the container.
    #[arg(long, value_name = "NAME")]
    pub name: Option<ContainerName>,

    /// Host name of the container. Default: the first 12 digits of its ID; on the host's network, the host's name.
    #[arg(short = 'h', long, value_name = "NAME")]
    pub hostname: Option<Hostname>,

    /// NIS domain name of the container; also used as the domain of its host name in /etc/hosts.
    #[arg(long, value_name = "NAME")]
    pub domainname: Option<Hostname>,

    /// Override the entrypoint of the image; an empty value clears it. A JSON array is accepted too, as with podman.
    #[arg(long, value_name = "PROGRAM")]
    pub entrypoint: Option<Entrypoint>,

    /// Set an environment variable. NAME alone passes the host's value; a pattern without `=`, such as 'SLURM_*', passes
    /// all variables of the host whose names match it (glob(7)).
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub env: Vec<EnvChange>,

    /// Read environment variables from a file: NAME=VALUE or NAME on each line; # starts a comment.
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,

    /// Pass all environment variables of the host; those of the image take precedence.
    #[arg(long)]
    pub env_host: bool,

    /// Set an environment variable from previous values, which replace $NAME and ${NAME}: PATH=${PATH}:/opt/bin.
    #[arg(long, value_name = "NAME=VALUE")]
    pub env_merge: Vec<EnvChange>,

    /// Unset an environment variable of the image.
    #[arg(long, value_name = "NAME")]
    pub unsetenv: Vec<String>,

    /// Unset all environment variables of the image and the default ones. Without PATH, the command must be a path.
    #[arg(long)]
    pub unsetenv_all: bool,

    /// Pass the host's http_proxy, https_proxy, ftp_proxy and no_proxy, in lower and upper case.
    #[arg(long)]
    pub http_proxy: bool,

    /// umask of the command, in octal. Default: 0022.
    #[arg(long, value_name = "MASK", value_parser = super::umask::parse_umask)]
    pub umask: Option<u32>,

    /// Time zone: a name of the host's time zone database, such as Europe/Vienna, or local for the host's time zone.
    #[arg(long, value_name = "ZONE")]
    pub tz: Option<String>,

    /// Working directory inside the container.
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,

    /// Run as this user and group, by name (in the image's /etc/passwd and /etc/group) or ID.
    #[arg(short, long, value_name = "NAME|UID[:GROUP|GID]")]
    pub user: Option<UserFlag>,

    /// Bind mount a file or directory of the host, or mount a named volume. A volume is created at its first use, with
    /// the image's files at that path (nocopy: empty). CONTAINER alone: an anonymous volume, which is removed with the
    /// container. Options: ro, rw, O (changes go to a disposable layer), U (change the owner of all files to the
    /// container's user first, on the host too), idmap[=uids=[@]FILES-SHOWN-COUNT[#...];gids=...] (ID-mapped mount,
    /// only for root of the host: files are shown with the container's IDs, or with those IDs of the host, or after @
    /// of the container), bind, rbind, private, rprivate, slave, rslave, shared, rshared, nosuid, nodev, noexec, suid,
    /// dev, exec. With squashfs, HOST is a squashfs image, mounted read-only; then also offset=BYTES (start of the image
    /// in its file) and noexec. z, Z, cached, delegated and consistent are accepted without effect: usnea does not relabel files for
    /// SELinux, and the others have no meaning on Linux.
    #[arg(short, long, value_name = "[HOST|NAME:]CONTAINER[:OPTIONS]")]
    pub volume: Vec<VolumeFlag>,

    /// Mount a file system: type=bind,source=HOST,target=CONTAINER[,readonly][,bind-propagation=...]
    /// [,bind-nonrecursive][,bind-create-src][,relabel=shared|private][,U][,idmap[=...]],
    /// type=volume[,source=NAME],target=CONTAINER[,readonly][,volume-nocopy][,volume-subpath=PATH][,U][,idmap[=...]],
    /// type=tmpfs,target=CONTAINER[,tmpfs-size=BYTES][,tmpfs-mode=OCTAL], type=glob,source=PATTERN[,target=CONTAINER]
    /// (a bind mount of each file that matches, in the folder CONTAINER or at its own path),
    /// type=squashfs,source=FILE,target=CONTAINER[,offset=BYTES] (a squashfs image, read-only),
    /// type=ramfs,target=CONTAINER[,tmpfs-mode=OCTAL] (memory without a size limit) or
    /// type=devpts,target=CONTAINER[,uid=UID][,gid=GID][,mode=OCTAL][,max=NUMBER].
    #[arg(long, value_name = "KEY=VALUE,...")]
    pub mount: Vec<MountFlag>,

    /// Mount the volumes and bind mounts of another container, at the same paths. Options: ro, rw (default: as in that
    /// container). Mounts of --volume, --mount and --tmpfs at the same path take precedence.
    #[arg(long, value_name = "CONTAINER[:OPTIONS]")]
    pub volumes_from: Vec<VolumesFrom>,

    /// Mount the volumes of the image as anonymous volumes (anonymous, also called bind), as an empty tmpfs each, or
    /// not at all (ignore).
    #[arg(long, value_enum, value_name = "MODE", default_value = "anonymous")]
    pub image_volume: ImageVolumes,

    /// Mount a tmpfs. Options: size, mode, uid, gid, nr_inodes, rw, ro, exec, noexec, suid, nosuid, dev, nodev.
    /// Default: rw,noexec,nosuid,nodev,mode=1777.
    #[arg(long, value_name = "CONTAINER[:OPTIONS]")]
    pub tmpfs: Vec<TmpfsMount>,

    /// Mount the container's root file system read-only.
    #[arg(long)]
    pub read_only: bool,

    /// Write to the root directory itself, without a writable layer over it.
    #[arg(long)]
    pub rw_root: bool,

    /// Put your own layer above the image, as apptainer does. A folder keeps all changes of the container between runs,
    /// in upper/ and work/ below it, for one container at a time. With ro, the folder's upper/ is only read. A squashfs
    /// file is always only read. May be repeated: the last one is on top, below the folder that is written to.
    #[arg(long, value_name = "DIR|FILE[:ro|:rw]")]
    pub overlay: Vec<OverlayFlag>,

    /// With --read-only, mount a tmpfs on /run, /tmp and /var/tmp.
    #[arg(long)]
    pub read_only_tmpfs: bool,

    /// Give the container all capabilities in its own user namespace, do not filter system calls, and do not mask /proc
    /// and /sys or make them read-only. The container gets no privileges on the host that you do not have. Devices still
    /// need --device.
    #[arg(long)]
    pub privileged: bool,

    /// Add capabilities, or ALL.
    #[arg(long, value_name = "CAPABILITY", value_delimiter = ',')]
    pub cap_add: Vec<CapabilityChange>,

    /// Drop capabilities, or ALL.
    #[arg(long, value_name = "CAPABILITY", value_delimiter = ',')]
    pub cap_drop: Vec<CapabilityChange>,

    /// Security options: no-new-privileges[=true|false]; no-userns (no user namespaces in the container);
    /// landlock=on|FILE (landlock(7) denies access to files outside the root too, or to all but those of the rules in
    /// FILE, see usnea-security(7)); apparmor=PROFILE; proc-opts=OPTION[,OPTION...] (mount options of /proc, such as
    /// hidepid=2); unmask=ALL (docker's systempaths=unconfined) or unmask=PATH[:PATH...] (do not mask all, or these,
    /// paths of /proc and /sys or make them read-only); mask=PATH[:PATH...] (mask these too); seccomp=builtin
    /// (docker's default profile of system calls), seccomp=FILE (a profile in docker's format), seccomp=unconfined (do not
    /// filter system calls). apparmor=unconfined and label=disable are accepted: they are the default.
    #[arg(long, value_name = "OPTION")]
    pub security_opt: Vec<SecurityOption>,

    /// Give the container a secret (see usnea secret): as a file in memory below /run/secrets, with target=, uid=, gid=
    /// and mode= (default: readable by all), or, with type=env, as an environment variable that target= names. The
    /// content is that of the container's creation.
    #[arg(long, value_name = "SECRET[,KEY=VALUE...]")]
    pub secret: Vec<SecretFlag>,

    /// User namespace mode: host (root in the container is your user), keep-id[:uid=N,gid=N,size=N] (your user has the
    /// same ID in the container), nomap (your user is not mapped),
    /// auto[:size=N,uidmapping=CONTAINER:BASE:COUNT,gidmapping=...] (subordinate IDs that no other container of this
    /// mode has, as many as the image's users need, at least 1024).
    ///
    /// Default: host; keep-id if -u is your own UID[:GID] and a directory of the host is mounted.
    #[arg(long, value_name = "MODE")]
    pub userns: Option<UsernsMode>,

    /// Emulate success of system calls that need several IDs (chown, setuid, setgroups, mknod and similar), so that
    /// packages can be installed.
    #[arg(long, value_enum, value_name = "MODE", default_value = "auto")]
    pub root_emulation: RootEmulation,

    /// Storage driver for the layers of the root: overlay (the kernel's overlayfs), fuse (usnea's FUSE server, which
    /// can show files with the container's own IDs) or copy (layers are copied). Default: the first of these that can
    /// be used.
    #[arg(long, value_enum, value_name = "DRIVER")]
    pub storage_driver: Option<StorageDriver>,

    /// User ID mapping. BASE 0 is your user ID, 1 and following are your subordinate IDs; with @, BASE is an ID of the
    /// host.
    #[arg(long, value_name = "CONTAINER:[@]BASE[:COUNT]", value_delimiter = ',')]
    pub uidmap: Vec<AskedMap>,

    /// Group ID mapping. BASE 0 is your group ID, 1 and following are your subordinate IDs; with @, BASE is an ID of
    /// the host.
    #[arg(long, value_name = "CONTAINER:[@]BASE[:COUNT]", value_delimiter = ',')]
    pub gidmap: Vec<AskedMap>,

    /// Add a supplementary group, by name (in the image's /etc/group) or ID; keep-groups keeps your own groups.
    #[arg(long, value_name = "NAME|GID|keep-groups", value_delimiter = ',')]
    pub group_add: Vec<GroupAdd>,

    /// Network: none (only a loopback interface), host (the host's network, including its abstract Unix sockets), or a
    /// separate network that a helper program connects to the host: pasta[:OPTION,...] (with options of pasta, such as
    /// -T,8000), slirp4netns[:OPTION,...] (cidr=, mtu=, enable_ipv6=, allow_host_loopback=, outbound_addr=,
    /// outbound_addr6=), or private, bridge or default (the first of these helpers that can be used).
    /// NAME[:ip=,ip6=,mac=,alias=,interface_name=] is a named network. container:NAME joins the network of a running
    /// container, with its host name, /etc/hosts and /etc/resolv.conf; ns:PATH joins a network namespace. May be given
    /// more than once for several named networks. Default: private, unless set in usnea.toml.
    #[arg(long, visible_alias = "net", value_name = "NETWORK", value_parser = NetworkMode::of_flag)]
    pub network: Vec<NetworkMode>,

    /// IPv4 address on the named network.
    #[arg(long, value_name = "ADDRESS")]
    pub ip: Option<Ipv4Addr>,

    /// IPv6 address on the named network.
    #[arg(long, value_name = "ADDRESS")]
    pub ip6: Option<Ipv6Addr>,

    /// Hardware address on the named network.
    #[arg(long, value_name = "ADDRESS")]
    pub mac_address: Option<MacAddress>,

    /// Additional name of the container on its named networks.
    #[arg(long, visible_alias = "net-alias", value_name = "NAME", value_parser = checked_host_name, value_delimiter = ',')]
    pub network_alias: Vec<String>,

    /// Publish a port or a range of ports of the container on the host. HOST is a range of the same size, or, for a
    /// single port, a range of which a free port is chosen. Without HOST, a free port is chosen.
    #[arg(short, long, value_name = "[[ADDRESS:]HOST:]PORT[/tcp|udp]")]
    pub publish: Vec<PublishValue>,

    /// Publish all exposed ports (of the image and --expose) to free ports of the host.
    #[arg(short = 'P', long)]
    pub publish_all: bool,

    /// Expose ports, for --publish-all.
    #[arg(long, value_name = "PORT[/tcp|udp]", value_delimiter = ',')]
    pub expose: Vec<ExposedPorts>,

    /// DNS server; none: keep the image's /etc/resolv.conf. Default: those of the host, through the network helper.
    #[arg(long, value_name = "ADDRESS|none", value_delimiter = ',')]
    pub dns: Vec<DnsServer>,

    /// DNS search domain; a single dot: no search domain. Default: those of the host.
    #[arg(long, value_name = "DOMAIN", value_delimiter = ',')]
    pub dns_search: Vec<String>,

    /// DNS option of resolv.conf(5). Default: those of the host.
    #[arg(long, visible_alias = "dns-opt", value_name = "OPTION", value_delimiter = ',')]
    pub dns_option: Vec<String>,

    /// Add a line to /etc/hosts; host-gateway stands for the host's address.
    #[arg(long, value_name = "NAME:ADDRESS|host-gateway", value_delimiter = ',')]
    pub add_host: Vec<HostEntry>,

    /// Keep the image's /etc/hosts.
    #[arg(long, conflicts_with = "add_host")]
    pub no_hosts: bool,

    /// Base of /etc/hosts: an absolute path of the host, image (the image's /etc/hosts), or none. Default: localhost
    /// alone; on the host's network, the host's /etc/hosts.
    #[arg(long, value_name = "FILE|image|none", conflicts_with = "no_hosts")]
    pub hosts_file: Option<HostsBase>,

    /// Add the user to the container's /etc/passwd and /etc/group, where these lack it: with --userns keep-id,
    /// --passwd-entry or --group-entry. Default: true.
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "BOOL", default_missing_value = "true",
          hide_possible_values = true, value_parser = clap::builder::BoolishValueParser::new())]
    pub passwd: Option<bool>,

    /// Line of /etc/passwd for the user, if the image has none; $USERNAME, $UID, $GID, $NAME and $HOME are replaced.
    #[arg(long, value_name = "LINE")]
    pub passwd_entry: Option<String>,

    /// Line of /etc/group for the user's group, if the image has none; $GROUPNAME, $GID and $USERLIST are replaced.
    #[arg(long, value_name = "LINE")]
    pub group_entry: Option<String>,

    /// Keep the image's /etc/hostname.
    #[arg(long)]
    pub no_hostname: bool,

    /// PID namespace: private, host, container:NAME (that of a running container) or ns:PATH. Default: private.
    #[arg(long, value_name = "MODE")]
    pub pid: Option<NamespaceSharing>,

    /// IPC namespace: private (also called shareable), none (private, without /dev/shm), host, container:NAME (that of a
    /// running container, with its /dev/shm) or ns:PATH. Default: private.
    #[arg(long, value_name = "MODE")]
    pub ipc: Option<IpcMode>,

    /// UTS namespace (host name): private, host, container:NAME (that of a running container) or ns:PATH.
    #[arg(long, value_name = "MODE", default_value = "private")]
    pub uts: NamespaceSharing,

    /// Set a resource limit of processes, such as nofile=1024:2048; -1: unlimited; host: keep all limits of the caller.
    /// Default: those of the caller, with the soft limit of nofile raised to the hard limit.
    #[arg(long, value_name = "NAME=SOFT[:HARD]", value_delimiter = ',')]
    pub ulimit: Vec<Ulimit>,

    /// Resource limits of the container.
    #[command(flatten)]
    pub resources: Resources,

    /// Ignored with a warning, as by docker: cgroup version 2 has no such limit.
    #[arg(long, value_name = "BYTES")]
    pub kernel_memory: Option<Size>,

    /// Ignored with a warning, as by docker: cgroup version 2 has no such setting.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(-1..=100))]
    pub memory_swappiness: Option<i64>,

    /// Ignored with a warning, as by docker: cgroup version 2 has no such setting.
    #[arg(long)]
    pub oom_kill_disable: bool,

    /// Create a cgroup for the container: enabled (with --rm only if a limit is set) or disabled. podman's split and
    /// no-conmon mean enabled: in a systemd service with Delegate=yes the cgroup is always below that of the service.
    #[arg(long, value_enum, value_name = "MODE", default_value = "enabled")]
    pub cgroups: CgroupMode,

    /// Parent cgroup: a systemd slice (work.slice), or a cgroup that you may write to.
    #[arg(long, value_name = "SLICE|CGROUP")]
    pub cgroup_parent: Option<PathBuf>,

    /// Cgroup namespace: private, host, container:NAME (that of a running container) or ns:PATH. Default: private.
    #[arg(long, value_name = "MODE")]
    pub cgroupns: Option<NamespaceSharing>,

    /// OOM score adjustment of the container, from -1000 to 1000, and not less than the caller's.
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(-1000..=1000))]
    pub oom_score_adj: Option<i32>,

    /// Add an annotation to config.json.
    #[arg(long, value_name = "KEY=VALUE")]
    pub annotation: Vec<String>,

    /// Set a kernel parameter that belongs to a namespace of the container, such as net.ipv4.ip_forward=1.
    #[arg(long, value_name = "NAME=VALUE")]
    pub sysctl: Vec<Sysctl>,

    /// Run a small init as PID 1 that forwards signals and reaps processes.
    #[arg(long)]
    pub init: bool,

    /// Prepare the container for systemd as its command: true (if the command is systemd, /sbin/init, /usr/sbin/init or
    /// /usr/local/sbin/init), always, or false. Mounts a tmpfs on /run, /run/lock, /tmp and /var/log/journal, makes the
    /// container's own cgroup writable below /sys/fs/cgroup, sets container_uuid, and stops by SIGRTMIN+3.
    #[arg(long, value_enum, value_name = "MODE", default_value = "true")]
    pub systemd: SystemdMode,

    /// Size of each tmpfs for systemd. Default: half of the memory.
    #[arg(long, value_name = "BYTES")]
    pub shm_size_systemd: Option<Size>,

    /// Size of /dev/shm, such as 64m or 1g. Default, and 0: 64m.
    #[arg(long, value_name = "BYTES")]
    pub shm_size: Option<Size>,

    /// Add a device of the host, or all devices in a directory. PERMISSIONS are rw or rwm: without root no others can
    /// be enforced, and no process in the container can create device files. A name such as vendor.com/class=name is a
    /// device of the Container Device Interface (usnea cdi list).
    #[arg(long, value_name = "HOST[:CONTAINER][:PERMISSIONS]|CDI-NAME")]
    pub device: Vec<DeviceFlag>,

    /// Add graphics processors: all, their number, or device=ID[,ID...]. The same as --device nvidia.com/gpu=..., or
    /// amd.com/gpu=... on a machine without files for the former.
    #[arg(long, value_name = "GPUS")]
    pub gpus: Option<GpusFlag>,

    /// Execution domain (personality(2)); with LINUX32, uname(1) reports a 32-bit machine.
    #[arg(long, value_enum, value_name = "PERSONA")]
    pub personality: Option<PersonalityFlag>,

    /// Pass these open file descriptors to the container, under the same numbers.
    #[arg(long, value_name = "FD", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(3..=1_048_575))]
    pub preserve_fd: Vec<u32>,

    /// Pass N additional file descriptors (from 3 on) to the container.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true,
          value_parser = clap::value_parser!(u32).range(..=1_048_573))]
    pub preserve_fds: u32,

    /// Network of a container whose options name none. No option: the settings have it.
    #[arg(skip)]
    pub default_network: NetworkMode,
}

impl ContainerOptions {
    /// Returns the ports of all values of `--publish`.
    pub fn published(&self) -> impl Iterator<Item = &PublishedPorts> {
        self.publish.iter().flat_map(|value| &value.0)
    }

    /// Whether descriptors of the caller are the container's.
    pub fn preserves_descriptors(&self) -> bool {
        self.preserve_fds > 0 || !self.preserve_fd.is_empty()
    }

    /// Network of the container: from the option, else as the other options require, else the default one.
    pub fn network(&self) -> NetworkMode {
        match (self.joined_network(), &self.default_network) {
            (Ok(Some(network)), _) => network,
            (_, NetworkMode::None | NetworkMode::Host) if self.publishes() => {
                NetworkMode::Helper(HelperFlag::default())
            }
            (_, default) => default.clone(),
        }
    }

    /// Owner of the PID namespace.
    pub fn pid_sharing(&self) -> NamespaceSharing {
        self.pid.clone().unwrap_or_default()
    }

    /// IPC namespace, and shared memory.
    pub fn ipc_mode(&self) -> IpcMode {
        self.ipc.clone().unwrap_or_default()
    }

    /// Owner of the cgroup namespace.
    pub fn cgroup_sharing(&self) -> NamespaceSharing {
        self.cgroupns.clone().unwrap_or_default()
    }

    /// True if ports are published.
    pub fn publishes(&self) -> bool {
        self.publish_all || !self.publish.is_empty()
    }

    /// True if no option asks for a network: the container has the default one.
    pub fn has_default_network(&self) -> bool {
        self.network.is_empty() && !self.publishes()
    }

    /// Network of all `--network` options together, with the addresses and aliases of options of their own. `None`: the
    /// options name no network. Errors: networks that exclude each other; addresses without a named network.
    pub fn joined_network(&self) -> Result<Option<NetworkMode>, String> {
        let mut all = self.network.iter().cloned();
        let Some(first) = all.next() else { return self.without_address(None) };
        let mut mode = all.try_fold(first, NetworkMode::join)?;
        let NetworkMode::Named(attachments, _) = &mut mode else {
            return self.without_address(Some(mode));
        };
        for attachment in attachments.iter_mut() {
            attachment.aliases.extend(self.network_alias.iter().cloned());
        }
        if let [attachment, more @ ..] = &mut attachments[..] {
            if !more.is_empty()
                && (self.ip.is_some() || self.ip6.is_some() || self.mac_address.is_some())
            {
                return Err("of several networks, each has its addresses in its own option: NAME:ip=,ip6=,mac=".into());
            }
            attachment.ip = self.ip.or(attachment.ip);
            attachment.ip6 = self.ip6.or(attachment.ip6);
            attachment.mac = self.mac_address.or(attachment.mac);
        }
        Ok(Some(mode))
    }

    /// Returns `mode`, which has no named networks. Errors: an option that needs one.
    fn without_address(&self, mode: Option<NetworkMode>) -> Result<Option<NetworkMode>, String> {
        match self.has_address_options() {
            true => Err("addresses and aliases are those of a named network".into()),
            false => Ok(mode),
        }
    }

    /// True if an option is about name servers.
    pub fn has_resolver_options(&self) -> bool {
        let lists = [&self.dns_search, &self.dns_option];
        lists.iter().any(|list| !list.is_empty()) || !self.dns.is_empty()
    }

    /// True if an option is an address or a name on a named network.
    pub fn has_address_options(&self) -> bool {
        self.ip.is_some()
            || self.ip6.is_some()
            || self.mac_address.is_some()
            || !self.network_alias.is_empty()
    }

    /// True if the options set the name servers, rather than the host or the image.
    pub fn has_own_resolver(&self) -> bool {
        !self.keeps_resolver() && (self.has_resolver_options() || self.has_names_of_its_own())
    }

    /// True if /etc/resolv.conf of the image stays.
    pub fn keeps_resolver(&self) -> bool {
        self.dns.contains(&DnsServer::None)
    }

    /// Returns the addresses of the DNS servers, and the reason why they cannot be combined.
    pub fn dns_addresses(&self) -> Result<Vec<IpAddr>, String> {
        let has_lists = !self.dns_search.is_empty() || !self.dns_option.is_empty();
        if self.keeps_resolver() && (self.dns.len() > 1 || has_lists) {
            return Err("none stands alone: /etc/resolv.conf of the image stays".into());
        }
        Ok(self.dns.iter().filter_map(|server| server.address()).collect())
    }

    /// True if the options set the contents of /etc/hosts. With the default network, /etc/hosts of a root that is
    /// written to stays the user's.
    pub fn has_own_hosts(&self) -> bool {
        let is_users = self.rw_root && self.has_default_network();
        let is_asked = !self.add_host.is_empty() || self.hosts_file.is_some();
        !self.no_hosts && (is_asked || !is_users && self.has_names_of_its_own())
    }

    /// True if /etc/hostname is the container's own, as with docker.
    pub fn has_own_hostname(&self) -> bool {
        !self.rw_root && !self.no_hostname
    }

    /// True if the container resolves names by files of its own. Not on the host's network. Without a network no
    /// names are resolved, so no missing file is created in a folder of the host either.
    fn has_names_of_its_own(&self) -> bool {
        match self.network() {
            NetworkMode::Helper(_) | NetworkMode::Named(..) => true,
            NetworkMode::None | NetworkMode::Joined(_) => !self.rw_root,
            NetworkMode::Host => false,
        }
    }

    /// True if a file or folder of the host is mounted.
    fn shows_host(&self) -> bool {
        let is_bind =
            |flag: &MountFlag| matches!(flag, MountFlag::Bind { .. } | MountFlag::Glob(_));
        let is_path = |volume: &VolumeFlag| matches!(volume.source, VolumeSource::Host(_));
        self.mount.iter().any(is_bind) || self.volume.iter().any(is_path)
    }

    /// Mode of the user namespace. The mode is keep-id if `-u` has the caller's own IDs and a folder of the host is
    /// mounted. The container's files there then belong to the caller, as with docker.
    pub fn userns(&self) -> UsernsMode {
        let maps = !self.uidmap.is_empty() || !self.gidmap.is_empty();
        match &self.userns {
            Some(mode) => mode.clone(),
            None if !maps && self.is_of_caller() && self.shows_host() => {
                UsernsMode::KeepId { uid: None, gid: None, size: None }
            }
            None => UsernsMode::Host,
        }
    }

    /// True if `-u` gives the caller's own IDs as numbers.
    pub(super) fn is_of_caller(&self) -> bool {
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        let own = [None, Some(gid.as_raw())].map(|gid| UserFlag::of(uid.as_raw(), gid));
        !uid.is_root() && self.user.as_ref().is_some_and(|user| own.contains(user))
    }
}
