//! `pause`, `resume`, `update` and `events`.

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxPids, LinuxResources, LinuxResourcesBuilder,
};

use crate::cli::output::print;
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::oci::{self, ContainerStatus, Runtime};
use crate::spec::Size;

/// Freeze a container
#[derive(clap::Args)]
pub struct OciPauseArguments {
    /// The container.
    #[arg(value_name = "CONTAINER")]
    id: String,
}

/// Thaw a container
#[derive(clap::Args)]
pub struct ResumeArguments {
    /// The container.
    #[arg(value_name = "CONTAINER")]
    id: String,
}

/// Change the limits of a container
#[derive(clap::Args)]
pub struct UpdateArguments {
    /// File with the limits, in the format of `linux.resources` in config.json; - for standard input.
    #[arg(short, long, value_name = "FILE")]
    resources: Option<PathBuf>,

    /// Block I/O weight (10 to 1000).
    #[arg(long, value_name = "WEIGHT")]
    blkio_weight: Option<u16>,

    /// CPU period, in microseconds.
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_period: Option<u64>,

    /// CPU time per period, in microseconds; -1: no limit.
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_quota: Option<i64>,

    /// CPU shares (2 to 262144).
    #[arg(long, value_name = "SHARES")]
    cpu_share: Option<u64>,

    /// Processors to use.
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,

    /// Memory nodes to use.
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,

    /// Memory limit; -1: no limit.
    #[arg(long, value_name = "BYTES")]
    memory: Option<String>,

    /// Memory soft limit.
    #[arg(long, value_name = "BYTES")]
    memory_reservation: Option<String>,

    /// Limit of memory and swap together; -1: no limit.
    #[arg(long, value_name = "BYTES")]
    memory_swap: Option<String>,

    /// Maximum number of processes; -1: no limit.
    #[arg(long, value_name = "N")]
    pids_limit: Option<i64>,

    /// The container.
    #[arg(value_name = "CONTAINER")]
    id: String,
}

/// Show statistics of a container
///
/// Prints one JSON document per line, until the container stops.
#[derive(clap::Args)]
pub struct EventsArguments {
    /// Print one document and exit.
    #[arg(long)]
    stats: bool,

    /// Seconds between documents.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    interval: u64,

    /// The container.
    #[arg(value_name = "CONTAINER")]
    id: String,
}

/// Freezes a container.
pub fn pause(arguments: &OciPauseArguments, runtime: &Runtime) -> Result<u8> {
    oci::pause(runtime, &arguments.id).map(|()| 0)
}

/// Thaws a container.
pub fn resume(arguments: &ResumeArguments, runtime: &Runtime) -> Result<u8> {
    oci::resume(runtime, &arguments.id).map(|()| 0)
}

/// Changes limits.
pub fn update(arguments: &UpdateArguments, runtime: &Runtime) -> Result<u8> {
    let resources = match &arguments.resources {
        Some(path) => read(path)?,
        None => of_flags(arguments)?,
    };
    oci::update(runtime, &arguments.id, &resources).map(|()| 0)
}

fn read(path: &std::path::Path) -> Result<LinuxResources> {
    let said = || path.display().to_string();
    let text = match path.as_os_str() == "-" {
        true => {
            let mut text = Vec::new();
            std::io::stdin().read_to_end(&mut text).map(|_| text)
        }
        false => std::fs::read(path),
    };
    let text = text.context(said)?;
    serde_json::from_slice(&text).map_err(|error| Error::invalid(error.to_string()).within(said()))
}

fn of_flags(arguments: &UpdateArguments) -> Result<LinuxResources> {
    let mut resources =
        LinuxResourcesBuilder::default().build().map_err(|error| Error::new(error.to_string()))?;
    resources.set_devices(None);
    let mut cpu = LinuxCpu::default();
    cpu.set_shares(arguments.cpu_share);
    cpu.set_quota(arguments.cpu_quota);
    cpu.set_period(arguments.cpu_period);
    cpu.set_cpus(arguments.cpuset_cpus.clone());
    cpu.set_mems(arguments.cpuset_mems.clone());
    let mut memory = LinuxMemory::default();
    memory.set_limit(arguments.memory.as_deref().map(bytes).transpose()?);
    memory.set_reservation(arguments.memory_reservation.as_deref().map(bytes).transpose()?);
    memory.set_swap(arguments.memory_swap.as_deref().map(bytes).transpose()?);
    resources.set_cpu((cpu != LinuxCpu::default()).then_some(cpu));
    resources.set_memory((memory != LinuxMemory::default()).then_some(memory));
    if let Some(limit) = arguments.pids_limit {
        let mut pids = LinuxPids::default();
        pids.set_limit(limit);
        resources.set_pids(Some(pids));
    }
    if let Some(weight) = arguments.blkio_weight {
        let mut io = LinuxBlockIo::default();
        io.set_weight(Some(weight));
        resources.set_block_io(Some(io));
    }
    let is_empty = resources.cpu().is_none()
        && resources.memory().is_none()
        && resources.pids().is_none()
        && resources.block_io().is_none();
    if is_empty {
        fail!(Invalid: "no limit given");
    }
    Ok(resources)
}

fn bytes(text: &str) -> Result<i64> {
    if text == "-1" {
        return Ok(-1);
    }
    let size: Size = text.parse().map_err(|error: String| Error::invalid(error))?;
    i64::try_from(size.bytes()).map_err(|_| Error::invalid(format!("{text}: too large")))
}

/// Prints statistics.
pub fn events(arguments: &EventsArguments, runtime: &Runtime) -> Result<u8> {
    loop {
        let event = oci::statistics(runtime, &arguments.id)?;
        let json = serde_json::to_string(&event).map_err(std::io::Error::from);
        print(&(json.context(|| "cannot write JSON")? + "\n"))?;
        if arguments.stats {
            return Ok(0);
        }
        std::thread::sleep(Duration::from_secs(arguments.interval));
        let has_ended = match oci::state(runtime, &arguments.id) {
            Ok(state) => state.status == ContainerStatus::Stopped,
            Err(_) => true,
        };
        if has_ended {
            return Ok(0);
        }
    }
}
