//! `usnea volume ls`.

use std::path::Path;

use serde::Serialize;

use crate::cli::format::{Format, Headings, Layout, render};
use crate::cli::run::print;
use crate::container::volumes::{self, Filter, Volume};
use crate::error::Result;

/// List volumes
#[derive(clap::Args)]
pub struct Arguments {
    /// Print names alone.
    #[arg(short, long)]
    quiet: bool,

    /// Only some: name=PART, label=KEY[=VALUE], label!=KEY[=VALUE], dangling=BOOL (no container mounts it),
    /// anonymous=BOOL, driver=local, until=TIME. May be given more than once.
    #[arg(short, long = "filter", value_name = "KEY=VALUE")]
    filters: Vec<String>,

    /// json, table [TEMPLATE], or a Go template. Fields: .Driver .Name .Labels .Mountpoint .Scope .CreatedAt .Anonymous
    #[arg(long, value_name = "FORMAT", conflicts_with = "quiet")]
    format: Option<Format>,

    /// Leave out the line with the names of the columns.
    #[arg(short = 'n', long)]
    noheading: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    driver: &'static str,
    name: String,
    labels: String,
    mountpoint: String,
    scope: &'static str,
    created_at: String,
    anonymous: bool,
}

const LAYOUT: Layout =
    Layout { table: "{{.Driver}}\t{{.Name}}", headings: &[("Name", "VOLUME NAME")] };

/// Lists.
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
    }
}
