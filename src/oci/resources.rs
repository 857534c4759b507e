//! Verbs that take a cgroup of version 2: pause, resume, update, statistics.

use std::path::{Path, PathBuf};

use oci_spec::runtime::LinuxResources;
use serde::Serialize;

use super::Runtime;
use super::state::{ContainerStatus, OciContainer};
use crate::cgroup::{self, CgroupLimits, FreezerState};
use crate::error::{Error, Result};

/// Statistics of a container, in runc's shape.
#[derive(Debug, Serialize)]
pub struct StatisticsEvent {
    /// Kind of the event.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// ID of the container.
    pub id: String,
    /// Measurements.
    pub data: Statistics,
}

/// Measurements of a cgroup.
#[derive(Debug, Serialize)]
pub struct Statistics {
    /// Processor time.
    pub cpu: CpuStatistics,
    /// Memory.
    pub memory: MemoryStatistics,
    /// Processes.
    pub pids: PidsStatistics,
}

/// Processor time of a cgroup.
#[derive(Debug, Serialize)]
pub struct CpuStatistics {
    /// Time used, in nanoseconds.
    pub usage: CpuUsage,
}

/// Processor time used, in nanoseconds.
#[derive(Debug, Serialize)]
pub struct CpuUsage {
    /// All of it.
    pub total: u64,
    /// In the kernel.
    pub kernel: u64,
    /// In user mode.
    pub user: u64,
}

/// Memory of a cgroup.
#[derive(Debug, Serialize)]
pub struct MemoryStatistics {
    /// Memory now.
    pub usage: MemoryUsage,
}

/// Memory, in bytes.
#[derive(Debug, Serialize)]
pub struct MemoryUsage {
    /// Limit; 0: none.
    pub limit: u64,
    /// Used now.
    pub usage: u64,
}

/// Number of processes of a cgroup.
#[derive(Debug, Serialize)]
pub struct PidsStatistics {
    /// Number now.
    pub current: u64,
    /// Limit; 0: none.
    pub limit: u64,
}

/// Finds a container with a cgroup, and its cgroup. Errors: the container has ended, or has none.
fn with_cgroup(runtime: &Runtime, id: &str) -> Result<(OciContainer, PathBuf)> {
    let container = OciContainer::find(runtime, id)?;
    if container.status() == ContainerStatus::Stopped {
        return Err(Error::not_running(format!("the container {id} is not running")));
    }
    match container.record.cgroup.clone() {
        Some(folder) => Ok((container, folder)),
        None => Err(Error::refused(format!("the container {id} has no cgroup of version 2"))
            .hint(cgroup::delegation_advice())),
    }
}

/// Freezes a running container. Errors: it does not run; it has no cgroup.
pub fn pause(runtime: &Runtime, id: &str) -> Result<()> {
    freeze(runtime, id, ContainerStatus::Running, FreezerState::Stopped)
}

/// Thaws a paused container. Errors: it is not paused; it has no cgroup.
pub fn resume(runtime: &Runtime, id: &str) -> Result<()> {
    freeze(runtime, id, ContainerStatus::Paused, FreezerState::Running)
}

fn freeze(runtime: &Runtime, id: &str, from: ContainerStatus, to: FreezerState) -> Result<()> {
    let (container, folder) = with_cgroup(runtime, id)?;
    let status = container.status();
    if status != from {
        let text = format!("the container {id} is {}, not {}", status.name(), from.name());
        return Err(Error::conflict(text));
    }
    cgroup::freeze(&folder, to)
}

/// Changes the limits of a container. Errors: a limit that cannot be set.
pub fn update(runtime: &Runtime, id: &str, resources: &LinuxResources) -> Result<()> {
    let limits = CgroupLimits::of(resources)?;
    let (_, folder) = with_cgroup(runtime, id)?;
    cgroup::change(&folder, &limits)
}

/// Measures a container. Errors: it does not run; it has no cgroup.
pub fn statistics(runtime: &Runtime, id: &str) -> Result<StatisticsEvent> {
    let (_, folder) = with_cgroup(runtime, id)?;
    Ok(StatisticsEvent { kind: "stats", id: id.to_owned(), data: measure(&folder) })
}

fn measure(folder: &Path) -> Statistics {
    let microseconds =
        |key| cgroup::count(folder, "cpu.stat", key).unwrap_or(0).saturating_mul(1000);
    let number = |file| cgroup::number(folder, file).unwrap_or(0);
    Statistics {
        cpu: CpuStatistics {
            usage: CpuUsage {
                total: microseconds("usage_usec"),
                kernel: microseconds("system_usec"),
                user: microseconds("user_usec"),
            },
        },
        memory: MemoryStatistics {
            usage: MemoryUsage { limit: number("memory.max"), usage: number("memory.current") },
        },
        pids: PidsStatistics { current: number("pids.current"), limit: number("pids.max") },
    }
}
