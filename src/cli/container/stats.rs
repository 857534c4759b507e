//! `usnea stats`: resources that containers use.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::selection::{self, Failures, Missing, Selection};
use crate::amount;
use crate::cli::format::{Format, Headings, Layout, render};
use crate::container::{self, Container, Sample, Samples, Usnea};
use crate::error::{Error, Result};
use crate::fail;
use crate::sys::signal;

/// Show resource usage of running containers
///
/// Shows processor, memory, network and disk usage, and repeats every second until interrupted. The figures come from the
/// kernel and cover the processes of each container; memory shared by several processes counts once.
#[derive(clap::Args)]
pub struct Arguments {
    /// Container names, or prefixes of container IDs. Default: all running containers.
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,

    /// Show all containers, not only running ones.
    #[arg(short, long, conflicts_with = "containers")]
    all: bool,

    /// Use the container that was created last.
    #[arg(short, long, conflicts_with_all = ["containers", "all"])]
    latest: bool,

    /// Print the figures once.
    #[arg(long)]
    no_stream: bool,

    /// Do not clear the terminal between samples.
    #[arg(long)]
    no_reset: bool,

    /// Do not truncate IDs.
    #[arg(long)]
    no_trunc: bool,

    /// Seconds between samples.
    #[arg(short, long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    interval: u32,

    /// json, table [TEMPLATE], or a Go template. Fields: .Container .ID .Name .CPUPerc .CPU .MemUsage
    /// .MemUsageBytes .MemLimit .MemPerc .NetIO .BlockIO .PIDs .PIDS
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    container: String,
    #[serde(rename = "ID")]
    id: String,
    name: String,
    #[serde(rename = "CPUPerc")]
    cpu_perc: String,
    mem_usage: String,
    mem_perc: String,
    #[serde(rename = "NetIO")]
    net_io: String,
    #[serde(rename = "BlockIO")]
    block_io: String,
    #[serde(rename = "PIDs")]
    pids: String,
    /// Number of processes in podman's spelling.
    #[serde(rename = "PIDS")]
    pids_of_podman: String,
    /// Share of a processor under podman's name: a copy of `CPUPerc`.
    #[serde(rename = "CPU")]
    cpu: String,
    /// Memory in bytes: podman's form of `MemUsage`.
    mem_usage_bytes: String,
    mem_limit: String,
}

const LAYOUT: Layout = Layout {
    table: "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}",
    headings: &[
        ("ID", "CONTAINER ID"),
        ("CPUPerc", "CPU %"),
        ("MemUsage", "MEM USAGE / LIMIT"),
        ("MemPerc", "MEM %"),
        ("NetIO", "NET I/O"),
        ("BlockIO", "BLOCK I/O"),
        ("PIDs", "PIDS"),
        ("PIDS", "PIDS"),
        ("CPU", "CPU %"),
    ],
};

/// Time between the two samples of a single output: a share of time needs time.
const GLANCE: Duration = Duration::from_millis(500);

/// Prints the statistics, once or again and again.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    signal::set_default(&[libc::SIGPIPE]);
    let store = usnea.store()?;
    for container in listed(arguments, &store)? {
        let status = container.status()?;
        if !arguments.containers.is_empty() && !status.is_running() {
            let error = format!(
                "container {} is not running: it is {}",
                container.record.name,
                status.word()
            );
            return Err(Error::new(error).hint(format!("usnea start {}", container.record.name)));
        }
    }
    let mut before = samples(&listed(arguments, &store)?)?;
    let clears = !arguments.no_stream && !arguments.no_reset && std::io::stdout().is_terminal();
    let interval = Duration::from_secs(arguments.interval.into());
    loop {
        std::thread::sleep(if arguments.no_stream { GLANCE } else { interval });
        let containers = listed(arguments, &store)?;
        let now = samples(&containers)?;
        let rows: Vec<Row> =
            containers.iter().map(|container| row(arguments, container, &before, &now)).collect();
        let format = arguments.format.clone().unwrap_or_default();
        let text = render(&format, &LAYOUT, Headings::Shown, &rows)?;
        let mut output = std::io::stdout().lock();
        let start = if clears { "\x1b[H\x1b[2J" } else { "" };
        let written = output.write_all(format!("{start}{text}").as_bytes());
        if arguments.no_stream || written.and_then(|()| output.flush()).is_err() {
            return Ok(0);
        }
        before = now;
    }
}

/// Returns the selected containers. A container that is removed meanwhile is an error only if it was named.
fn listed(arguments: &Arguments, store: &Path) -> Result<Vec<Container>> {
    if arguments.containers.is_empty() && !arguments.latest {
        let mut all = container::all(store)?;
        if !arguments.all {
            all.retain(|container| container.status().is_ok_and(|status| status.is_running()));
        }
        return Ok(all);
    }
    let mut failures = Failures::default();
    let selection = Selection::of(&arguments.containers, arguments.latest);
    let selected = selection.find(store, Missing::Fails, &mut failures)?;
    if !failures.is_empty() {
        failures.end()?;
    }
    let listed: Result<Vec<Container>> =
        selected.iter().map(|selected| selection::open(store, selected)).collect();
    match listed {
        Ok(listed) if listed.is_empty() => fail!("there is no container"),
        listed => listed,
    }
}

fn samples(containers: &[Container]) -> Result<Samples> {
    let mut samples = Samples::new();
    for container in containers {
        let status = container.status()?;
        let is_here = status.is_running() && status.elsewhere().is_none();
        if let Some(state) = status.state().filter(|_| is_here) {
            let sample = Sample::take(state, &container::processes(state));
            samples.insert(container.record.id.clone(), sample);
        }
    }
    Ok(samples)
}

fn row(arguments: &Arguments, container: &Container, before: &Samples, now: &Samples) -> Row {
    let id = match arguments.no_trunc {
        true => container.record.id.clone(),
        false => container.short_id().to_owned(),
    };
    let nothing = || "--".to_owned();
    let mut row = Row {
        container: container.record.name.clone(),
        id,
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
    };
    let Some(sample) = now.get(&container.record.id) else { return row };
    let pair = |pair: (u64, u64)| format!("{} / {}", amount::size(pair.0), amount::size(pair.1));
    let limit = sample.memory_limit;
    if let Some(before) = before.get(&container.record.id) {
        row.cpu_perc = format!("{:.2}%", sample.cpu_percent(before));
        row.cpu.clone_from(&row.cpu_perc);
    }
    row.mem_usage = pair((sample.memory, limit));
    row.mem_perc = format!("{:.2}%", sample.memory as f64 / limit as f64 * 100.0);
    row.net_io = sample.network.map_or_else(|| "-- / --".to_owned(), pair);
    row.block_io = pair(sample.blocks);
    row.pids = sample.tasks.to_string();
    row.pids_of_podman.clone_from(&row.pids);
    row.mem_usage_bytes = format!("{}B / {limit}B", sample.memory);
    row.mem_limit = amount::size(limit);
    row
}
