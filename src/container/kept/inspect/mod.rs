//! `usnea inspect` of a container: docker's shape where docker has the field.

mod host_config;
mod network;

use std::path::Path;

use jiff::Timestamp;
use oci_spec::runtime::{Mount, Spec};
use serde_json::{Map, Value, json};

use super::super::volumes::{self, Used};
use super::Kept;
use crate::error::Result;
use crate::monitor::Status;
use crate::monitor::record::{self, CONFIG, Input, LogDriver, Record, STATE, State};
use crate::spec::StorageDriver;
use crate::sys::signal;

/// Go's zero time: it never happened.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// All that is known of it.
pub fn inspect(kept: &Kept) -> Result<Value> {
    let record = &kept.record;
    let status = kept.status()?;
    let spec = kept.spec_if_any()?.unwrap_or_default();
    let volumes = volumes::used_by(kept)?;
    let root = spec.mounts().iter().flatten().find(|mount| mount.destination() == Path::new("/"));
    let kind = root.and_then(|root| root.typ().as_deref());
    let driver = kind.and_then(StorageDriver::of_mount_type).map_or("", StorageDriver::name);
    let (path, arguments) = match record.command.split_first() {
        Some((path, arguments)) => (path.as_str(), arguments),
        None => ("", &[][..]),
    };
    let restarts =
        record::read_if_whole::<State>(&kept.folder, STATE)?.map_or(0, |state| state.restarts);
    Ok(json!({
        "Id": record.id,
        "Created": record.created,
        "Path": path,
        "Args": arguments,
        "State": state(kept, &status),
        "Image": record.image_id.as_deref().unwrap_or_default(),
        "ImageName": record.image,
        "Name": format!("/{}", record.name),
        "RestartCount": restarts,
        "Driver": driver,
        "Platform": "linux",
        "LogPath": log_path(kept),
        "HostConfig": host_config::host_config(record, &spec, &volumes),
        "GraphDriver": { "Name": driver, "Data": root.map(layers).unwrap_or_default() },
        "Mounts": mounts(&spec, &volumes),
        "Config": config(record, &spec),
        "NetworkSettings": network::settings(&record.network)?,
        "OCIConfigPath": kept.folder.join(CONFIG),
    }))
}

fn log_path(kept: &Kept) -> String {
    match kept.record.log.driver {
        LogDriver::File => kept.folder.join(crate::monitor::log::FILE).display().to_string(),
        _ => String::new(),
    }
}

fn state(kept: &Kept, status: &Status) -> Value {
    let time =
        |time: Option<Timestamp>| time.map_or_else(|| NEVER.to_owned(), |time| time.to_string());
    let exit = status.exit();
    let state = status.state();
    let started = state.map(|state| state.started).or(exit.and_then(|exit| exit.started));
    let runs = status.is_running();
    json!({
        "Status": status.word(),
        "Running": runs,
        "Paused": matches!(status, Status::Paused(_)),
        "Restarting": matches!(status, Status::Restarting(..)),
        "OOMKilled": exit.is_some_and(|exit| exit.oom),
        "Dead": false,
        "Pid": state.filter(|_| runs).map_or(0, |state| state.process.pid),
        "MonitorPid": state.map_or(0, |state| state.monitor.pid),
        "ExitCode": exit.map_or(0, |exit| exit.status),
        "Error": exit
            .and_then(|exit| exit.reason.clone())
            .or_else(|| state.and_then(|state| state.trouble.clone()))
            .unwrap_or_default(),
        "StartedAt": time(started),
        "FinishedAt": time(exit.map(|exit| exit.finished)),
        "Health": health(kept, status),
    })
}

/// null where there is nothing to tell of.
fn health(kept: &Kept, status: &Status) -> Value {
    super::health(kept, status).map_or(Value::Null, |told| {
        json!({
            "Status": told.health.word(),
            "FailingStreak": told.streak,
            "Log": told.checks,
        })
    })
}

