//! `usnea stats`: resource usage of containers, once or repeatedly.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use super::sample::Sample;
use super::{Container, Usnea, all_in, find_id_in, processes};
use crate::amount;
use crate::documents::text::Truncation;
use crate::documents::usage::{PodStatsRow, StatsRow};
use crate::error::{Error, Result};
use crate::fail;
use crate::object_id::ContainerId;

/// Time between the two samples for a single output: processor usage is computed from two samples.
const FIRST_INTERVAL: Duration = Duration::from_millis(500);

/// Selection of containers, which is evaluated again for each sample.
#[derive(Clone, Debug)]
pub enum StatsScope {
    /// All running containers.
    Running,
    /// All containers.
    All,
    /// Container that was created last.
    Latest,
    /// Containers with these names or IDs, which must be running at the beginning.
    Named(Vec<String>),
    /// Running containers of the pods with these IDs; `None`: of all pods.
    Pods(Option<Vec<String>>),
}

/// Containers to sample, and the interval.
#[derive(Clone, Debug)]
pub struct StatsRequest {
    /// Selection of containers.
    pub scope: StatsScope,
    /// Time between samples; `None`: a single output.
    pub interval: Option<Duration>,
}

/// Resource usage of a container.
#[derive(Clone, Debug)]
pub struct ContainerStats {
    /// Container itself.
    pub container: Container,
    /// Last sample; `None`: the container does not run on this machine.
    pub sample: Option<Sample>,
    /// Processor usage since the previous sample, in percent; `None`: no previous sample.
    pub cpu_percent: Option<f64>,
}

type Samples = HashMap<ContainerId, Sample>;

/// Passes the resource usage of the containers to `each`, until that returns `Break`, or once without an interval.
/// Errors: a named container does not exist, or does not run at the beginning.
pub fn stats(
    usnea: &Usnea,
    request: &StatsRequest,
    mut each: impl FnMut(&[ContainerStats]) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let store = usnea.store()?;
    refuse_stopped(store, &request.scope)?;
    let mut before = samples(&selected(store, &request.scope)?)?;
    loop {
        std::thread::sleep(request.interval.unwrap_or(FIRST_INTERVAL));
        let containers = selected(store, &request.scope)?;
        let now = samples(&containers)?;
        let stats = containers.into_iter().map(|container| {
            let sample = now.get(&container.record.id).copied();
            let previous = before.get(&container.record.id);
            let cpu_percent = sample.zip(previous).map(|(now, before)| now.cpu_percent(before));
            ContainerStats { container, sample, cpu_percent }
        });
        let stats: Vec<ContainerStats> = stats.collect();
        if each(&stats)?.is_break() || request.interval.is_none() {
            return Ok(());
        }
        before = now;
    }
}

fn refuse_stopped(store: &Path, scope: &StatsScope) -> Result<()> {
    for container in selected(store, scope)? {
        let status = container.status()?;
        if matches!(scope, StatsScope::Named(_)) && !status.is_running() {
            return Err(super::not_running(&container, &status, "start"));
        }
    }
    Ok(())
}

/// Returns the selected containers. Errors: a named container does not exist.
fn selected(store: &Path, scope: &StatsScope) -> Result<Vec<Container>> {
    let mut containers = match scope {
        StatsScope::Named(names) => return named(store, names),
        _ => all_in(store)?,
    };
    match scope {
        StatsScope::Running => containers
            .retain(|container| container.status().is_ok_and(|status| status.is_running())),
        StatsScope::Latest if containers.is_empty() => fail!(NotFound: "there is no container"),
        StatsScope::Latest => containers.truncate(1),
        StatsScope::Pods(pods) => containers.retain(|container| {
            let is_chosen = |pod: &String| pods.as_ref().is_none_or(|pods| pods.contains(pod));
            container.record.pod.as_ref().is_some_and(is_chosen)
                && container.status().is_ok_and(|status| status.is_running())
        }),
        StatsScope::All | StatsScope::Named(_) => {}
    }
    Ok(containers)
}

