//! `usnea inspect` of a container: builds the document from record, spec and state.

mod endpoints;
mod host_config;
mod mounts;
mod network;

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use oci_spec::runtime::{Capabilities, LinuxCapabilities, Mount, Spec};

use super::Container;
use super::exec_sessions::exec_ids;
use super::layers::ContainerLayers;
use super::start::image_file;
use crate::container::Usnea;
use crate::container::volumes::{self, MountedVolume};
use crate::documents::container::{
    ConfigDocument, ContainerDocument, ContainerSecretDocument, HealthDocument, StateDocument,
};
use crate::documents::go::{Nothing, ZERO_TIME};
use crate::documents::graph_driver::GraphDriver;
use crate::error::Result;
use crate::image::diff::LayerSource;
use crate::image::store::USED;
use crate::monitor::Status;
use crate::monitor::health::{HEALTH, HealthReport, KEPT, OUTPUT};
use crate::monitor::record::{
    self, CONFIG, Input, LogDriver, OnFailure, Record, STATE, STOPPED, State, Stream,
};
use crate::spec::{RecordedSecret, SYSTEMD, SecretForm, StorageDriver};
use crate::sys::signal;

pub use mounts::{UserMount, mounted};

/// Choice whether the sizes of a container's files are counted, which reads all its folders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizeCount {
    /// Sizes are counted.
    Counted,
    /// Sizes are left out.
    Unknown,
}

/// Returns the document of a container. Errors: its files cannot be read.
pub fn inspect(
    usnea: &Usnea,
    container: &Container,
    sizes: SizeCount,
) -> Result<ContainerDocument> {
    let record = &container.record;
    let status = container.status()?;
    let spec = container.spec_if_any()?.unwrap_or_default();
    let volumes = volumes::used_by(container)?;
    let (path, arguments) = record.command.split_first().unzip();
    let state = record::read_if_whole::<State>(&container.folder, STATE)?;
    let process = spec.process().as_ref();
    let capabilities = process.and_then(|process| process.capabilities().clone());
    let (size_rw, size_root_fs) = match sizes {
        SizeCount::Counted => sizes_of(usnea, container, &spec),
        SizeCount::Unknown => (None, None),
    };
    let graph_driver = graph_driver(&spec, &status);
    Ok(ContainerDocument {
        id: record.id.to_string(),
        created: record.created.to_string(),
        path: path.cloned().unwrap_or_default(),
        args: arguments.map(<[String]>::to_vec).unwrap_or_default(),
        state: self::state(container, &status, &spec),
        image: image_id(record, &spec)?,
        image_digest: image_digest(container),
        image_name: record.image.clone(),
        rootfs: root_directory(record, &spec),
        resolv_conf_path: mounts::file_at(&spec, &status, "/etc/resolv.conf"),
        hostname_path: mounts::file_at(&spec, &status, "/etc/hostname"),
        hosts_path: mounts::file_at(&spec, &status, "/etc/hosts"),
        log_path: log_path(container),
        log_tag: record.log.tag.clone().unwrap_or_default(),
        static_dir: container.folder.clone(),
        oci_config_path: container.folder.join(CONFIG),
        oci_runtime: "usnea",
        pid_file: shown(record.pidfile.as_deref()),
        name: format!("/{}", record.name),
        pod: record.pod.clone().unwrap_or_default(),
        restart_count: state.map_or(0, |state| state.restarts),
        driver: graph_driver.name,
        platform: "linux",
        effective_caps: set_of(capabilities.as_ref(), LinuxCapabilities::effective),
        bounding_caps: set_of(capabilities.as_ref(), LinuxCapabilities::bounding),
        host_config: host_config::host_config(record, &spec, &volumes),
        graph_driver,
        size_rw,
        size_root_fs,
        mounts: mounts::mounts(&spec, &volumes),
        dependencies: record.requires.iter().map(ToString::to_string).collect(),
        exec_ids: match status.is_running() {
            true => exec_ids(container),
            false => Vec::new(),
        },
        network_settings: network::settings(container, &spec, &status)?,
        config: config(record, &spec, &volumes),
        ..ContainerDocument::default()
    })
}

