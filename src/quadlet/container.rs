//! Services of `*.container` files: `usnea run`.

use super::id_file;
use super::keys::{FlagKey, FlagRule, UnitCommand};
use super::message::FileProblem;
use super::service::{QuadletContext, ServiceUnit};
use super::source::{QuadletFile, QuadletKind};
use super::unit_file::{Toggle, UnitFile, UnitSetting};
use super::words;

const NO_SUBORDINATE_NAME: &str =
    "usnea maps the user's own subordinate IDs; UIDMap= and GIDMap= choose among them";
const NO_LABELS: &str = "usnea applies no labels of SELinux; SecurityLabelDisable= alone is known";
const NO_REMAP: &str = "podman replaced this key: use UserNS=";

/// Keys of `[Container]`.
pub const KEYS: &[FlagKey] = &[
    ("Image", FlagRule::Special),
    ("Rootfs", FlagRule::Special),
    ("ContainerName", FlagRule::Special),
    ("Exec", FlagRule::Special),
    ("Entrypoint", FlagRule::Last("--entrypoint")),
    ("Pod", FlagRule::Special),
    ("StartWithPod", FlagRule::Special),
    ("Notify", FlagRule::Special),
    ("ReloadCmd", FlagRule::Special),
    ("ReloadSignal", FlagRule::Special),
    ("CgroupsMode", FlagRule::Special),
    ("LogDriver", FlagRule::Last("--log-driver")),
    ("LogOpt", FlagRule::Each("--log-opt")),
    ("Timezone", FlagRule::Last("--tz")),
    ("PidsLimit", FlagRule::Last("--pids-limit")),
    ("Memory", FlagRule::Last("--memory")),
    ("ShmSize", FlagRule::Last("--shm-size")),
    ("HostName", FlagRule::Last("--hostname")),
    ("StopTimeout", FlagRule::Last("--stop-timeout")),
    ("StopSignal", FlagRule::Last("--stop-signal")),
    ("Pull", FlagRule::Last("--pull")),
    ("Retry", FlagRule::Last("--retry")),
    ("RetryDelay", FlagRule::Last("--retry-delay")),
    ("WorkingDir", FlagRule::Last("--workdir")),
    ("IP", FlagRule::Last("--ip")),
    ("IP6", FlagRule::Last("--ip6")),
    ("Network", FlagRule::Special),
    ("NetworkAlias", FlagRule::Each("--network-alias")),
    ("DNS", FlagRule::Each("--dns")),
    ("DNSOption", FlagRule::Each("--dns-option")),
    ("DNSSearch", FlagRule::Each("--dns-search")),
    ("AddHost", FlagRule::Each("--add-host")),
    ("ExposeHostPort", FlagRule::Each("--expose")),
    ("PublishPort", FlagRule::Each("--publish")),
    ("GroupAdd", FlagRule::Each("--group-add")),
    ("User", FlagRule::Special),
    ("Group", FlagRule::Special),
    ("UserNS", FlagRule::Last("--userns")),
    ("UIDMap", FlagRule::Each("--uidmap")),
    ("GIDMap", FlagRule::Each("--gidmap")),
    ("SubUIDMap", FlagRule::Refused(NO_SUBORDINATE_NAME)),
    ("SubGIDMap", FlagRule::Refused(NO_SUBORDINATE_NAME)),
    ("RemapUsers", FlagRule::Refused(NO_REMAP)),
    ("RemapUid", FlagRule::Refused(NO_REMAP)),
    ("RemapUidSize", FlagRule::Refused(NO_REMAP)),
    ("RemapGid", FlagRule::Refused(NO_REMAP)),
    ("Tmpfs", FlagRule::Each("--tmpfs")),
    ("VolatileTmp", FlagRule::Refused("podman replaced this key: use Tmpfs=/tmp")),
    ("Ulimit", FlagRule::Each("--ulimit")),
    ("Sysctl", FlagRule::Words("--sysctl")),
    ("RunInit", FlagRule::Switch("--init")),
    ("EnvironmentHost", FlagRule::Switch("--env-host")),
    ("HttpProxy", FlagRule::Switch("--http-proxy")),
    ("ReadOnly", FlagRule::Switch("--read-only")),
    ("ReadOnlyTmpfs", FlagRule::Switch("--read-only-tmpfs")),
    ("NoNewPrivileges", FlagRule::IfTrue("--security-opt", "no-new-privileges")),
    ("AppArmor", FlagRule::Security("apparmor=")),
    ("SecurityLabelDisable", FlagRule::IfTrue("--security-opt", "label=disable")),
    ("SecurityLabelNested", FlagRule::Refused(NO_LABELS)),
    ("SecurityLabelType", FlagRule::Refused(NO_LABELS)),
    ("SecurityLabelFileType", FlagRule::Refused(NO_LABELS)),
    ("SecurityLabelLevel", FlagRule::Refused(NO_LABELS)),
    ("SeccompProfile", FlagRule::Security("seccomp=")),
    ("Mask", FlagRule::Security("mask=")),
    ("Unmask", FlagRule::Security("unmask=")),
    ("AddDevice", FlagRule::Special),
    ("AddCapability", FlagRule::Words("--cap-add")),
    ("DropCapability", FlagRule::Words("--cap-drop")),
    ("Environment", FlagRule::Pairs("--env")),
    ("EnvironmentFile", FlagRule::Special),
    ("Label", FlagRule::Pairs("--label")),
    ("Annotation", FlagRule::Pairs("--annotation")),
    ("AutoUpdate", FlagRule::Special),
    ("Volume", FlagRule::Special),
    ("Mount", FlagRule::Special),
    ("Secret", FlagRule::Words("--secret")),
    ("HealthCmd", FlagRule::Last("--health-cmd")),
    ("HealthInterval", FlagRule::Last("--health-interval")),
    ("HealthOnFailure", FlagRule::Last("--health-on-failure")),
    ("HealthRetries", FlagRule::Last("--health-retries")),
    ("HealthStartPeriod", FlagRule::Last("--health-start-period")),
    ("HealthTimeout", FlagRule::Last("--health-timeout")),
    ("HealthLogDestination", FlagRule::Last("--health-log-destination")),
    ("HealthMaxLogCount", FlagRule::Last("--health-max-log-count")),
    ("HealthMaxLogSize", FlagRule::Last("--health-max-log-size")),
    ("HealthStartupCmd", FlagRule::Last("--health-startup-cmd")),
    ("HealthStartupInterval", FlagRule::Last("--health-startup-interval")),
    ("HealthStartupRetries", FlagRule::Last("--health-startup-retries")),
    ("HealthStartupSuccess", FlagRule::Last("--health-startup-success")),
    ("HealthStartupTimeout", FlagRule::Last("--health-startup-timeout")),
];

