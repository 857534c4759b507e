//! `usnea pod ps`: lists pods.

use clap::ValueEnum;
use jiff::Timestamp;

use crate::cli::flags::selection::given_filters;
use crate::cli::output::format::{Format, Headings, Layout, render};
use crate::cli::output::print;
use crate::container::Usnea;
use crate::container::pods::{self, PodFilter, PodOrder};
use crate::documents::pod::PodRow;
use crate::documents::text::Truncation;
use crate::error::Result;

/// List pods
#[derive(clap::Args)]
pub struct Arguments {
    /// Show the IDs of the containers.
    #[arg(long)]
    ctr_ids: bool,

    /// Show the names of the containers.
    #[arg(long)]
    ctr_names: bool,

    /// Show the states of the containers.
    #[arg(long)]
    ctr_status: bool,

    /// Filter by id=ID, name=REGEX, label=KEY[=VALUE], label!=KEY[=VALUE], status=STATE, ctr-ids=ID, ctr-names=REGEX,
    /// ctr-number=N, ctr-status=STATE, network=NETWORK or until=TIME. May be given more than once.
    #[arg(short, long = "filter", value_name = "KEY=VALUE")]
    filters: Vec<String>,

    /// json, table [TEMPLATE], or a Go template. Fields: .ID .Id .Name .Status .Created .CreatedHuman .InfraId .Labels .Networks
    /// .NumberOfContainers .ContainerIds .ContainerNames .ContainerStatuses .Containers .Restart .Cgroup .Namespace;
    /// .Label "NAME" is one label.
    #[arg(long, value_name = "FORMAT", conflicts_with = "quiet")]
    format: Option<Format>,

    /// Show the pod that was created last.
    #[arg(short, long)]
    latest: bool,

    /// Do not truncate IDs.
    #[arg(long)]
    no_trunc: bool,

    /// Omit the header line.
    #[arg(short = 'n', long)]
    noheading: bool,

    /// Print IDs only.
    #[arg(short, long)]
    quiet: bool,

    /// Sort order. Default: newest first.
    #[arg(long, value_enum, value_name = "KEY")]
    sort: Option<PodSortKey>,
}

/// Key of `--sort`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PodSortKey {
    /// The oldest first.
    Created,
    Id,
    Name,
    /// The smallest number of containers first.
    Number,
    Status,
}

impl PodSortKey {
    fn order(self) -> PodOrder {
        match self {
            Self::Created => PodOrder::Oldest,
            Self::Id => PodOrder::Id,
            Self::Name => PodOrder::Name,
            Self::Number => PodOrder::Members,
            Self::Status => PodOrder::Status,
        }
    }
}

const HEADINGS: &[(&str, &str)] = &[
    ("ID", "POD ID"),
    ("CreatedHuman", "CREATED"),
    ("InfraId", "INFRA ID"),
    ("NumberOfContainers", "# OF CONTAINERS"),
    ("ContainerIds", "IDS"),
    ("ContainerNames", "NAMES"),
    ("ContainerStatuses", "CONTAINER STATUSES"),
];

/// Lists pods.
pub fn run(arguments: Arguments, usnea: &Usnea) -> Result<u8> {
    let filters = given_filters(&arguments.filters).map(|text| text.parse::<PodFilter>());
    let filters = filters.collect::<Result<Vec<_>>>()?;
    let order = arguments.sort.map_or(PodOrder::Newest, PodSortKey::order);
    let mut listed = pods::list(usnea, &filters, order)?;
    if arguments.latest {
        let newest = listed.iter().map(|one| one.pod.record.created).max();
        listed.retain(|one| Some(one.pod.record.created) == newest);
    }
    let now = Timestamp::now();
    let truncation = if arguments.no_trunc { Truncation::Off } else { Truncation::On };
    let rows: Vec<PodRow> = listed.iter().map(|one| one.row(now, truncation)).collect();
    if arguments.quiet {
        return print(&rows.iter().map(|row| format!("{}\n", row.short_id)).collect::<String>());
    }
    let columns = [
        (arguments.ctr_ids, "{{.ContainerIds}}"),
        (arguments.ctr_names, "{{.ContainerNames}}"),
        (arguments.ctr_status, "{{.ContainerStatuses}}"),
    ];
    let asked = columns.iter().filter(|(is_asked, _)| *is_asked).map(|(_, column)| *column);
    let asked: Vec<_> = asked.collect();
    let count = if asked.is_empty() { vec!["{{.NumberOfContainers}}"] } else { asked };
    let fixed = ["{{.ID}}", "{{.Name}}", "{{.Status}}", "{{.CreatedHuman}}", "{{.InfraId}}"];
    let table = fixed.into_iter().chain(count).collect::<Vec<_>>().join("\t");
    // A command prints one table: its template lives as long as the process.
    let layout = Layout { table: table.leak(), headings: HEADINGS };
    let headings = if arguments.noheading { Headings::Hidden } else { Headings::Shown };
    print(&render(&arguments.format.unwrap_or_default(), &layout, headings, &rows)?)
}
