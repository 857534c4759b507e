//! `usnea ps`: lists containers, and makes their rows.

use std::path::Path;

use jiff::Timestamp;

use super::inspect::{UserMount, mounted};
use super::pods::name_of;
use super::ports::Ipv6Listeners;
use super::{Container, ContainerFilter, Usnea, all_in, health, size};
use crate::amount;
use crate::documents::container_row::{ContainerRow, NamespaceIds};
use crate::documents::go::ZERO_SECONDS;
use crate::documents::text::{self, Truncation};
use crate::error::Result;
use crate::forward::{self, Forward};
use crate::monitor::Status;
use crate::monitor::health::Health;
use crate::object_id::short;

/// Width of a command (docker's).
const COMMAND: usize = 20;
/// Width of a mount's name (docker's).
const MOUNT: usize = 15;

/// Selection, order and content of a list of containers.
#[derive(Clone, Debug, Default)]
pub struct ListContainers {
    /// Filters. Each container must match them.
    pub filters: Vec<ContainerFilter>,
    /// States of the containers.
    pub states: ListedStates,
    /// Number of the last created containers to list, in any state; `None`: no limit.
    pub last: Option<usize>,
    /// Order of the list.
    pub order: ContainerOrder,
    /// True if the disk space of each container is counted, which reads all its folders.
    pub sizes: bool,
    /// True if the mounts of each container are read from its config.json.
    pub mounts: bool,
    /// True if the namespaces of running containers are looked up.
    pub namespaces: bool,
}

/// States of listed containers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListedStates {
    /// Containers that run, or are paused or restarting. Includes ended ones if a filter is about those.
    #[default]
    Active,
    /// Containers in any state.
    All,
}

/// Order of listed containers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ContainerOrder {
    /// The newest first.
    #[default]
    Newest,
    /// The oldest first.
    Oldest,
    /// By command.
    Command,
    /// By ID.
    Id,
    /// By the name of the image.
    Image,
    /// By name.
    Name,
    /// The smallest first.
    Size,
    /// By state, in docker's words.
    Status,
}

/// Container of a list.
#[derive(Clone, Debug)]
pub struct ListedContainer {
    /// Container itself.
    pub container: Container,
    /// State of the container.
    pub status: Status,
    /// Disk space of the container in bytes; `None`: not counted.
    pub size: Option<u64>,
    /// Mounts of the user; `None`: not read.
    pub mounts: Option<Vec<UserMount>>,
    /// Namespaces; `None`: not looked up, or the container does not run on this machine.
    pub namespaces: Option<NamespaceIds>,
    /// Published ports, as docker lists them.
    pub ports: Vec<Forward>,
}

/// Lists containers. Leaves out a container whose state cannot be read, with a warning.
pub fn list(usnea: &Usnea, request: &ListContainers) -> Result<Vec<ListedContainer>> {
    let is_about_ended = request.filters.iter().any(ContainerFilter::is_about_ended);
    let states = match request.states {
        ListedStates::Active if request.last.is_none() && !is_about_ended => ListedStates::Active,
        _ => ListedStates::All,
    };
    let mut listed = listed(usnea.store()?, &request.filters, states)?;
    if let Some(last) = request.last {
        listed.truncate(last);
    }
    sort(&mut listed, request.order);
    for one in &mut listed {
        one.size = request.sizes.then(|| size(&one.container));
        if request.mounts {
            one.mounts = Some(mounted(&one.container)?);
        }
        if request.namespaces {
            one.namespaces = namespaces_of(&one.status);
        }
    }
    Ok(listed)
}

fn listed(
    store: &Path,
    filters: &[ContainerFilter],
    states: ListedStates,
) -> Result<Vec<ListedContainer>> {
    let mut listed = Vec::new();
    let listeners = Ipv6Listeners::default();
    for container in all_in(store)? {
        let status = match container.status() {
            Ok(status) => status,
            Err(error) => {
                log::warn!("container {}: {error}", container.short_id());
                continue;
            }
        };
        if (states == ListedStates::All || status.state().is_some())
            && ContainerFilter::fit(filters, &container, &status)?
        {
            let (size, mounts, namespaces) = (None, None, None);
            let ports = listeners.shown(&container, &status);
            listed.push(ListedContainer { container, status, size, mounts, namespaces, ports });
        }
    }
    Ok(listed)
}

/// Returns all containers that match the filters, in any state, the newest first.
pub fn fitting(usnea: &Usnea, filters: &[ContainerFilter]) -> Result<Vec<Container>> {
    let store = usnea.store()?;
    let mut fitting = Vec::new();
    for container in all_in(store)? {
        if filters.is_empty() || ContainerFilter::fit(filters, &container, &container.status()?)? {
            fitting.push(container);
        }
    }
    Ok(fitting)
}

fn sort(listed: &mut [ListedContainer], order: ContainerOrder) {
    let text = |listed: &ListedContainer| match order {
        ContainerOrder::Command => listed.container.record.command.join(" "),
        ContainerOrder::Id => listed.container.record.id.to_string(),
        ContainerOrder::Image => listed.container.record.image.clone(),
        ContainerOrder::Name => listed.container.record.name.clone(),
        _ => listed.status.word().to_owned(),
    };
    match order {
        ContainerOrder::Newest => {}
        ContainerOrder::Oldest => listed.sort_by_key(|listed| listed.container.record.created),
        ContainerOrder::Size => listed.sort_by_cached_key(|listed| size(&listed.container)),
        _ => listed.sort_by_cached_key(text),
    }
}

