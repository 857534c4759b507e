//! `usnea volume ls`: lists volumes.

use crate::cli::flags::selection::given_filters;
use crate::cli::output::format::{Format, Headings, Layout, render};
use crate::cli::output::print;
use crate::container::Usnea;
use crate::container::volumes::{self, VolumeFilter};
use crate::documents::volume::VolumeRow;
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

const LAYOUT: Layout =
    Layout { table: "{{.Driver}}\t{{.Name}}", headings: &[("Name", "VOLUME NAME")] };

/// Lists volumes.
pub fn run(arguments: Arguments, usnea: &Usnea) -> Result<u8> {
    let store = usnea.store()?;
    let filters = given_filters(&arguments.filters).map(|text| text.parse::<VolumeFilter>());
    let filters = filters.collect::<Result<Vec<_>>>()?;
    let volumes = volumes::list(usnea, &filters)?;
    let rows: Vec<VolumeRow> = volumes.iter().map(|volume| volume.row(store)).collect();
    if arguments.quiet {
        return print(&rows.iter().map(|row| format!("{}\n", row.name)).collect::<String>());
    }
    let headings = if arguments.noheading { Headings::Hidden } else { Headings::Shown };
    print(&render(&arguments.format.unwrap_or_default(), &LAYOUT, headings, &rows)?)
}
