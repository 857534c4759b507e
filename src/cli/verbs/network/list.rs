//! `usnea network ls`: lists networks.

use crate::cli::flags::selection::given_filters;
use crate::cli::output::format::{Format, Headings, Layout, render};
use crate::cli::output::print;
use crate::container::Usnea;
use crate::container::networks::{self, NetworkFilter};
use crate::documents::network_definition::NetworkRow;
use crate::documents::text::Truncation;
use crate::error::Result;

/// List networks
#[derive(clap::Args)]
pub struct Arguments {
    /// Print IDs only.
    #[arg(short, long)]
    quiet: bool,

    /// Do not truncate IDs.
    #[arg(long)]
    no_trunc: bool,

    /// Filter by name=REGEX, id=ID, driver=DRIVER, label=KEY[=VALUE], label!=KEY[=VALUE], scope=local, type=custom|builtin,
    /// dangling=BOOL (no container uses it) or until=TIME. May be given more than once.
    #[arg(short, long = "filter", value_name = "KEY=VALUE")]
    filters: Vec<String>,

    /// json, table [TEMPLATE], or a Go template. Fields: .ID .Name .Driver .Scope .IPv4 .IPv6 .Internal .Labels .CreatedAt;
    /// .Label "NAME" is one label.
    #[arg(long, value_name = "FORMAT", conflicts_with = "quiet")]
    format: Option<Format>,

    /// Omit the header line.
    #[arg(short = 'n', long)]
    noheading: bool,
}

const LAYOUT: Layout = Layout {
    table: "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}",
    headings: &[("ID", "NETWORK ID")],
};

/// Lists networks.
pub fn run(arguments: Arguments, usnea: &Usnea) -> Result<u8> {
    let filters = given_filters(&arguments.filters).map(|text| text.parse::<NetworkFilter>());
    let filters = filters.collect::<Result<Vec<_>>>()?;
    let networks = networks::list(usnea, &filters)?;
    let truncation = if arguments.no_trunc { Truncation::Off } else { Truncation::On };
    let rows: Vec<NetworkRow> = networks.iter().map(|network| network.row(truncation)).collect();
    if arguments.quiet {
        return print(&rows.iter().map(|row| format!("{}\n", row.id)).collect::<String>());
    }
    let headings = if arguments.noheading { Headings::Hidden } else { Headings::Shown };
    print(&render(&arguments.format.unwrap_or_default(), &LAYOUT, headings, &rows)?)
}