/// Looks up the namespaces of a container that runs on this machine.
fn namespaces_of(status: &Status) -> Option<NamespaceIds> {
    let is_here = status.is_running() && status.elsewhere().is_none();
    let pid = status.state().filter(|_| is_here)?.process.pid;
    let number = |kind: &str| {
        let link = std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap_or_default();
        let text = link.to_string_lossy();
        text.chars().filter(char::is_ascii_digit).collect::<String>()
    };
    Some(NamespaceIds {
        cgroup: number("cgroup"),
        ipc: number("ipc"),
        mount: number("mnt"),
        network: number("net"),
        pid: number("pid"),
        user: number("user"),
        uts: number("uts"),
    })
}

impl ListedContainer {
    /// Returns the row of a table, at the time `now`.
    pub fn row(&self, now: Timestamp, truncation: Truncation) -> ContainerRow {
        let (container, status) = (&self.container, &self.status);
        let record = &container.record;
        let labels = record.labels.iter().map(|(key, value)| format!("{key}={value}"));
        let (exit, state) = (status.exit(), status.state());
        let started = state.map(|state| state.started).or(exit.and_then(|exit| exit.started));
        let seconds = |time: Option<Timestamp>| time.map_or(ZERO_SECONDS, |time| time.as_second());
        let cidfile = record.cidfile.as_ref().map(|path| path.display().to_string());
        let namespaces = self.namespaces.clone().unwrap_or_default();
        ContainerRow {
            id: match truncation {
                Truncation::On => container.short_id().to_owned(),
                Truncation::Off => record.id.to_string(),
            },
            whole_id: record.id.to_string(),
            image: record.image.clone(),
            image_id: record.image_id.clone().unwrap_or_default(),
            command: command(&record.command, truncation),
            created: record.created.to_string(),
            created_at: text::time(record.created),
            created_human: amount::ago(record.created, now),
            running_for: amount::ago(record.created, now),
            started_at: seconds(started),
            status: status_text(container, status, now),
            state: status.word(),
            exited: matches!(status, Status::Exited(_)),
            exited_at: seconds(exit.map(|exit| exit.finished)),
            exit_code: exit.map_or(0, |exit| exit.status),
            ports: match status.is_running() {
                true => forward::shown(&self.ports),
                false => String::new(),
            },
            exposed_ports: exposed_ports(container),
            names: record.name.clone(),
            labels: labels.collect::<Vec<_>>().join(","),
            label_map: record.labels.clone(),
            mounts: self.mount_names(truncation),
            networks: record.network.names().join(","),
            local_volumes: self.volume_count(),
            size: self.size.map(amount::size).unwrap_or_default(),
            pid: state.filter(|_| status.is_running()).map_or(0, |state| state.process.pid),
            restarts: state.map_or(0, |state| state.restarts),
            auto_remove: record.auto_remove,
            cid_file: cidfile.unwrap_or_default(),
            pod_name: record
                .pod
                .as_deref()
                .map(|pod| name_of(&container.store, pod))
                .unwrap_or_default(),
            pod: record.pod.as_deref().map_or_else(String::new, |pod| match truncation {
                Truncation::On => short(pod).to_owned(),
                Truncation::Off => pod.to_owned(),
            }),
            namespaces: namespaces.clone(),
            own_namespaces: namespaces,
            ..ContainerRow::default()
        }
    }

    fn mount_names(&self, truncation: Truncation) -> String {
        let mounts = self.mounts.iter().flatten();
        let names = mounts.map(|mounted| truncation.text(&mounted.name, MOUNT));
        names.collect::<Vec<_>>().join(",")
    }

    /// Returns the number of volumes; empty where the mounts were not read.
    fn volume_count(&self) -> String {
        let count = |mounts: &Vec<UserMount>| mounts.iter().filter(|one| one.is_volume).count();
        self.mounts.as_ref().map(|mounts| count(mounts).to_string()).unwrap_or_default()
    }
}

fn exposed_ports(container: &Container) -> String {
    let network = &container.record.network;
    let published = network.forwards.iter().map(Forward::container_end);
    let exposed = network.exposed.iter().cloned().chain(published);
    exposed.collect::<Vec<_>>().join(", ")
}

fn command(words: &[String], truncation: Truncation) -> String {
    // Quoted as in docker: a command cannot send escape sequences to the terminal.
    let quoted = |c: char| match c {
        '"' | '\\' => format!("\\{c}"),
        c if c.is_control() => c.escape_debug().to_string(),
        c => c.to_string(),
    };
    let words = truncation.text(&words.join(" "), COMMAND);
    format!("\"{}\"", words.chars().map(quoted).collect::<String>())
}

/// Returns the status as docker's text, such as `Up 5 minutes (healthy)`.
fn status_text(container: &Container, status: &Status, now: Timestamp) -> String {
    match status {
        Status::Created => "Created".into(),
        Status::Running(state) | Status::Paused(state) => {
            let up = now.duration_since(state.started);
            let health = health(container, status).map(|report| match report.health {
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
