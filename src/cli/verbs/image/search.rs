//! `usnea search`: repositories of registries.

use crate::cli::flags::registry::RegistryFlags;
use crate::cli::output::format::{Format, Headings, Layout, render};
use crate::cli::output::print;
use crate::container::images::{self, Search, SearchFilter};
use crate::documents::image::{SearchRow, TagRow};
use crate::documents::text::Truncation;
use crate::error::Result;

/// Search registries for images
///
/// Without a registry in TERM, those of unqualified-search-registries in registries.conf are searched, docker.io by
/// default. In a registry without a search API, the list of repositories is searched by name.
#[derive(clap::Args)]
pub struct Arguments {
    /// Search term: [REGISTRY/]TERM.
    #[arg(value_name = "TERM")]
    term: String,

    /// Filter by stars=NUMBER (the minimum), is-official=BOOL or is-automated=BOOL. May be given more than once.
    #[arg(short, long = "filter", value_name = "KEY=VALUE")]
    filters: Vec<SearchFilter>,

    /// Maximum number of results of each registry.
    #[arg(long, value_name = "NUMBER", default_value_t = 25,
          value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=100_000))]
    limit: usize,

    /// List the tags of the repository TERM.
    #[arg(long, conflicts_with = "filters")]
    list_tags: bool,

    /// Do not truncate descriptions.
    #[arg(long)]
    no_trunc: bool,

    /// json, table [TEMPLATE], or a Go template. Fields: .Index .Name .Description .StarCount .Stars .IsOfficial .Official
    /// .IsAutomated .Automated; with --list-tags .Name .Tag
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,

    #[command(flatten)]
    registry: RegistryFlags,
}

const LAYOUT: Layout = Layout {
    table: "{{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}",
    headings: &[("StarCount", "STARS"), ("IsOfficial", "OFFICIAL")],
};
const TAGS: Layout = Layout { table: "{{.Name}}\t{{.Tag}}", headings: &[] };

/// Searches, and prints the repositories or tags.
pub fn run(arguments: Arguments) -> Result<u8> {
    let search = Search {
        term: arguments.term,
        limit: arguments.limit,
        filters: arguments.filters,
        asked: arguments.registry.options()?,
    };
    let format = arguments.format.unwrap_or_default();
    if arguments.list_tags {
        let rows: Vec<TagRow> = images::tags(&search)?.into();
        return print(&render(&format, &TAGS, Headings::Shown, &rows)?);
    }
    let truncation = if arguments.no_trunc { Truncation::Off } else { Truncation::On };
    let found = images::search(&search)?;
    let rows: Vec<SearchRow> = found.iter().map(|result| result.row(truncation)).collect();
    print(&render(&format, &LAYOUT, Headings::Shown, &rows)?)
}
