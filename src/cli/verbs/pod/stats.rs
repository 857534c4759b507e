//! `usnea pod stats`: resources that the containers of pods use.

use std::time::Duration;

use crate::cli::flags::pod::PodSelection;
use crate::cli::output::format::{Format, Layout};
use crate::cli::verbs::container::stats::StatsView;
use crate::container::{StatsRequest, StatsScope, Usnea};
use crate::documents::text::Truncation;
use crate::error::Result;
use crate::sys::signal;

/// Show resource usage of the running containers of pods
///
/// Shows processor, memory, network and disk usage, and repeats until interrupted. Containers that share their network have
/// the same network figures.
#[derive(clap::Args)]
pub struct Arguments {
    /// Pod names, or prefixes of pod IDs. Default: all pods.
    #[arg(value_name = "POD")]
    pods: Vec<String>,

    /// Show all pods, as without a name.
    #[arg(short, long, conflicts_with_all = ["pods", "latest"])]
    all: bool,

    /// Use the pod that was created last.
    #[arg(short, long, conflicts_with = "pods")]
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
    #[arg(short, long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    interval: u32,

    /// json, table [TEMPLATE], or a Go template. Fields: .Pod .CID .Name .CPU .MemUsage .MemUsageBytes .Mem .NetIO
    /// .BlockIO .PIDS
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
}

const LAYOUT: Layout = Layout {
    table: "{{.Pod}}\t{{.CID}}\t{{.Name}}\t{{.CPU}}\t{{.MemUsage}}\t{{.Mem}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDS}}",
    headings: &[
        ("CPU", "CPU %"),
        ("MemUsage", "MEM USAGE / LIMIT"),
        ("MemUsageBytes", "MEM USAGE / LIMIT"),
        ("Mem", "MEM %"),
        ("NetIO", "NET IO"),
        ("BlockIO", "BLOCK IO"),
        ("PIDS", "PIDS"),
    ],
};

/// Prints the statistics, once or again and again.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    signal::set_default(&[libc::SIGPIPE]);
    let id = |name: Option<&str>| PodSelection::single(usnea, name).map(|pod| pod.record.id);
    let pods = match arguments {
        Arguments { latest: true, .. } => Some(vec![id(None)?]),
        Arguments { pods, .. } if pods.is_empty() => None,
        Arguments { pods, .. } => {
            Some(pods.iter().map(|name| id(Some(name))).collect::<Result<_>>()?)
        }
    };
    let interval = Duration::from_secs(arguments.interval.into());
    let request = StatsRequest {
        scope: StatsScope::Pods(pods),
        interval: (!arguments.no_stream).then_some(interval),
    };
    let truncation = if arguments.no_trunc { Truncation::Off } else { Truncation::On };
    let view = StatsView {
        format: arguments.format.clone().unwrap_or_default(),
        layout: &LAYOUT,
        keeps_screen: arguments.no_reset,
    };
    view.show(usnea, &request, |stats| stats.row_of_pod(truncation))
}