const GROUP: &str = "Container";

/// Makes the service. Errors: a setting that usnea cannot apply.
pub fn convert(source: &QuadletFile, around: &QuadletContext<'_>) -> Result<UnitFile, FileProblem> {
    let mut service = ServiceUnit::begin(source, around)?;
    let image = root(&mut service)?;
    let kind = service_kind(source)?;
    let id_file = format!("--cidfile={}", id_file::own_path(&mut service, "cid"));
    life(&mut service, &id_file)?;
    let mut command = service.command(&["run", "--name"])?;
    command.word(source.own_container_name());
    command.words([&id_file, "--replace", "--rm", "--cgroups"]);
    let cgroups = source.unit.last(GROUP, "CgroupsMode");
    command.word(cgroups.map_or("split", |mode| &mode.value));
    notify(&mut service, kind, &mut command)?;
    command.keys(source, KEYS)?;
    service.networks(&mut command)?;
    user(source, &mut command)?;
    devices(source, &mut command)?;
    environment_files(&service, &mut command);
    service.volumes(&mut command)?;
    mounts(&mut service, &mut command)?;
    if let Some(mode) = source.unit.last(GROUP, "AutoUpdate") {
        command.flag("--label", format!("io.containers.autoupdate={}", mode.value));
    }
    pod(&mut service, &mut command)?;
    service.further_arguments(&mut command)?;
    command.words(image);
    if let Some(exec) = source.unit.last(GROUP, "Exec") {
        command.words(words::split(&exec.value).map_err(|reason| exec.problem(reason))?);
    }
    reload(&mut service)?;
    service.set("ExecStart", command.text());
    Ok(service.unit)
}

