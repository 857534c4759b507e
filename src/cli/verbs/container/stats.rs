//! `usnea stats`: resources that containers use.

use std::io::{IsTerminal, Write};
use std::ops::ControlFlow;
use std::time::Duration;

use serde::Serialize;

use crate::cli::output::format::{Format, Headings, Layout, render};
use crate::container::{self, ContainerStats, StatsRequest, StatsScope, Usnea};
use crate::documents::text::Truncation;
use crate::error::Result;
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

    /// Show the pressure instead of network and disk usage: the share of the last 10 seconds in which a process waited
    /// for a processor, memory or a disk. Needs a cgroup of version 2 and a kernel with PSI; else --.
    #[arg(long, conflicts_with = "format")]
    pressure: bool,

    /// Do not truncate IDs.
    #[arg(long)]
    no_trunc: bool,

    /// Seconds between samples.
    #[arg(short, long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    interval: u32,

    /// json, table [TEMPLATE], or a Go template. Fields: .Container .ID .Name .CPUPerc .CPU .MemUsage
    /// .MemUsageBytes .MemLimit .MemPerc .NetIO .BlockIO .PIDs .PIDS .CPUPressure
    /// .MemPressure .IOPressure
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
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
        ("CPUPressure", "CPU PRESSURE"),
        ("MemPressure", "MEM PRESSURE"),
        ("IOPressure", "I/O PRESSURE"),
    ],
};

const PRESSURE: Layout = Layout {
    table: "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.CPUPressure}}\t{{.MemPressure}}\t{{.IOPressure}}",
    headings: LAYOUT.headings,
};

/// Prints the statistics, once or again and again.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    signal::set_default(&[libc::SIGPIPE]);
    let request = StatsRequest {
        scope: match arguments {
            Arguments { latest: true, .. } => StatsScope::Latest,
            Arguments { all: true, .. } => StatsScope::All,
            Arguments { containers, .. } if containers.is_empty() => StatsScope::Running,
            Arguments { containers, .. } => StatsScope::Named(containers.clone()),
        },
        interval: match arguments.no_stream {
            true => None,
            false => Some(Duration::from_secs(arguments.interval.into())),
        },
    };
    let truncation = if arguments.no_trunc { Truncation::Off } else { Truncation::On };
    let view = StatsView {
        format: arguments.format.clone().unwrap_or_default(),
        layout: if arguments.pressure { &PRESSURE } else { &LAYOUT },
        keeps_screen: arguments.no_reset,
    };
    view.show(usnea, &request, |stats| stats.row(truncation))
}

/// Form of repeated statistics.
pub struct StatsView<'a> {
    /// Format of the rows.
    pub format: Format,
    /// Table of the rows.
    pub layout: &'a Layout,
    /// True if the terminal is not cleared between samples.
    pub keeps_screen: bool,
}

impl StatsView<'_> {
    /// Prints the statistics, once or again and again, with a `row` for each container.
    pub fn show<T: Serialize>(
        &self,
        usnea: &Usnea,
        request: &StatsRequest,
        row: impl Fn(&ContainerStats) -> T,
    ) -> Result<u8> {
        let is_repeated = request.interval.is_some();
        let clears = is_repeated && !self.keeps_screen && std::io::stdout().is_terminal();
        container::stats(usnea, request, |stats| {
            let rows: Vec<T> = stats.iter().map(&row).collect();
            let text = render(&self.format, self.layout, Headings::Shown, &rows)?;
            let mut output = std::io::stdout().lock();
            let start = if clears { "\x1b[H\x1b[2J" } else { "" };
            let written = output.write_all(format!("{start}{text}").as_bytes());
            Ok(match written.and_then(|()| output.flush()) {
                Ok(()) => ControlFlow::Continue(()),
                // Nobody reads any more.
                Err(_) => ControlFlow::Break(()),
            })
        })?;
        Ok(0)
    }
}
