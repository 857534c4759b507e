//! `usnea search`: repositories of registries.

use std::str::FromStr;

use serde::Serialize;

use super::rows;
use crate::cli::flags::registry::RegistryFlags;
use crate::cli::format::{Format, Headings, Layout, render};
use crate::cli::run::print;
use crate::container::images::{self, FoundRepository, Search};
use crate::error::Result;

/// Search registries for images
///
/// Without a registry in the term, those of unqualified-search-registries in registries.conf are searched, docker.io by
/// default. A registry without a search of docker's is asked for its list of repositories; the term must be in the name.
#[derive(clap::Args)]
pub struct Arguments {
    /// Search term: [REGISTRY/]TERM.
    #[arg(value_name = "TERM")]
    term: String,

    /// Filter by stars=NUMBER (the minimum), is-official=BOOL or is-automated=BOOL. May be given more than once.
    #[arg(short, long = "filter", value_name = "KEY=VALUE")]
    filters: Vec<Filter>,

    /// Most results of each registry.
    #[arg(long, value_name = "NUMBER", default_value_t = 25,
          value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=100_000))]
    limit: usize,

    /// List the tags of the repository TERM.
    #[arg(long, conflicts_with = "filters")]
    list_tags: bool,

    /// Print descriptions whole.
    #[arg(long)]
    no_trunc: bool,

    /// json, table [TEMPLATE], or a Go template. Fields: .Index .Name .Description .StarCount .Stars .IsOfficial .Official
    /// .IsAutomated .Automated; with --list-tags .Name .Tag
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,

    #[command(flatten)]
    registry: RegistryFlags,
}

/// Condition on a repository.
#[derive(Clone, Debug)]
enum Filter {
    Stars(u64),
    Official(bool),
    Automated(bool),
}

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').unwrap_or((text, "true"));
        let truth = || match value {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(format!("{key}: neither true nor false: '{}'", value.escape_debug())),
        };
        match key {
            "stars" => value.parse().map(Self::Stars).map_err(|_| "stars: not a number".into()),
            "is-official" => truth().map(Self::Official),
            "is-automated" => truth().map(Self::Automated),
            _ => Err("one of stars=NUMBER, is-official=BOOL, is-automated=BOOL is needed".into()),
        }
    }
}

impl Filter {
    fn takes(&self, repository: &FoundRepository) -> bool {
        match self {
            Self::Stars(least) => repository.star_count >= *least,
            Self::Official(wanted) => repository.is_official == *wanted,
            Self::Automated(wanted) => repository.is_automated == *wanted,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    index: String,
    name: String,
    description: String,
    star_count: u64,
    /// Stars under podman's name: a copy of `StarCount`.
    stars: u64,
    /// `[OK]` for an official repository, else empty, as in docker.
    is_official: String,
    official: String,
    is_automated: String,
    automated: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct TagRow {
    name: String,
    tag: String,
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
        asked: arguments.registry.options()?,
    };
    let format = arguments.format.unwrap_or_default();
    if arguments.list_tags {
        let (repository, tags) = images::tags(&search)?;
        let row = |tag| TagRow { name: repository.name(), tag };
        let rows: Vec<TagRow> = tags.into_iter().map(row).collect();
        return print(&render(&format, &TAGS, Headings::Shown, &rows)?);
    }
    let found = images::search(&search)?;
    let fits = |found: &&images::Found| {
        arguments.filters.iter().all(|filter| filter.takes(&found.repository))
    };
    let mark = |is_so: bool| if is_so { "[OK]".to_owned() } else { String::new() };
    let row = |found: &images::Found| {
        let repository = &found.repository;
        let description = repository.description.replace(['\n', '\t'], " ");
        Row {
            index: found.registry.clone(),
            name: found.name(),
            description: match arguments.no_trunc {
                true => description,
                false => rows::shortened(&description),
            },
            star_count: repository.star_count,
            stars: repository.star_count,
            is_official: mark(repository.is_official),
            official: mark(repository.is_official),
            is_automated: mark(repository.is_automated),
            automated: mark(repository.is_automated),
        }
    };
    let rows: Vec<Row> = found.iter().filter(fits).map(row).collect();
    print(&render(&format, &LAYOUT, Headings::Shown, &rows)?)
}
