//! `usnea images`, `usnea image ls`: lists images.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use clap::ValueEnum;
use serde::Serialize;

use super::rows;
use crate::amount;
use crate::cli::format::{Format, Headings, Layout, render};
use crate::cli::run::print;
use crate::container;
use crate::container::Usnea;
use crate::container::images::{Filter, Listed, Sort, labels, list};
use crate::error::Result;

/// List images
///
/// Names are shown as docker shows them: debian for docker.io/library/debian; the full name is shown where the short name
/// means an image that was named here (localhost/debian). Images of read-only stores are listed too.
#[derive(clap::Args)]
pub struct Arguments {
    /// Show images of this name: NAME[:TAG], with the patterns * ? and [a-z] of --filter reference=.
    #[arg(value_name = "NAME")]
    name: Option<String>,

    /// Show all images. No effect: there are no hidden intermediate images.
    #[arg(short, long)]
    all: bool,

    /// Print IDs only, each once.
    #[arg(short, long)]
    quiet: bool,

    /// Do not truncate IDs.
    #[arg(long)]
    no_trunc: bool,

    /// Show digests too.
    #[arg(long)]
    digests: bool,

    /// Omit the header line.
    #[arg(short = 'n', long)]
    noheading: bool,

    /// Filter by reference=PATTERN, reference!=PATTERN, id=ID, digest=DIGEST, dangling=BOOL, containers=BOOL (used by a
    /// container), readonly=BOOL, label=KEY[=VALUE], label!=KEY[=VALUE], until=TIME, before=IMAGE or since=IMAGE;
    /// intermediate and manifest match no image. May be given more than once.
    #[arg(short, long = "filter", value_name = "KEY=VALUE")]
    filters: Vec<String>,

    /// Sort order.
    #[arg(long, value_enum, value_name = "KEY", default_value_t = SortKey::Created)]
    sort: SortKey,

    /// json, table [TEMPLATE], or a Go template. Fields: .Repository .Tag .ID .Id .Digest .Created .CreatedSince .CreatedAt
    /// .CreatedTime .Size .VirtualSize .SharedSize .UniqueSize .ReadOnly .Names .RepoTags .RepoDigests .Containers .Dangling
    /// .Labels .ParentId .Manifest
    #[arg(long, value_name = "FORMAT", conflicts_with = "quiet")]
    format: Option<Format>,
}

#[derive(Clone, Copy, ValueEnum)]
enum SortKey {
    /// The newest first.
    Created,
    Id,
    Repository,
    /// The largest first.
    Size,
    Tag,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    repository: String,
    tag: String,
    #[serde(rename = "ID")]
    id: String,
    /// ID in podman's spelling: always whole.
    #[serde(rename = "Id")]
    whole_id: String,
    digest: String,
    /// Age under podman's name.
    created: String,
    created_since: String,
    created_at: String,
    created_time: String,
    size: String,
    virtual_size: String,
    /// Shared size, which depends on all images together: docker's word for a size that was not computed.
    shared_size: &'static str,
    unique_size: &'static str,
    read_only: bool,
    dangling: bool,
    names: Vec<String>,
    repo_tags: Vec<String>,
    repo_digests: Vec<String>,
    containers: usize,
    labels: BTreeMap<String, String>,
    /// Labels as a map, for `.Label "NAME"` (`format::LABELS`).
    #[serde(rename = " Labels")]
    label_map: BTreeMap<String, String>,
    parent_id: &'static str,
    manifest: bool,
}

const LAYOUT: Layout = Layout {
    table: "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}",
    headings: HEADINGS,
};
const WITH_DIGESTS: Layout = Layout {
    table: "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}",
    headings: HEADINGS,
};
const HEADINGS: &[(&str, &str)] = &[("ID", "IMAGE ID"), ("CreatedSince", "CREATED")];

/// Lists images.
pub fn run(arguments: Arguments, usnea: &Usnea) -> Result<u8> {
    let filters = arguments.filters.iter().map(|text| text.parse::<Filter>());
    let mut filters = filters.collect::<Result<Vec<_>>>()?;
    filters.extend(arguments.name.map(Filter::Reference));
    let sort = match arguments.sort {
        SortKey::Created => Sort::Created,
        SortKey::Id => Sort::Id,
        SortKey::Repository => Sort::Repository,
        SortKey::Size => Sort::Size,
        SortKey::Tag => Sort::Tag,
    };
    let stores = usnea.images()?;
    let images = list(usnea, &filters, sort)?;
    let now = jiff::Timestamp::now();
    let mut rows: Vec<Row> =
        images.iter().map(|image| row(image, now, arguments.no_trunc)).collect();
    let format = arguments.format.unwrap_or_default();
    if format.may_show(&["Containers"]) {
        let used = used(stores.own().root())?;
        for (row, image) in rows.iter_mut().zip(&images) {
            row.containers = used.get(&image.image.config.to_string()).copied().unwrap_or(0);
        }
    }
    if format.may_show(&["Label"]) {
        for (row, image) in rows.iter_mut().zip(&images) {
            row.labels = labels(&stores, &image.image);
            row.label_map = row.labels.clone();
        }
    }
    if arguments.quiet {
        return print_ids(&rows);
    }
    let layout = if arguments.digests { WITH_DIGESTS } else { LAYOUT };
    let headings = if arguments.noheading { Headings::Hidden } else { Headings::Shown };
    print(&render(&format, &layout, headings, &rows)?)
}

/// Returns the number of containers made from each image, by its ID.
fn used(store: &Path) -> Result<HashMap<String, usize>> {
    let mut used = HashMap::new();
    for id in container::all(store)?.into_iter().filter_map(|container| container.record.image_id) {
        *used.entry(id).or_default() += 1;
    }
    Ok(used)
}

fn print_ids(rows: &[Row]) -> Result<u8> {
    let mut seen = std::collections::HashSet::new();
    let ids = rows.iter().map(|row| row.id.as_str()).filter(|id| seen.insert(*id));
    print(&ids.map(|id| format!("{id}\n")).collect::<String>())
}

fn row(listed: &Listed, now: jiff::Timestamp, whole: bool) -> Row {
    let none = || "<none>".to_owned();
    let image = &listed.image;
    let made = image.created.unwrap_or(image.added);
    Row {
        repository: listed
            .name
            .as_ref()
            .map_or_else(none, |name| rows::repository(name, listed.is_hidden)),
        tag: listed.name.as_ref().and_then(|name| name.tag.clone()).unwrap_or_else(none),
        id: rows::id(&image.config, whole),
        whole_id: rows::id(&image.config, true),
        digest: listed.digest.as_ref().map_or_else(none, ToString::to_string),
        created: amount::ago(made, now),
        created_since: amount::ago(made, now),
        created_at: rows::time(made),
        created_time: made.to_string(),
        size: amount::size(image.size()),
        virtual_size: amount::size(image.size()),
        shared_size: "N/A",
        unique_size: "N/A",
        read_only: listed.read_only,
        dangling: image.names.is_empty(),
        names: image.names.iter().map(ToString::to_string).collect(),
        repo_tags: image.names.iter().map(|name| name.familiar()).collect(),
        repo_digests: image.digests.iter().map(|name| name.familiar()).collect(),
        containers: 0,
        labels: BTreeMap::new(),
        label_map: BTreeMap::new(),
        parent_id: "",
        manifest: false,
    }
}