/// Words of the command line that name the root file system.
fn root(service: &mut ServiceUnit<'_>) -> Result<Vec<String>, FileProblem> {
    let source = service.source;
    match (source.unit.last(GROUP, "Image"), source.unit.last(GROUP, "Rootfs")) {
        (Some(_), Some(rootfs)) => Err(rootfs.problem("Image= and Rootfs= exclude each other")),
        (None, None) => {
            Err(FileProblem::of(&source.path, "neither Image= nor Rootfs= in [Container]"))
        }
        (Some(image), None) => Ok(vec![service.image(image, &image.value)?]),
        (None, Some(rootfs)) => Ok(vec!["--rootfs".to_owned(), rootfs.value.clone()]),
    }
}

/// Time at which systemd considers the service started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ServiceKind {
    /// When the container or its monitor sends READY.
    Notify,
    /// When the container has ended.
    Once,
}

fn service_kind(source: &QuadletFile) -> Result<ServiceKind, FileProblem> {
    match source.unit.last("Service", "Type") {
        None => Ok(ServiceKind::Notify),
        Some(setting) => match setting.value.as_str() {
            "notify" | "notify-reload" => Ok(ServiceKind::Notify),
            "oneshot" => Ok(ServiceKind::Once),
            _ => Err(setting
                .problem("a container's service is of type notify, notify-reload or oneshot")),
        },
    }
}

/// Adds the commands that remove the container when its service stops, before systemd kills other processes.
fn life(service: &mut ServiceUnit<'_>, id_file: &str) -> Result<(), FileProblem> {
    if let Some(mode) = service.source.unit.last("Service", "KillMode")
        && !matches!(mode.value.as_str(), "mixed" | "control-group")
    {
        return Err(mode.problem("a container's service needs mixed or control-group"));
    }
    service.set("Environment", "PODMAN_SYSTEMD_UNIT=%n");
    service.set_default("KillMode", "mixed");
    let mut remove = service.command(&["rm", "-v", "-f", "-i"])?;
    remove.word(id_file);
    // `rm --force` kills at once; the container has StopTimeout= to end.
    let mut stop = service.command(&["stop", "--ignore"])?;
    stop.word(id_file);
    service.set("ExecStop", stop.text());
    // Also after a start that failed.
    service.set("ExecStopPost", format!("-{}", remove.text()));
    // The end by the signal that ExecStop= sends is no failure.
    service.set_default("SuccessExitStatus", "143");
    service.set("Delegate", "yes");
    service.set_default("SyslogIdentifier", "%N");
    Ok(())
}

/// Adds the sender of READY, which tells systemd that the service has started.
fn notify(
    service: &mut ServiceUnit<'_>,
    kind: ServiceKind,
    command: &mut UnitCommand,
) -> Result<(), FileProblem> {
    if kind == ServiceKind::Once {
        return Ok(());
    }
    service.set_default("Type", "notify");
    service.set_default("NotifyAccess", "all");
    let sender = match service.source.unit.last(GROUP, "Notify") {
        None => "conmon",
        Some(setting) if setting.value == "healthy" => "healthy",
        Some(setting) => match setting.boolean()? {
            Toggle::On => "container",
            Toggle::Off => "conmon",
        },
    };
    command.words([&format!("--sdnotify={sender}"), "-d"]);
    Ok(())
}

