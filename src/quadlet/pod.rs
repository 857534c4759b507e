//! Services of `*.pod` files: `usnea pod create`.
//!
//! A pod of usnea has no process of its own, so its service stays active after its command (RemainAfterExit=).
//! Containers have their own services, which are bound to the pod's.

use super::container::starts_with_pod;
use super::id_file;
use super::keys::{FlagKey, FlagRule};
use super::message::FileProblem;
use super::service::{QuadletContext, ServiceUnit};
use super::source::{QuadletFile, QuadletKind};
use super::unit_file::{Toggle, UnitFile};

/// Keys of `[Pod]`.
pub const KEYS: &[FlagKey] = &[
    ("PodName", FlagRule::Special),
    ("ExitPolicy", FlagRule::Special),
    ("StopTimeout", FlagRule::Special),
    ("HostName", FlagRule::Last("--hostname")),
    ("ShmSize", FlagRule::Last("--shm-size")),
    ("UserNS", FlagRule::Last("--userns")),
    ("UIDMap", FlagRule::Refused("a pod has the map of UserNS= alone")),
    ("GIDMap", FlagRule::Refused("a pod has the map of UserNS= alone")),
    ("SubUIDMap", FlagRule::Refused("usnea maps the user's own subordinate IDs")),
    ("SubGIDMap", FlagRule::Refused("usnea maps the user's own subordinate IDs")),
    ("RemapUsers", FlagRule::Refused("podman replaced this key: use UserNS=")),
    ("RemapUid", FlagRule::Refused("podman replaced this key: use UserNS=")),
    ("RemapUidSize", FlagRule::Refused("podman replaced this key: use UserNS=")),
    ("RemapGid", FlagRule::Refused("podman replaced this key: use UserNS=")),
    ("PublishPort", FlagRule::Each("--publish")),
    ("Network", FlagRule::Special),
    ("NetworkAlias", FlagRule::Each("--network-alias")),
    ("IP", FlagRule::Last("--ip")),
    ("IP6", FlagRule::Last("--ip6")),
    ("DNS", FlagRule::Each("--dns")),
    ("DNSOption", FlagRule::Each("--dns-option")),
    ("DNSSearch", FlagRule::Each("--dns-search")),
    ("AddHost", FlagRule::Each("--add-host")),
    ("Label", FlagRule::Pairs("--label")),
    ("Volume", FlagRule::Special),
];

/// Makes the service. Errors: a setting that usnea cannot apply.
pub fn convert(source: &QuadletFile, around: &QuadletContext<'_>) -> Result<UnitFile, FileProblem> {
    let mut service = ServiceUnit::begin(source, around)?;
    for member in members(source, around)? {
        service.unit.add("Unit", "Wants", &*member);
        service.unit.add("Unit", "Before", member);
    }
    let id_file = format!("--pod-id-file={}", id_file::own_path(&mut service, id_file::POD));
    let last = |key| source.unit.last("Pod", key).map(|setting| setting.value.as_str());
    let mut create = service.command(&["pod", "create", &id_file, "--replace"])?;
    create.keys(source, KEYS)?;
    service.networks(&mut create)?;
    service.volumes(&mut create)?;
    create.flag("--name", source.resource()?);
    service.further_arguments(&mut create)?;
    let timeout = format!("--time={}", last("StopTimeout").unwrap_or("10"));
    let stop = service.command(&["pod", "stop", &id_file, "--ignore", &timeout])?;
    let remove = service.command(&["pod", "rm", &id_file, "--ignore", "--force"])?;
    service.set("Environment", "PODMAN_SYSTEMD_UNIT=%n");
    service.set("ExecStop", stop.text());
    service.set("ExecStopPost", remove.text());
    // As podman does. systemd refuses Restart=always where a command runs once.
    service.replace("Restart", "on-failure");
    service.run_once(&create);
    Ok(service.unit)
}

/// Services of the containers that start with the pod.
fn members(source: &QuadletFile, around: &QuadletContext<'_>) -> Result<Vec<String>, FileProblem> {
    let mut members = Vec::new();
    for container in around.sources.values().filter(|other| other.kind == QuadletKind::Container) {
        let is_member = container
            .unit
            .last(QuadletKind::Container.group(), "Pod")
            .is_some_and(|setting| setting.value == source.name);
        if is_member && starts_with_pod(container)? == Toggle::On {
            members.push(format!("{}.service", container.service()));
        }
    }
    Ok(members)
}