/// Returns the ID of the image; for one in a single file, the path of that file.
fn image_id(record: &Record, spec: &Spec) -> Result<String> {
    Ok(match image_file(spec)? {
        Some(file) => file.path.display().to_string(),
        None => record.image_id.clone().unwrap_or_default(),
    })
}

/// Returns the path as text; empty where there is none.
fn shown(path: Option<&Path>) -> String {
    path.map(|path| path.display().to_string()).unwrap_or_default()
}

fn root_mount(spec: &Spec) -> Option<&Mount> {
    spec.mounts().iter().flatten().find(|mount| mount.destination() == Path::new("/"))
}

/// Returns the directory that is the container's root; empty for a root that consists of layers.
fn root_directory(record: &Record, spec: &Spec) -> String {
    let is_directory = record.image_id.is_none() && root_mount(spec).is_none();
    let root = spec.root().as_ref().filter(|_| is_directory);
    shown(root.map(|root| root.path().as_path()))
}

fn graph_driver(spec: &Spec, status: &Status) -> GraphDriver {
    let Some(root) = root_mount(spec) else { return GraphDriver::default() };
    let driver = root.typ().as_deref().and_then(StorageDriver::of_mount_type);
    GraphDriver { name: driver.map_or("", StorageDriver::name), data: mounts::layers(root, status) }
}

/// Returns the size of the container's folder, and that size plus the lower layers', in bytes. `None`: unknown.
fn sizes_of(usnea: &Usnea, container: &Container, spec: &Spec) -> (Option<u64>, Option<u64>) {
    let written = super::size(container);
    let below = ContainerLayers::of(usnea, container, spec).ok().map(|layers| {
        let size = |lower: &LayerSource| match lower.path.metadata() {
            Ok(file) if file.is_file() => file.len(),
            _ => super::folder_size(&lower.path),
        };
        layers.lowers.iter().map(size).sum::<u64>()
    });
    (Some(written), below.map(|below| below + written))
}

fn image_digest(container: &Container) -> String {
    let manifest = std::fs::read_link(container.folder.join(USED)).ok();
    let named = |blob: &Path| {
        let algorithm = blob.parent()?.file_name()?.to_str()?.to_owned();
        Some(format!("{algorithm}:{}", blob.file_name()?.to_str()?))
    };
    manifest.as_deref().and_then(named).unwrap_or_default()
}

/// Returns a set of capabilities as names, sorted: `CAP_CHOWN`, ...
fn set_of(
    capabilities: Option<&LinuxCapabilities>,
    of: fn(&LinuxCapabilities) -> &Option<Capabilities>,
) -> Vec<String> {
    let set = capabilities.into_iter().flat_map(|all| of(all).iter().flatten());
    let mut names: Vec<String> = set.map(|capability| format!("CAP_{capability}")).collect();
    names.sort();
    names
}

fn log_path(container: &Container) -> String {
    match container.record.log.driver {
        LogDriver::File => container.folder.join(crate::monitor::log::FILE).display().to_string(),
        _ => String::new(),
    }
}

fn state(container: &Container, status: &Status, spec: &Spec) -> StateDocument {
    let time = |time: Option<Timestamp>| {
        time.map_or_else(|| ZERO_TIME.to_owned(), |time| time.to_string())
    };
    let exit = status.exit();
    let state = status.state();
    let started = state.map(|state| state.started).or(exit.and_then(|exit| exit.started));
    let runs = status.is_running();
    let monitor = state.map_or(0, |state| state.monitor.pid);
    StateDocument {
        oci_version: spec.version().clone(),
        status: status.word(),
        running: runs,
        paused: matches!(status, Status::Paused(_)),
        restarting: matches!(status, Status::Restarting(..)),
        oom_killed: exit.is_some_and(|exit| exit.oom),
        dead: false,
        pid: state.filter(|_| runs).map_or(0, |state| state.process.pid),
        monitor_pid: monitor,
        conmon_pid: monitor,
        exit_code: exit.map_or(0, |exit| exit.status),
        error: exit
            .and_then(|exit| exit.reason.clone())
            .or_else(|| state.and_then(|state| state.trouble.clone().or(state.offline.clone())))
            .unwrap_or_default(),
        started_at: time(started),
        finished_at: time(exit.map(|exit| exit.finished)),
        health: health(container, status).map(|report| HealthDocument {
            status: report.health.word(),
            failing_streak: report.streak,
            log: report.checks,
        }),
        cgroup_path: state
            .and_then(|state| state.cgroup.as_ref())
            .map(|cgroup| cgroup.display().to_string())
            .unwrap_or_default(),
        stopped_by_user: container.folder.join(STOPPED).exists(),
    }
}