fn of_user(mounts: Option<&Vec<Mount>>) -> impl Iterator<Item = &Mount> {
    // The system's own are below these, which nobody asks for.
    let is_own = |mount: &&Mount| {
        let own = ["/", "/proc", "/sys", "/dev"]
            .iter()
            .any(|path| mount.destination() == Path::new(path));
        !own && !mount.destination().starts_with("/dev") && !mount.destination().starts_with("/sys")
    };
    mounts.into_iter().flatten().filter(is_own)
}

/// What a user mounted into a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountedHere {
    /// The name of a volume, the path of what else was bound; the file system of what has no source.
    pub name: String,
    /// Whether it is a volume.
    pub is_volume: bool,
}

/// What a user mounted into a container, in the order of its configuration. Errors: its configuration is damaged.
pub fn mounted(kept: &Kept) -> Result<Vec<MountedHere>> {
    let spec = kept.spec_if_any()?.unwrap_or_default();
    let volumes = volumes::used_by(kept)?;
    let mounted = |mount: &Mount| {
        let volume = volumes.iter().find(|used| used.destination == *mount.destination());
        let source = || mount.source().as_ref().map(|source| source.display().to_string());
        MountedHere {
            name: volume.map(|used| used.name.to_string()).or_else(source).unwrap_or_default(),
            is_volume: volume.is_some(),
        }
    };
    Ok(of_user(spec.mounts().as_ref()).map(mounted).collect())
}

fn mounts(spec: &Spec, volumes: &[Used]) -> Value {
    let mount = |mount: &Mount| {
        let options = mount.options().clone().unwrap_or_default();
        let kind = match mount.typ().as_deref() {
            Some("tmpfs") => "tmpfs",
            Some("overlay") => "overlay",
            _ => "bind",
        };
        let propagation = ["rprivate", "private", "rslave", "slave", "rshared", "shared"]
            .into_iter()
            .find(|word| options.iter().any(|option| option == word));
        let volume = volumes.iter().find(|used| used.destination == *mount.destination());
        let mut document = json!({
            "Type": if volume.is_some() { "volume" } else { kind },
            "Source": mount.source(),
            "Destination": mount.destination(),
            "Mode": "",
            "RW": !options.iter().any(|option| option == "ro" || option == "rro"),
            "Propagation": propagation.unwrap_or_default(),
        });
        if let (Some(volume), Some(fields)) = (volume, document.as_object_mut()) {
            fields.insert("Name".to_owned(), json!(volume.name.as_str()));
            fields.insert("Driver".to_owned(), json!("local"));
        }
        document
    };
    of_user(spec.mounts().as_ref()).map(mount).collect()
}

/// The layers of a root, in docker's names.
fn layers(root: &Mount) -> Map<String, Value> {
    let mut layers = Map::new();
    for option in root.options().iter().flatten() {
        for (key, name) in
            [("lowerdir=", "LowerDir"), ("upperdir=", "UpperDir"), ("workdir=", "WorkDir")]
        {
            layers.extend(option.strip_prefix(key).map(|value| (name.to_owned(), json!(value))));
        }
    }
    layers
}

fn config(record: &Record, spec: &Spec) -> Value {
    let process = spec.process().as_ref();
    let user = process.map(|process| format!("{}:{}", process.user().uid(), process.user().gid()));
    json!({
        "Hostname": spec.hostname().clone().unwrap_or_default(),
        "Domainname": spec.domainname().clone().unwrap_or_default(),
        "User": user.unwrap_or_default(),
        "Tty": record.terminal,
        "OpenStdin": record.input != Input::Closed,
        "StdinOnce": record.input == Input::Once,
        "Env": process.and_then(|process| process.env().clone()).unwrap_or_default(),
        "Cmd": record.command,
        "Image": record.image,
        "WorkingDir": process.map(|process| process.cwd().clone()).unwrap_or_default(),
        "Labels": record.labels,
        "StopSignal": signal::name(record.stop_signal),
        "StopTimeout": record.stop_timeout,
        "Healthcheck": record.health,
        "ExposedPorts": network::exposed(&record.network),
        "CreateCommand": record.create_command,
    })
}