fn user(source: &QuadletFile, command: &mut UnitCommand) -> Result<(), FileProblem> {
    match (source.unit.last(GROUP, "User"), source.unit.last(GROUP, "Group")) {
        (None, None) => {}
        (Some(user), None) => command.flag("--user", &user.value),
        (Some(user), Some(group)) => {
            command.flag("--user", format!("{}:{}", user.value, group.value));
        }
        (None, Some(group)) => return Err(group.problem("Group= without User=")),
    }
    Ok(())
}

/// Adds the devices. A device that begins with `-` is added only if the host has it.
fn devices(source: &QuadletFile, command: &mut UnitCommand) -> Result<(), FileProblem> {
    for device in source.words(GROUP, "AddDevice")? {
        match device.strip_prefix('-') {
            None => command.flag("--device", device),
            Some(device) => {
                let path = device.split(':').next().unwrap_or(device);
                if std::path::Path::new(path).exists() {
                    command.flag("--device", device);
                }
            }
        }
    }
    Ok(())
}

fn environment_files(service: &ServiceUnit<'_>, command: &mut UnitCommand) {
    for setting in service.source.unit.list(GROUP, "EnvironmentFile") {
        command.flag("--env-file", service.path(&setting.value));
    }
}

/// Adds the flags of `Mount=`, whose source may be relative, a `.volume` or an `.image`.
fn mounts(service: &mut ServiceUnit<'_>, command: &mut UnitCommand) -> Result<(), FileProblem> {
    for setting in service.source.unit.list(GROUP, "Mount") {
        let parts: Vec<&str> = setting.value.split(',').collect();
        let kind = parts.iter().find_map(|part| part.strip_prefix("type="));
        let kind = kind.unwrap_or("volume");
        let mut translated = Vec::with_capacity(parts.len());
        for part in parts {
            translated.push(match (part.split_once('='), kind) {
                (Some((key @ ("source" | "src"), value)), "image") => {
                    format!("{key}={}", service.image(setting, value)?)
                }
                (Some((key @ ("source" | "src"), value)), "bind" | "volume" | "glob") => {
                    format!("{key}={}", service.volume_source(value, setting)?)
                }
                _ => part.to_owned(),
            });
        }
        command.flag("--mount", translated.join(","));
    }
    Ok(())
}

/// Puts the container into its pod, and ends the service with the pod's.
fn pod(service: &mut ServiceUnit<'_>, command: &mut UnitCommand) -> Result<(), FileProblem> {
    let Some(setting) = service.source.unit.last(GROUP, "Pod") else { return Ok(()) };
    if QuadletKind::of_name(&setting.value) != Some(QuadletKind::Pod) {
        return Err(setting.problem("is not the name of a .pod file"));
    }
    let pod = service.referred(&setting.value, setting)?;
    let name = pod.service();
    service.unit.add("Unit", "BindsTo", format!("{name}.service"));
    service.unit.add("Unit", "After", format!("{name}.service"));
    command.flag("--pod-id-file", id_file::path(pod, service.around, &name, id_file::POD));
    Ok(())
}

/// True if a pod starts the container.
pub fn starts_with_pod(source: &QuadletFile) -> Result<Toggle, FileProblem> {
    let setting = source.unit.last(GROUP, "StartWithPod");
    Ok(setting.map(UnitSetting::boolean).transpose()?.unwrap_or(Toggle::On))
}

fn reload(service: &mut ServiceUnit<'_>) -> Result<(), FileProblem> {
    let source = service.source;
    let name = source.own_container_name();
    let command = source.unit.last(GROUP, "ReloadCmd");
    match (command, source.unit.last(GROUP, "ReloadSignal")) {
        (None, None) => {}
        (Some(_), Some(signal)) => {
            return Err(signal.problem("ReloadCmd= and ReloadSignal= exclude each other"));
        }
        (Some(command), None) => {
            let mut exec = service.command(&["exec", &name])?;
            exec.words(words::split(&command.value).map_err(|reason| command.problem(reason))?);
            service.set("ExecReload", exec.text());
        }
        (None, Some(signal)) => {
            let kill = service.command(&["kill", "--signal", &signal.value, &name])?;
            service.set("ExecReload", kill.text());
        }
    }
    Ok(())
}
