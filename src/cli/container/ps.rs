//! `usnea ps`.

use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;

use super::selection;
use crate::cli::amount;
use crate::cli::format::{Format, Headings, Layout, render};
use crate::cli::run::print;
use crate::container::kept::{self, Filter, Kept, MountedHere};
use crate::error::Result;
use crate::forward;
use crate::monitor::Status;
use crate::monitor::health::Health;

/// List containers
///
/// Those that run; with --all all that there are.
#[derive(clap::Args)]
pub struct Arguments {
    /// All containers, not only those that run.
    #[arg(short, long)]
    all: bool,

    /// The N that were made last, whether they run or not.
    #[arg(short = 'n', long, value_name = "N", allow_negative_numbers = true)]
    last: Option<i64>,

    /// The one that was made last, whether it runs or not.
    #[arg(short, long)]
    latest: bool,

    /// Print IDs alone.
    #[arg(short, long)]
    quiet: bool,

    /// Print IDs and commands whole.
    #[arg(long)]
    no_trunc: bool,

    /// Show how much disk space each takes.
    #[arg(short, long)]
    size: bool,

    /// Leave out the line with the names of the columns.
    #[arg(long)]
    noheading: bool,

    /// Only those that fit: id, name, label, label!, status, exited, ancestor, before, since, until or restart-policy, =, and a
    /// value. May be given more than once.
    #[arg(short, long = "filter", value_name = "KEY=VALUE")]
    filters: Vec<String>,

    /// json, table [TEMPLATE], or a Go template. Fields: .ID .Image .Command .CreatedAt .RunningFor .Status .State .Ports .Names
    /// .Labels .Mounts .Networks .LocalVolumes .Size .Pid .ExitCode .Restarts
    #[arg(long, value_name = "FORMAT", conflicts_with = "quiet")]
    format: Option<Format>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    #[serde(rename = "ID")]
    id: String,
    image: String,
    command: String,
    created_at: String,
    running_for: String,
    status: String,
    state: &'static str,
    ports: String,
    names: String,
    labels: String,
    mounts: String,
    networks: String,
    local_volumes: String,
    size: String,
    pid: i32,
    exit_code: u8,
    restarts: u32,
}

const LAYOUT: Layout = Layout {
    table: "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}",
    headings: HEADINGS,
};
const WITH_SIZES: Layout = Layout {
    table: "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}\t{{.Size}}",
    headings: HEADINGS,
};
const HEADINGS: &[(&str, &str)] = &[("ID", "CONTAINER ID"), ("RunningFor", "CREATED")];
/// How much of a command is shown (docker's).
const COMMAND: usize = 20;
/// How much of a mount's name is shown (docker's).
const MOUNT: usize = 15;

/// Lists.
pub fn run(arguments: Arguments, root: Option<&Path>) -> Result<u8> {
    let filters =
        arguments.filters.iter().map(|text| text.parse()).collect::<Result<Vec<Filter>>>()?;
    let last = match (arguments.latest, arguments.last) {
        (true, _) => Some(1),
        (false, Some(count)) => usize::try_from(count).ok(),
        (false, None) => None,
    };
    let says_which =
        filters.iter().any(|filter| matches!(filter, Filter::Status(_) | Filter::Exited(_)));
    let shows_all = arguments.all || last.is_some() || says_which;
    let mut listed = listed(&selection::store(root)?, &filters, shows_all)?;
    if let Some(last) = last {
        listed.truncate(last);
    }
    let now = Timestamp::now();
    let mut rows: Vec<Row> =
        listed.iter().map(|(kept, status)| row(&arguments, kept, status, now)).collect();
    let format = arguments.format.unwrap_or_default();
    if format.may_show(&["Mounts", "LocalVolumes"]) {
        for (row, (kept, _)) in rows.iter_mut().zip(&listed) {
            show_mounts(row, kept, arguments.no_trunc)?;
        }
    }
    if arguments.quiet {
        return print(&rows.iter().map(|row| format!("{}\n", row.id)).collect::<String>());
    }
    let layout = if arguments.size { WITH_SIZES } else { LAYOUT };
    let headings = if arguments.noheading { Headings::Hidden } else { Headings::Shown };
    print(&render(&format, &layout, headings, &rows)?)
}

/// What is mounted is in the whole of a container's configuration: read where it is asked for.
fn show_mounts(row: &mut Row, kept: &Kept, whole: bool) -> Result<()> {
    let mounted = kept::mounted(kept)?;
    let name =
        |mounted: &MountedHere| shortened(&mounted.name, if whole { usize::MAX } else { MOUNT });
    row.mounts = mounted.iter().map(name).collect::<Vec<_>>().join(",");
    row.local_volumes = mounted.iter().filter(|mounted| mounted.is_volume).count().to_string();
    Ok(())
}

fn listed(store: &Path, filters: &[Filter], all: bool) -> Result<Vec<(Kept, Status)>> {
    let mut listed = Vec::new();
    for kept in kept::all(store)? {
        let status = match kept.status() {
            Ok(status) => status,
            Err(error) => {
                log::warn!("container {}: {error}", kept.short_id());
                continue;
            }
        };
        if (all || status.state().is_some()) && Filter::fit(filters, &kept, &status)? {
            listed.push((kept, status));
        }
    }
    Ok(listed)
}

fn row(arguments: &Arguments, kept: &Kept, status: &Status, now: Timestamp) -> Row {
    let record = &kept.record;
    let labels = record.labels.iter().map(|(key, value)| format!("{key}={value}"));
    Row {
        id: if arguments.no_trunc { record.id.clone() } else { kept.short_id().to_owned() },
        image: record.image.clone(),
        command: command(&record.command, arguments.no_trunc),
        created_at: record.created.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string(),
        running_for: amount::ago(record.created, now),
        status: told(kept, status, now),
        state: status.word(),
        ports: match status.is_running() {
            true => forward::shown(&record.network.forwards),
            false => String::new(),
        },
        names: record.name.clone(),
        labels: labels.collect::<Vec<_>>().join(","),
        mounts: String::new(),
        networks: record.network.word().to_owned(),
        local_volumes: String::new(),
        size: if arguments.size { amount::size(kept::size(kept)) } else { String::new() },
        pid: status.state().filter(|_| status.is_running()).map_or(0, |state| state.process.pid),
        exit_code: status.exit().map_or(0, |exit| exit.status),
        restarts: status.state().map_or(0, |state| state.restarts),
    }
}

fn command(words: &[String], whole: bool) -> String {
    format!("\"{}\"", shortened(&words.join(" "), if whole { usize::MAX } else { COMMAND }))
}

fn shortened(text: &str, widest: usize) -> String {
    match text.chars().count() > widest {
        true => text.chars().take(widest - 1).chain(['…']).collect(),
        false => text.to_owned(),
    }
}

/// docker's words.
fn told(kept: &Kept, status: &Status, now: Timestamp) -> String {
    match status {
        Status::Created => "Created".into(),
        Status::Running(state) | Status::Paused(state) => {
            let up = now.duration_since(state.started);
            let health = kept::health(kept, status).map(|told| match told.health {
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
