//! Builds the whole OCI runtime config from options, root and image; or returns the first error that prevents this.
//!
//! Nothing is created or changed here. The host is queried only for facts needed before anything runs. Examples:
//! whether sources of mounts exist, the caller's own limits, the user's entry in the image. Capabilities are left
//! empty: until `security` adds its part, the container has no privileges.

use std::collections::HashMap;
use std::path::PathBuf;

use oci_spec::runtime::{
    Linux, LinuxBuilder, LinuxNamespace, LinuxNamespaceBuilder, LinuxNamespaceType, RootBuilder,
    Spec, SpecBuilder,
};

use super::command::{HALT, SYSTEMD, runs_systemd};
use super::group::GroupAdd;
use super::idmap::mappings;
use super::inputs::{
    CGROUP, KEEP_GROUPS, RUN_INIT, STOP_SIGNAL, SpecInputs, TimeNamespace, TopLayer,
};
use super::namespace::{CgroupMode, JoinTarget, NamespaceSharing, NetworkMode};
use super::options::ContainerOptions;
use super::own_account::{GROUP_ENTRY, OwnAccount, PASSWD_ENTRY};
use super::personality::PersonalityFlag;
use super::resources::Resources;
use super::security_option::SecurityOption;
use super::storage_driver::has_users_upper;
use super::{mounts, process, sysctl};
use crate::capability::{Capability, CapabilityChange};
use crate::error::{Context, Error, Result, Setting};
use crate::ids::UsernsMode;
use crate::phrase;

/// Version of the OCI runtime spec in config.json: the first with time namespaces.
const VERSION: &str = "1.2.0";

/// Builds the container's config. Must be called before a user namespace is entered: keep-id depends on the caller's
/// own IDs. Errors: an option cannot be fulfilled; the message quotes the option as typed.
pub fn build(inputs: &SpecInputs<'_>) -> Result<Spec> {
    refuse_contradictions(inputs.options)?;
    warn_of_discarded(inputs.options);
    let path = inputs.root.path()?;
    mounts::text(path)?;
    let root = RootBuilder::default()
        .path(path)
        .readonly(inputs.options.read_only)
        .build()
        .map_err(Error::new)?;
    let (process, account) = process::process(inputs)?;
    let mut spec = SpecBuilder::default()
        .version(VERSION)
        .root(root)
        .process(process)
        .mounts(mounts::mounts(inputs)?)
        .linux(linux(inputs)?)
        .annotations(annotations(inputs, account)?)
        .build()
        .map_err(Error::new)?;
    spec.set_hostname(inputs.hostname());
    spec.set_domainname(inputs.options.domainname.as_ref().map(|name| name.as_str().to_owned()));
    Ok(spec)
}

fn refuse_contradictions(options: &ContainerOptions) -> Result<()> {
    if options.uts == NamespaceSharing::Host && options.hostname.is_some() {
        return Err(Error::invalid(phrase!(
            Setting::Hostname,
            " and ",
            Setting::Uts,
            " host exclude each other: it would be the host's name that is set",
        )));
    }
    if options.uts == NamespaceSharing::Host && options.domainname.is_some() {
        return Err(Error::invalid(phrase!(
            Setting::Domainname,
            " and ",
            Setting::Uts,
            " host exclude each other: it would be the host's domain that is set",
        )));
    }
    if options.read_only && options.rw_root {
        return Err(Error::invalid(phrase!(
            Setting::ReadOnly,
            " and ",
            Setting::RwRoot,
            " exclude each other",
        )));
    }
    if options.userns() != UsernsMode::Host
        && !(options.uidmap.is_empty() && options.gidmap.is_empty())
    {
        return Err(Error::invalid(phrase!(
            Setting::Userns,
            " and ",
            Setting::Uidmap,
            " or ",
            Setting::Gidmap,
            " exclude each other",
        )));
    }
    if options.cgroups == CgroupMode::Disabled
        && (options.resources.limits() != Resources::default() || options.cgroup_parent.is_some())
    {
        return Err(Error::invalid(phrase!(
            Setting::Cgroups,
            " disabled leaves nothing that could be limited or have a parent",
        )));
    }
    if options.group_add.len() > 1 && options.group_add.contains(&GroupAdd::KeepGroups) {
        let error = Error::invalid(phrase!(Setting::GroupAdd, " keep-groups must stand alone"));
        return Err(error.hint("without root no group can be added to those that are kept"));
    }
    Ok(())
}

