//! Row of `usnea ps`: docker's fields, and those that podman adds.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::amount;
use crate::container::{self, Container};
use crate::forward;
use crate::monitor::Status;
use crate::monitor::health::Health;

/// Go's zero time, in seconds since 1970.
const NEVER: i64 = -62_135_596_800;
/// Width of a command (docker's).
const COMMAND: usize = 20;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Row {
    #[serde(rename = "ID")]
    pub id: String,
    /// ID in podman's spelling: always whole.
    #[serde(rename = "Id")]
    whole_id: String,
    image: String,
    #[serde(rename = "ImageID")]
    image_id: String,
    command: String,
    created: String,
    created_at: String,
    created_human: String,
    running_for: String,
    started_at: i64,
    status: String,
    state: &'static str,
    exited: bool,
    exited_at: i64,
    exit_code: u8,
    ports: String,
    exposed_ports: String,
    names: String,
    labels: String,
    /// Labels as a map, for `.Label "NAME"` (`format::LABELS`).
    #[serde(rename = " Labels")]
    label_map: BTreeMap<String, String>,
    pub mounts: String,
    networks: String,
    pub local_volumes: String,
    /// Disk space of the container; empty unless requested, because counting reads all files.
    pub size: String,
    pid: i32,
    restarts: u32,
    auto_remove: bool,
    #[serde(rename = "CIDFile")]
    cid_file: String,
    is_infra: bool,
    pod: String,
    pod_name: String,
    namespaces: Namespaces,
    #[serde(flatten)]
    own_namespaces: Namespaces,
}

/// Namespaces of a running container, by their numbers.
#[derive(Clone, Default, Serialize)]
pub struct Namespaces {
    #[serde(rename = "CGROUPNS")]
    cgroup: String,
    #[serde(rename = "IPC")]
    ipc: String,
    #[serde(rename = "MNT")]
    mount: String,
    #[serde(rename = "NET")]
    network: String,
    #[serde(rename = "PIDNS")]
    pid: String,
    #[serde(rename = "USERNS")]
    user: String,
    #[serde(rename = "UTS")]
    uts: String,
}

impl Namespaces {
    /// Fields of namespaces that templates may use.
    pub const FIELDS: [&str; 8] =
        ["Namespaces", "CGROUPNS", "IPC", "MNT", "NET", "PIDNS", "USERNS", "UTS"];

    fn of(pid: i32) -> Self {
        let number = |kind: &str| {
            let link = std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap_or_default();
            let text = link.to_string_lossy();
            text.chars().filter(char::is_ascii_digit).collect::<String>()
        };
        Self {
            cgroup: number("cgroup"),
            ipc: number("ipc"),
            mount: number("mnt"),
            network: number("net"),
            pid: number("pid"),
            user: number("user"),
            uts: number("uts"),
        }
    }
}

impl Row {
    /// Makes the row of a container. `is_whole`: IDs and commands are not cut.
    pub fn of(container: &Container, status: &Status, now: Timestamp, is_whole: bool) -> Self {
        let record = &container.record;
        let labels = record.labels.iter().map(|(key, value)| format!("{key}={value}"));
        let (exit, state) = (status.exit(), status.state());
        let started = state.map(|state| state.started).or(exit.and_then(|exit| exit.started));
        let seconds = |time: Option<Timestamp>| time.map_or(NEVER, |time| time.as_second());
        let published = record.network.forwards.iter().map(forward::Forward::container_end);
        let exposed = record.network.exposed.iter().cloned().chain(published);
        Self {
            whole_id: record.id.clone(),
            id: if is_whole { record.id.clone() } else { container.short_id().to_owned() },
            image: record.image.clone(),
            image_id: record.image_id.clone().unwrap_or_default(),
            command: command(&record.command, is_whole),
            created: record.created.to_string(),
            created_at: record.created.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string(),
            created_human: amount::ago(record.created, now),
            running_for: amount::ago(record.created, now),
            started_at: seconds(started),
            status: told(container, status, now),
            state: status.word(),
            exited: matches!(status, Status::Exited(_)),
            exited_at: seconds(exit.map(|exit| exit.finished)),
            exit_code: exit.map_or(0, |exit| exit.status),
            ports: match status.is_running() {
                true => forward::shown(&record.network.forwards),
                false => String::new(),
            },
            exposed_ports: exposed.collect::<Vec<_>>().join(", "),
            names: record.name.clone(),
            labels: labels.collect::<Vec<_>>().join(","),
            label_map: record.labels.clone(),
            mounts: String::new(),
            networks: record.network.word().to_owned(),
            local_volumes: String::new(),
            size: String::new(),
            pid: state.filter(|_| status.is_running()).map_or(0, |state| state.process.pid),
            restarts: state.map_or(0, |state| state.restarts),
            auto_remove: record.auto_remove,
            cid_file: record
                .cidfile
                .as_ref()
                .map(|path| path.display().to_string())
                .unwrap_or_default(),
            is_infra: false,
            pod: String::new(),
            pod_name: String::new(),
            namespaces: Namespaces::default(),
            own_namespaces: Namespaces::default(),
        }
    }

    /// Looks up the namespaces of a running container.
    pub fn show_namespaces(&mut self, status: &Status) {
        let is_here = status.is_running() && status.elsewhere().is_none();
        if let Some(state) = status.state().filter(|_| is_here) {
            self.namespaces = Namespaces::of(state.process.pid);
            self.own_namespaces = self.namespaces.clone();
        }
    }
}

fn command(words: &[String], is_whole: bool) -> String {
    // Quoted as in docker: a command cannot steer the terminal, whatever the template.
    let quoted = |c: char| match c {
        '"' | '\\' => format!("\\{c}"),
        c if c.is_control() => c.escape_debug().to_string(),
        c => c.to_string(),
    };
    let words = shortened(&words.join(" "), if is_whole { usize::MAX } else { COMMAND });
    format!("\"{}\"", words.chars().map(quoted).collect::<String>())
}

/// Cuts the text to at most `widest` characters.
pub fn shortened(text: &str, widest: usize) -> String {
    match text.chars().count() > widest {
        true => text.chars().take(widest - 1).chain(['…']).collect(),
        false => text.to_owned(),
    }
}

/// Returns docker's words for a status.
fn told(container: &Container, status: &Status, now: Timestamp) -> String {
    match status {
        Status::Created => "Created".into(),
        Status::Running(state) | Status::Paused(state) => {
            let up = now.duration_since(state.started);
            let health = container::health(container, status).map(|told| match told.health {
                Health::Starting => " (health: starting)".to_owned(),
                health => format!(" ({})", health.word()),
            });
            let up = amount::duration(up.try_into().unwrap_or_default());
            let paused = if matches!(status, Status::Paused(_)) { " (Paused)" } else { "" };
            let on = status.elsewhere().map(|host| format!(" on {host}")).unwrap_or_default();
            format!("Up {up}{on}{}{paused}", health.unwrap_or_default())
        }
        Status::Restarting(_, exit) => {
            format!("Restarting ({}) {}", exit.status, amount::ago(exit.finished, now))
        }
        Status::Exited(exit) => {
            format!("Exited ({}) {}", exit.status, amount::ago(exit.finished, now))
        }
    }
}
