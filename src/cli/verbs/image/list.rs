//! `usnea images`, `usnea image ls`: lists images.

use clap::ValueEnum;

use crate::cli::flags::selection::given_filters;
use crate::cli::output::format::{Format, Headings, Layout, render};
use crate::cli::output::print;
use crate::container::Usnea;
use crate::container::images::{ImageFilter, ImageOrder, ListImages, list};
use crate::documents::image::ImageRow;
use crate::documents::text::Truncation;
use crate::error::Result;

/// List images
///
/// Names are shown in docker's short form: debian for docker.io/library/debian. The full name is shown if the short
/// name means a local image (localhost/debian). Images of read-only stores are listed too.
#[derive(clap::Args)]
pub struct Arguments {
    /// Show images of this name: NAME[:TAG], with the patterns * ? and [a-z] of --filter reference=.
    #[arg(value_name = "NAME")]
    name: Option<String>,

    /// Show all images. No effect: there are no intermediate images.
    #[arg(short, long)]
    all: bool,

    /// Print only the IDs, each once.
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
    #[arg(long, value_enum, value_name = "KEY", default_value_t = ImageSortKey::Created)]
    sort: ImageSortKey,

    /// json, table [TEMPLATE], or a Go template. Fields: .Repository .Tag .ID .Id .Digest .Created .CreatedSince .CreatedAt
    /// .CreatedTime .Size .VirtualSize .SharedSize .UniqueSize .ReadOnly .Names .RepoTags .RepoDigests .Containers .Dangling
    /// .Labels .ParentId .Manifest
    #[arg(long, value_name = "FORMAT", conflicts_with = "quiet")]
    format: Option<Format>,
}

#[derive(Clone, Copy, ValueEnum)]
enum ImageSortKey {
    /// The newest first.
    Created,
    Id,
    Repository,
    /// The largest first.
    Size,
    Tag,
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
    let filters = given_filters(&arguments.filters).map(|text| text.parse::<ImageFilter>());
    let mut filters = filters.collect::<Result<Vec<_>>>()?;
    filters.extend(arguments.name.map(ImageFilter::Reference));
    let format = arguments.format.unwrap_or_default();
    let request = ListImages {
        filters,
        order: match arguments.sort {
            ImageSortKey::Created => ImageOrder::Created,
            ImageSortKey::Id => ImageOrder::Id,
            ImageSortKey::Repository => ImageOrder::Repository,
            ImageSortKey::Size => ImageOrder::Size,
            ImageSortKey::Tag => ImageOrder::Tag,
        },
        containers: format.may_show(&["Containers"]),
        labels: format.may_show(&["Label"]),
    };
    let images = list(usnea, &request)?;
    let now = jiff::Timestamp::now();
    let truncation = if arguments.no_trunc { Truncation::Off } else { Truncation::On };
    let rows: Vec<ImageRow> = images.iter().map(|image| image.row(now, truncation)).collect();
    if arguments.quiet {
        return print_ids(&rows);
    }
    let layout = if arguments.digests { WITH_DIGESTS } else { LAYOUT };
    let headings = if arguments.noheading { Headings::Hidden } else { Headings::Shown };
    print(&render(&format, &layout, headings, &rows)?)
}

fn print_ids(rows: &[ImageRow]) -> Result<u8> {
    let mut seen = std::collections::HashSet::new();
    let ids = rows.iter().map(|row| row.id.as_str()).filter(|id| seen.insert(*id));
    print(&ids.map(|id| format!("{id}\n")).collect::<String>())
}