/// Refuses what belongs to the container whose namespace is joined (docker's "conflicting options").
pub fn refuse_joined(options: &ContainerOptions) -> Result<()> {
    let network = match options.network() {
        NetworkMode::Joined(target) => Some(target),
        _ => None,
    };
    let uts = match &options.uts {
        NamespaceSharing::Joined(target) => Some(target),
        _ => None,
    };
    let is_container = matches!(network, Some(JoinTarget::Container(_)));
    let of_network = [
        (Setting::Publish, !options.publish.is_empty()),
        (Setting::PublishAll, options.publish_all),
        (Setting::Expose, is_container && !options.expose.is_empty()),
        (Setting::Hostname, is_container && options.hostname.is_some()),
        (Setting::Domainname, is_container && options.domainname.is_some()),
        (Setting::Dns, is_container && options.has_resolver_options()),
        (Setting::AddHost, is_container && !options.add_host.is_empty()),
    ];
    let of_uts = [
        (Setting::Hostname, options.hostname.is_some()),
        (Setting::Domainname, options.domainname.is_some()),
    ];
    let of_network = of_network.iter().filter(|_| network.is_some());
    let of_network = of_network.map(|conflict| (Setting::Network, conflict));
    let of_uts = of_uts.iter().filter(|_| uts.is_some()).map(|conflict| (Setting::Uts, conflict));
    let mut conflicts = of_network.chain(of_uts).filter(|(_, (_, is_given))| *is_given);
    let Some((joined, (setting, _))) = conflicts.next() else { return Ok(()) };
    let target = if joined == Setting::Uts { uts } else { network.as_ref() };
    let target = target.map(ToString::to_string).unwrap_or_default();
    Err(Error::invalid(phrase!(
        *setting,
        " and ",
        joined,
        format!(" {target} exclude each other: it is set where the namespace was made"),
    )))
}

/// Warns about flags without effect on cgroup version 2, as docker does.
fn warn_of_discarded(options: &ContainerOptions) {
    for (setting, is_given) in [
        (Setting::KernelMemory, options.kernel_memory.is_some_and(|size| size.bytes() > 0)),
        (Setting::MemorySwappiness, options.memory_swappiness.is_some_and(|value| value >= 0)),
        (Setting::OomKillDisable, options.oom_kill_disable),
    ] {
        if is_given {
            log::warn!("{setting}: cgroup version 2 has no such setting: discarded");
        }
    }
}

/// Annotations from the options, and usnea's own.
fn annotations(inputs: &SpecInputs<'_>, account: OwnAccount) -> Result<HashMap<String, String>> {
    let options = inputs.options;
    let mut asked = HashMap::new();
    for text in &options.annotation {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        if key.is_empty() || key.starts_with("usnea.") {
            let error = "a key is needed, and those that begin with usnea. are usnea's own";
            return Err(Error::invalid(error)).context(|| Setting::Annotation.with(text));
        }
        asked.insert(key.to_owned(), value.to_owned());
    }
    let entries = [(PASSWD_ENTRY, account.passwd), (GROUP_ENTRY, account.group)];
    let entries = entries.into_iter().filter_map(|(name, line)| Some((name.to_owned(), line?)));
    let mut annotations: HashMap<_, _> = asked.into_iter().chain(entries).collect();
    let systemd = runs_systemd(inputs);
    let halt = systemd.then(|| HALT.to_owned());
    if let Some(signal) = inputs.image.stop_signal.clone().or(halt) {
        annotations.insert(STOP_SIGNAL.to_owned(), signal);
    }
    if systemd {
        annotations.insert(SYSTEMD.to_owned(), "true".to_owned());
    }
    if options.group_add.contains(&GroupAdd::KeepGroups) {
        annotations.insert(KEEP_GROUPS.to_owned(), "1".to_owned());
    }
    if options.init {
        annotations.insert(RUN_INIT.to_owned(), "true".to_owned());
    }
    Ok(annotations)
}

