//! `usnea volume ls`: lists volumes.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::cli::format::{Format, Headings, Layout, render};
use crate::cli::run::print;
use crate::container::volumes::{self, Filter, Volume};
use crate::error::Result;

/// List volumes
#[derive(clap::Args)]
pub struct Arguments {
    /// Print names only.
    #[arg(short, long)]
    quiet: bool,

    /// Filter by name=REGEX, label=KEY[=VALUE], label!=KEY[=VALUE], dangling=BOOL (no container mounts it), anonymous=BOOL,
    /// driver=local, scope=local, until=TIME or since=VOLUME. May be given more than once.
    #[arg(short, long = "filter", value_name = "KEY=VALUE")]
    filters: Vec<String>,

    /// json, table [TEMPLATE], or a Go template. Fields: .Driver .Name .Labels .Mountpoint .Scope .CreatedAt .Anonymous
    /// .Options .Status .Availability .Group .Links .Size .MountCount .NeedsCopyUp .NeedsChown; .Label "NAME" is one label.
    #[arg(long, value_name = "FORMAT", conflicts_with = "quiet")]
    format: Option<Format>,

    /// Omit the header line.
    #[arg(short = 'n', long)]
    noheading: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    driver: &'static str,
    name: String,
    labels: String,
    /// Labels as a map, for `.Label "NAME"` (`format::LABELS`).
    #[serde(rename = " Labels")]
    label_map: BTreeMap<String, String>,
    mountpoint: String,
    scope: &'static str,
    created_at: String,
    anonymous: bool,
    options: BTreeMap<String, String>,
    status: BTreeMap<String, String>,
    /// Field for volumes of a cluster: docker's word for any other volume.
    availability: &'static str,
    group: &'static str,
    /// Number of containers that mount the volume: docker's word for a number that was not counted.
    links: &'static str,
    size: &'static str,
    mount_count: u64,
    needs_copy_up: bool,
    needs_chown: bool,
}

const LAYOUT: Layout =
    Layout { table: "{{.Driver}}\t{{.Name}}", headings: &[("Name", "VOLUME NAME")] };

/// Lists volumes.
pub fn run(arguments: Arguments, store: &Path) -> Result<u8> {
    let filters = arguments.filters.iter().map(|text| text.parse::<Filter>());
    let filters = filters.collect::<Result<Vec<_>>>()?;
    let mut rows = Vec::new();
    for volume in volumes::all(store)? {
        if Filter::fit(&filters, &volume, store)? {
            rows.push(row(&volume, store));
        }
    }
    if arguments.quiet {
        return print(&rows.iter().map(|row| format!("{}\n", row.name)).collect::<String>());
    }
    let headings = if arguments.noheading { Headings::Hidden } else { Headings::Shown };
    print(&render(&arguments.format.unwrap_or_default(), &LAYOUT, headings, &rows)?)
}

fn row(volume: &Volume, store: &Path) -> Row {
    let labels = volume.labels.iter().map(|(key, value)| format!("{key}={value}"));
    Row {
        driver: "local",
        name: volume.name.to_string(),
        labels: labels.collect::<Vec<_>>().join(","),
        mountpoint: volume.data(store).display().to_string(),
        scope: "local",
        created_at: volume.created_at.to_string(),
        anonymous: volume.anonymous,
        label_map: volume.labels.clone(),
        options: BTreeMap::new(),
        status: BTreeMap::new(),
        availability: "N/A",
        group: "N/A",
        links: "N/A",
        size: "N/A",
        mount_count: 0,
        needs_copy_up: false,
        needs_chown: false,
    }
}