/// Returns the containers with these names. Errors: missing containers; all errors but the last are logged.
fn named(store: &Path, names: &[String]) -> Result<Vec<Container>> {
    let (mut ids, mut missing) = (Vec::new(), None::<Error>);
    for name in names {
        match find_id_in(store, name) {
            Ok(id) => ids.push((name, id)),
            Err(error) => {
                if let Some(error) = missing.replace(error) {
                    log::error!("{error}");
                }
            }
        }
    }
    if let Some(error) = missing {
        return Err(error.exit_status(1));
    }
    let open = |(name, id): &(&String, ContainerId)| {
        let gone = || Error::not_found(format!("container {name} is gone"));
        Container::open(store, id)?.ok_or_else(gone)
    };
    ids.iter().map(open).collect()
}

fn samples(containers: &[Container]) -> Result<Samples> {
    let mut samples = Samples::new();
    for container in containers {
        let status = container.status()?;
        let is_here = status.is_running() && status.elsewhere().is_none();
        if let Some(state) = status.state().filter(|_| is_here) {
            let sample = Sample::take(state, &processes(state));
            samples.insert(container.record.id.clone(), sample);
        }
    }
    Ok(samples)
}

impl ContainerStats {
    /// Returns the row of a table of pods.
    pub fn row_of_pod(&self, truncation: Truncation) -> PodStatsRow {
        let row = self.row(truncation);
        let pod = self.container.record.pod.as_deref().unwrap_or_default();
        PodStatsRow {
            pod: match truncation {
                Truncation::On => crate::object_id::short(pod).to_owned(),
                Truncation::Off => pod.to_owned(),
            },
            cid: row.id,
            name: row.name,
            cpu: row.cpu_perc,
            mem: row.mem_perc,
            mem_usage: row.mem_usage,
            mem_usage_bytes: row.mem_usage_bytes,
            net_io: row.net_io,
            block_io: row.block_io,
            pids: row.pids,
        }
    }

    /// Returns the row of a table.
    pub fn row(&self, truncation: Truncation) -> StatsRow {
        let container = &self.container;
        let nothing = || "--".to_owned();
        let mut row = StatsRow {
            container: container.record.name.clone(),
            id: match truncation {
                Truncation::On => container.short_id().to_owned(),
                Truncation::Off => container.record.id.to_string(),
            },
            name: container.record.name.clone(),
            cpu_perc: nothing(),
            mem_usage: "-- / --".into(),
            mem_perc: nothing(),
            net_io: "-- / --".into(),
            block_io: "-- / --".into(),
            pids: nothing(),
            pids_of_podman: nothing(),
            cpu: nothing(),
            mem_usage_bytes: "-- / --".into(),
            mem_limit: nothing(),
            cpu_pressure: nothing(),
            mem_pressure: nothing(),
            io_pressure: nothing(),
        };
        let Some(sample) = &self.sample else { return row };
        let pair =
            |first: u64, second: u64| format!("{} / {}", amount::size(first), amount::size(second));
        let limit = sample.memory_limit;
        if let Some(percent) = self.cpu_percent {
            row.cpu_perc = format!("{percent:.2}%");
            row.cpu.clone_from(&row.cpu_perc);
        }
        row.mem_usage = pair(sample.memory, limit);
        row.mem_perc = format!("{:.2}%", sample.memory as f64 / limit as f64 * 100.0);
        if let Some((received, sent)) = sample.network {
            row.net_io = pair(received, sent);
        }
        row.block_io = pair(sample.blocks.0, sample.blocks.1);
        row.pids = sample.tasks.to_string();
        row.pids_of_podman.clone_from(&row.pids);
        row.mem_usage_bytes = format!("{}B / {limit}B", sample.memory);
        row.mem_limit = amount::size(limit);
        let pressures = [&mut row.cpu_pressure, &mut row.mem_pressure, &mut row.io_pressure];
        for (cell, share) in pressures.into_iter().zip(sample.pressure) {
            share.into_iter().for_each(|share| *cell = format!("{share:.2}%"));
        }
        row
    }
}