fn linux(inputs: &SpecInputs<'_>) -> Result<Linux> {
    let options = inputs.options;
    let mut sysctls = HashMap::new();
    for asked in &options.sysctl {
        sysctl::refuse_hosts(asked, &options.ipc_mode().sharing(), &options.network().sharing())?;
        sysctls.insert(asked.name.clone(), asked.value.clone());
    }
    if options.security_opt.contains(&SecurityOption::NoUserns) {
        refuse_undoing(options)?;
        // The limit of the container's own user namespace, which only CAP_SYS_RESOURCE over it can raise again.
        sysctls.insert("user.max_user_namespaces".to_owned(), "0".to_owned());
    }
    let mut linux = LinuxBuilder::default()
        .uid_mappings(mappings(&inputs.maps.uids)?)
        .gid_mappings(mappings(&inputs.maps.gids)?)
        .namespaces(namespaces(inputs)?)
        .sysctl(sysctls)
        .build()
        .map_err(Error::new)?;
    linux.set_resources(options.resources.limits().oci()?);
    linux.set_cgroups_path(cgroup(inputs));
    linux.set_personality(options.personality.map(PersonalityFlag::oci).transpose()?);
    // The crate sets default paths, which are not wanted here: paths are added by `security`.
    linux.set_masked_paths(None);
    linux.set_readonly_paths(None);
    Ok(linux)
}

/// Refuses capabilities by which the container could set its limits itself.
fn refuse_undoing(options: &ContainerOptions) -> Result<()> {
    let raises = |change: &CapabilityChange| {
        matches!(change, CapabilityChange::All | CapabilityChange::One(Capability::SysResource))
    };
    let raising = match options.privileged {
        true => Some((Setting::Privileged, String::new())),
        false => options.cap_add.iter().find(|change| raises(change)).map(|change| {
            let name = match change {
                CapabilityChange::All => "ALL".to_owned(),
                CapabilityChange::One(capability) => capability.to_string(),
            };
            (Setting::CapAdd, format!(" {name}"))
        }),
    };
    match raising {
        None => Ok(()),
        Some((setting, value)) => Err(Error::invalid(phrase!(
            Setting::SecurityOpt,
            " no-userns and ",
            setting,
            value,
            " exclude each other: SYS_RESOURCE can take the limit away",
        ))),
    }
}

/// Path of the container's cgroup. A disposable container has a cgroup only if an option needs one: making one takes
/// time.
fn cgroup(inputs: &SpecInputs<'_>) -> Option<PathBuf> {
    let options = inputs.options;
    let is_asked =
        options.resources.limits() != Resources::default() || options.cgroup_parent.is_some();
    let is_asked = is_asked || runs_systemd(inputs);
    let is_had = options.cgroups == CgroupMode::Enabled;
    (is_had && (is_asked || inputs.top_layer == TopLayer::Persistent)).then(|| {
        let name = format!("{CGROUP}{}", inputs.id);
        options
            .cgroup_parent
            .as_ref()
            .map_or_else(|| name.clone().into(), |parent| parent.join(&name))
    })
}

fn namespaces(inputs: &SpecInputs<'_>) -> Result<Vec<LinuxNamespace>> {
    let options = inputs.options;
    let time = match inputs.time_namespace {
        TimeNamespace::Available => NamespaceSharing::Private,
        TimeNamespace::Missing => NamespaceSharing::Host,
    };
    [
        (LinuxNamespaceType::Pid, options.pid_sharing()),
        (LinuxNamespaceType::Mount, NamespaceSharing::Private),
        (LinuxNamespaceType::Ipc, options.ipc_mode().sharing()),
        (LinuxNamespaceType::Uts, options.uts.clone()),
        (LinuxNamespaceType::Network, options.network().sharing()),
        (LinuxNamespaceType::Cgroup, options.cgroup_sharing()),
        (LinuxNamespaceType::User, NamespaceSharing::Private),
        (LinuxNamespaceType::Time, time),
    ]
    .into_iter()
    .filter_map(|(kind, sharing)| {
        let namespace = LinuxNamespaceBuilder::default().typ(kind);
        match sharing {
            NamespaceSharing::Private => Some(namespace.build()),
            NamespaceSharing::Host => None,
            NamespaceSharing::Joined(target) => Some(namespace.path(target.path()).build()),
        }
    })
    .map(|namespace| namespace.map_err(Error::new))
    .collect()
}

/// Folders to create before the config runs: upper and work folders of its overlays, in order. Leaves out those of the
/// user (`--overlay`).
pub fn layer_folders(spec: &Spec) -> Vec<PathBuf> {
    spec.mounts()
        .iter()
        .flatten()
        .filter(|mount| {
            matches!(mount.typ().as_deref(), Some("overlay" | super::FUSE | super::COPIED))
        })
        .filter(|mount| !has_users_upper(mount))
        .flat_map(|mount| mount.options().iter().flatten())
        .filter_map(|option| {
            option.strip_prefix("upperdir=").or_else(|| option.strip_prefix("workdir="))
        })
        .map(|folder| PathBuf::from(folder.replace("\\\\", "\\")))
        .collect()
}
