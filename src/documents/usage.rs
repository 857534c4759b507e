//! Rows of `usnea system df` and of `usnea stats`.

use jiff::Timestamp;
use serde::Serialize;

use super::text::{NameForm, Truncation};
use crate::amount::{ago, size};
use crate::image::store::{ImageUsage, UsageTotals};

/// Row of `usnea system df`: a type of object.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DiskUsageRow {
    pub r#type: &'static str,
    pub total_count: String,
    pub active: String,
    pub size: String,
    pub reclaimable: String,
    /// Number of objects under podman's name: a copy of `total_count`.
    pub total: u64,
    /// Size in bytes, podman's field; so is the next.
    pub raw_size: u64,
    pub raw_reclaimable: u64,
}

impl DiskUsageRow {
    /// Returns the row of all objects of a type.
    pub fn new(r#type: &'static str, totals: &UsageTotals) -> Self {
        let share = match totals.size {
            0 => String::new(),
            all => format!(" ({}%)", u128::from(totals.reclaimable) * 100 / u128::from(all)),
        };
        Self {
            r#type,
            total_count: totals.count.to_string(),
            active: totals.active.to_string(),
            size: size(totals.size),
            reclaimable: size(totals.reclaimable) + &share,
            total: totals.count,
            raw_size: totals.size,
            raw_reclaimable: totals.reclaimable,
        }
    }
}

/// Row of `usnea system df --verbose`: an image.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ImageUsageRow {
    pub repository: String,
    pub tag: String,
    #[serde(rename = "ID")]
    pub id: String,
    pub created_since: String,
    pub size: String,
    pub shared_size: String,
    pub unique_size: String,
    pub in_use: bool,
}

impl ImageUsageRow {
    /// Returns the row of an image, at the time `now`.
    pub fn new(usage: &ImageUsage, now: Timestamp) -> Self {
        let image = &usage.image;
        let name = image.names.first();
        let none = || "<none>".to_owned();
        Self {
            repository: name.map_or_else(none, |name| NameForm::Short.repository(name)),
            tag: name.and_then(|name| name.tag.clone()).unwrap_or_else(none),
            id: Truncation::On.digest(&image.config),
            created_since: image.created.map_or_else(|| "N/A".to_owned(), |then| ago(then, now)),
            size: size(usage.size),
            shared_size: size(usage.shared),
            unique_size: size(usage.size.saturating_sub(usage.shared)),
            in_use: usage.in_use,
        }
    }
}

/// Row of `usnea stats`: the resources that a container uses.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct StatsRow {
    pub container: String,
    #[serde(rename = "ID")]
    pub id: String,
    pub name: String,
    #[serde(rename = "CPUPerc")]
    pub cpu_perc: String,
    pub mem_usage: String,
    pub mem_perc: String,
    #[serde(rename = "NetIO")]
    pub net_io: String,
    #[serde(rename = "BlockIO")]
    pub block_io: String,
    #[serde(rename = "PIDs")]
    pub pids: String,
    /// Number of threads in podman's spelling.
    #[serde(rename = "PIDS")]
    pub pids_of_podman: String,
    /// Share of a processor under podman's name: a copy of `cpu_perc`.
    #[serde(rename = "CPU")]
    pub cpu: String,
    /// Memory in bytes: podman's form of `mem_usage`.
    pub mem_usage_bytes: String,
    pub mem_limit: String,
    /// Share of the last 10 seconds in which a process waited for a processor.
    #[serde(rename = "CPUPressure")]
    pub cpu_pressure: String,
    /// Share of the last 10 seconds in which a process waited for memory.
    pub mem_pressure: String,
    /// Share of the last 10 seconds in which a process waited for a disk.
    #[serde(rename = "IOPressure")]
    pub io_pressure: String,
}

/// Row of `usnea pod stats`: podman's fields.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PodStatsRow {
    pub pod: String,
    #[serde(rename = "CID")]
    pub cid: String,
    pub name: String,
    #[serde(rename = "CPU")]
    pub cpu: String,
    pub mem: String,
    pub mem_usage: String,
    pub mem_usage_bytes: String,
    #[serde(rename = "NetIO")]
    pub net_io: String,
    #[serde(rename = "BlockIO")]
    pub block_io: String,
    #[serde(rename = "PIDS")]
    pub pids: String,
}
