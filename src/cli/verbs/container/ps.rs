//! `usnea ps`: lists containers.

use std::time::Duration;

use clap::ValueEnum;
use jiff::Timestamp;

use crate::cli::flags::selection::given_filters;
use crate::cli::output::format::{Format, Headings, Layout, render};
use crate::cli::output::print;
use crate::container::{
    self, ContainerFilter, ContainerOrder, ListContainers, ListedStates, Usnea,
};
use crate::documents::container_row::{ContainerRow, NamespaceIds};
use crate::documents::text::Truncation;
use crate::error::Result;

/// List containers
///
/// Shows running containers; with --all, all containers.
#[derive(clap::Args)]
pub struct Arguments {
    /// Show all containers, not only running ones.
    #[arg(short, long)]
    all: bool,

    /// Show the last N created containers, in any state.
    #[arg(short = 'n', long, value_name = "N", allow_negative_numbers = true)]
    last: Option<i64>,

    /// Show the container that was created last, in any state.
    #[arg(short, long)]
    latest: bool,

    /// Print IDs only.
    #[arg(short, long)]
    quiet: bool,

    /// Do not truncate IDs and commands.
    #[arg(long)]
    no_trunc: bool,

    /// Show the disk usage of containers.
    #[arg(short, long)]
    size: bool,

    /// Omit the header line.
    #[arg(long)]
    noheading: bool,

    /// Filter by KEY=VALUE; keys: id, name (regular expressions), label, label!, status, exited, ancestor, before, since, until,
    /// restart-policy, should-start-on-boot, health, volume, network, pod, publish, expose or command. May be given more than once.
    #[arg(short, long = "filter", value_name = "KEY=VALUE")]
    filters: Vec<String>,

    /// Sort order. Default: newest first.
    #[arg(long, value_enum, value_name = "KEY")]
    sort: Option<ContainerSortKey>,

    /// Show the namespace IDs of running containers.
    #[arg(long, alias = "namespace", conflicts_with_all = ["format", "size", "pod"])]
    ns: bool,

    /// Show the IDs and the names of pods.
    #[arg(short, long)]
    pod: bool,

    /// Accepted for compatibility with podman: containers of other programs are never listed.
    #[arg(long)]
    external: bool,

    /// Accepted for compatibility with podman: the state is always current.
    #[arg(long)]
    sync: bool,

    /// Repeat the list every SECONDS, until interrupted.
    #[arg(short, long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    watch: Option<u32>,

    /// json, table [TEMPLATE], or a Go template. Fields: .ID .Id .Image .ImageID .Command .CreatedAt .Created
    /// .CreatedHuman .RunningFor .StartedAt .Status .State .Exited .ExitedAt .ExitCode .Ports .ExposedPorts .Names .Labels .Mounts .Networks
    /// .LocalVolumes .Size .Pid .Restarts .AutoRemove .CIDFile .IsInfra .Pod .PodName .Namespaces, and of them .CGROUPNS .IPC
    /// .MNT .NET .PIDNS .USERNS .UTS; .Label "NAME" is one label.
    #[arg(long, value_name = "FORMAT", conflicts_with = "quiet")]
    format: Option<Format>,
}

/// Key of `--sort`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ContainerSortKey {
    Command,
    /// The oldest first.
    Created,
    Id,
    Image,
    Names,
    /// The oldest first.
    Runningfor,
    /// The smallest first.
    Size,
    Status,
}

impl ContainerSortKey {
    fn order(self) -> ContainerOrder {
        match self {
            Self::Command => ContainerOrder::Command,
            Self::Created | Self::Runningfor => ContainerOrder::Oldest,
            Self::Id => ContainerOrder::Id,
            Self::Image => ContainerOrder::Image,
            Self::Names => ContainerOrder::Name,
            Self::Size => ContainerOrder::Size,
            Self::Status => ContainerOrder::Status,
        }
    }
}

const LAYOUT: Layout = Layout {
    table: "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}",
    headings: HEADINGS,
};
const WITH_SIZES: Layout = Layout {
    table: "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}\t{{.Size}}",
    headings: HEADINGS,
};
const WITH_PODS: Layout = Layout {
    table: "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}\t{{.Pod}}\t{{.PodName}}",
    headings: HEADINGS,
};
const WITH_NAMESPACES: Layout = Layout {
    table: "{{.ID}}\t{{.Names}}\t{{.Pid}}\t{{.CGROUPNS}}\t{{.IPC}}\t{{.MNT}}\t{{.NET}}\t{{.PIDNS}}\t{{.USERNS}}\t{{.UTS}}",
    headings: HEADINGS,
};
const HEADINGS: &[(&str, &str)] = &[
    ("ID", "CONTAINER ID"),
    ("RunningFor", "CREATED"),
    ("Pod", "POD ID"),
    ("PodName", "PODNAME"),
    ("Pid", "PID"),
];

/// Lists containers, once, or every few seconds with `--watch`.
pub fn run(arguments: Arguments, usnea: &Usnea) -> Result<u8> {
    let Some(seconds) = arguments.watch else { return list(&arguments, usnea) };
    let is_terminal = rustix::termios::isatty(rustix::stdio::stdout());
    loop {
        if is_terminal {
            // ECMA-48: erases the screen, and moves the cursor to its beginning.
            print("\u{1b}[2J\u{1b}[H")?;
        }
        list(&arguments, usnea)?;
        std::thread::sleep(Duration::from_secs(seconds.into()));
    }
}

fn list(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    let format = arguments.format.clone().unwrap_or_default();
    let listed = container::list(usnea, &request(arguments, &format)?)?;
    let now = Timestamp::now();
    let truncation = if arguments.no_trunc { Truncation::Off } else { Truncation::On };
    let rows: Vec<ContainerRow> = listed.iter().map(|listed| listed.row(now, truncation)).collect();
    if arguments.quiet {
        return print(&rows.iter().map(|row| format!("{}\n", row.id)).collect::<String>());
    }
    let layout = match arguments {
        Arguments { ns: true, .. } => WITH_NAMESPACES,
        Arguments { pod: true, .. } => WITH_PODS,
        Arguments { size: true, .. } => WITH_SIZES,
        _ => LAYOUT,
    };
    let headings = if arguments.noheading { Headings::Hidden } else { Headings::Shown };
    print(&render(&format, &layout, headings, &rows)?)
}

/// Returns the request of the flags: what the format does not show is not computed.
fn request(arguments: &Arguments, format: &Format) -> Result<ListContainers> {
    let filters = given_filters(&arguments.filters)
        .map(|text| text.parse())
        .collect::<Result<Vec<ContainerFilter>>>()?;
    let last = match (arguments.latest, arguments.last) {
        (true, _) => Some(1),
        (false, Some(count)) => usize::try_from(count).ok(),
        (false, None) => None,
    };
    Ok(ListContainers {
        filters,
        states: if arguments.all { ListedStates::All } else { ListedStates::Active },
        last,
        order: arguments.sort.map_or(ContainerOrder::Newest, ContainerSortKey::order),
        sizes: arguments.size
            || matches!(format, Format::Template(_)) && format.may_show(&["Size"]),
        mounts: format.may_show(&["Mounts", "LocalVolumes"]),
        namespaces: arguments.ns || format.may_show(&NamespaceIds::FIELDS),
    })
}