/// Returns the health. For an ended container these are the results of its last run, as in docker.
fn health(container: &Container, status: &Status) -> Option<HealthReport> {
    let has_check = container.record.health.as_ref().is_some_and(|check| check.is_on());
    match status.is_running() {
        true => super::health(container, status),
        false => {
            record::read_if_whole(&container.folder, HEALTH).ok().flatten().filter(|_| has_check)
        }
    }
}

fn secret(secret: &RecordedSecret) -> ContainerSecretDocument {
    let (uid, gid, mode) = match secret.form {
        SecretForm::Mount { uid, gid, mode, .. } => (uid, gid, mode),
        SecretForm::Env { .. } => (0, 0, 0),
    };
    let (id, name) = (secret.id.clone(), secret.name.to_string());
    ContainerSecretDocument { name, id, uid, gid, mode }
}

fn config(record: &Record, spec: &Spec, volumes: &[MountedVolume]) -> ConfigDocument {
    let process = spec.process().as_ref();
    let user = process.map(|process| format!("{}:{}", process.user().uid(), process.user().gid()));
    let (entrypoint, cmd) = record.entrypoint_and_cmd();
    let annotations: BTreeMap<String, String> =
        spec.annotations().clone().unwrap_or_default().into_iter().collect();
    let is_systemd = annotations.contains_key(SYSTEMD);
    let volumes = volumes.iter().map(|used| used.destination.display().to_string());
    let umask = process.and_then(|process| process.user().umask()).unwrap_or(0o022);
    let asked_mac = record.network.attachments.iter().find_map(|one| one.mac);
    ConfigDocument {
        hostname: spec.hostname().clone().unwrap_or_default(),
        domainname: spec.domainname().clone().unwrap_or_default(),
        user: user.unwrap_or_default(),
        attach_stdin: record.attach.contains(&Stream::Stdin),
        attach_stdout: record.attach.contains(&Stream::Stdout),
        attach_stderr: record.attach.contains(&Stream::Stderr),
        exposed_ports: network::exposed(&record.network),
        tty: record.terminal,
        open_stdin: record.input != Input::Closed,
        stdin_once: record.input == Input::Once,
        env: process.and_then(|process| process.env().clone()).unwrap_or_default(),
        cmd: cmd.to_vec(),
        healthcheck: record.health.clone(),
        healthcheck_on_failure_action: match record.health_on_failure {
            OnFailure::None => "none",
            OnFailure::Kill => "kill",
            OnFailure::Restart => "restart",
            OnFailure::Stop => "stop",
        },
        startup_health_check: record.startup.clone(),
        health_log_destination: match &record.health_log.folder {
            Some(folder) => folder.display().to_string(),
            None => "local".to_owned(),
        },
        healthcheck_max_log_count: record.health_log.max_count.unwrap_or(KEPT),
        healthcheck_max_log_size: record.health_log.max_size.unwrap_or(OUTPUT),
        image: record.image.clone(),
        volumes: volumes.map(|path| (path, Nothing {})).collect(),
        working_dir: process.map(|process| process.cwd().clone()).unwrap_or_default(),
        entrypoint: entrypoint.to_vec(),
        on_build: Vec::new(),
        mac_address: asked_mac.map(|mac| mac.to_string()).unwrap_or_default(),
        labels: record.labels.clone(),
        annotations,
        stop_signal: signal::name(record.stop_signal),
        // docker's -1 is no limit.
        stop_timeout: i64::try_from(record.stop_timeout).unwrap_or(-1),
        create_command: record.create_command.clone(),
        secrets: record.secrets.iter().map(secret).collect(),
        systemd_mode: is_systemd,
        umask: format!("{umask:04o}"),
        timezone: String::new(),
        timeout: record.timeout,
        passwd: true,
        sd_notify_mode: record.notify.word(),
    }
}
