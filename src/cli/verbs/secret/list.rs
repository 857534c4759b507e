//! `usnea secret ls`: lists secrets.

use std::path::Path;

use crate::cli::flags::selection::given_filters;
use crate::cli::output::format::{Format, Headings, Layout, render};
use crate::cli::output::print;
use crate::container::secrets::{self, SecretFilter};
use crate::documents::secret::SecretRow;
use crate::error::Result;

/// List secrets
#[derive(clap::Args)]
pub struct Arguments {
    /// Print IDs only.
    #[arg(short, long)]
    quiet: bool,

    /// Filter by name=REGEX, id=ID or label=KEY[=VALUE]. May be given more than once.
    #[arg(short, long = "filter", value_name = "KEY=VALUE")]
    filters: Vec<String>,

    /// json, table [TEMPLATE], or a Go template. Fields: .ID .Name .Driver .CreatedAt .UpdatedAt .Labels; .Label "NAME" is
    /// one label.
    #[arg(long, value_name = "FORMAT", conflicts_with = "quiet")]
    format: Option<Format>,

    /// Omit the header line.
    #[arg(short = 'n', long)]
    noheading: bool,
}

const LAYOUT: Layout = Layout {
    table: "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.CreatedAt}}\t{{.UpdatedAt}}",
    headings: &[("CreatedAt", "CREATED"), ("UpdatedAt", "UPDATED")],
};

/// Lists secrets.
pub fn run(arguments: Arguments, store: &Path) -> Result<u8> {
    let filters = given_filters(&arguments.filters).map(|text| text.parse::<SecretFilter>());
    let filters = filters.collect::<Result<Vec<_>>>()?;
    let secrets = secrets::list(store, &filters)?;
    let rows: Vec<SecretRow> = secrets.iter().map(secrets::StoredSecret::row).collect();
    if arguments.quiet {
        return print(&rows.iter().map(|row| format!("{}\n", row.id)).collect::<String>());
    }
    let headings = if arguments.noheading { Headings::Hidden } else { Headings::Shown };
    print(&render(&arguments.format.unwrap_or_default(), &LAYOUT, headings, &rows)?)
}
