//! `usnea system df`: disk space of the store.

use serde::Serialize;

use crate::amount::{ago, size};
use crate::cli::format::{Format, Headings, Layout, render};
use crate::cli::run::print;
use crate::container::Usnea;
use crate::container::images;
use crate::container::volumes;
use crate::error::Result;
use crate::image::store::{ImageUsage, StoreUsage, UsageTotals};

/// Show disk usage
///
/// Sizes are disk usage; layers that several images share count once.
#[derive(clap::Args)]
pub struct Arguments {
    /// Show each image.
    #[arg(short, long)]
    verbose: bool,

    /// json, table [TEMPLATE], or a Go template. Fields: .Type .TotalCount .Total .Active .Size .RawSize .Reclaimable
    /// .RawReclaimable; with --verbose
    /// .Repository .Tag .ID .CreatedSince .Size .SharedSize .UniqueSize .InUse.
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    r#type: &'static str,
    total_count: String,
    active: String,
    size: String,
    reclaimable: String,
    /// Number of objects under podman's name: a copy of `TotalCount`.
    total: u64,
    /// Size in bytes, podman's field; so is the next.
    raw_size: u64,
    raw_reclaimable: u64,
}

const LAYOUT: Layout = Layout {
    table: "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}",
    headings: &[("TotalCount", "TOTAL")],
};

impl Row {
    fn new(r#type: &'static str, part: &UsageTotals) -> Self {
        let share = match part.size {
            0 => String::new(),
            all => format!(" ({}%)", u128::from(part.reclaimable) * 100 / u128::from(all)),
        };
        Self {
            r#type,
            total_count: part.count.to_string(),
            active: part.active.to_string(),
            size: size(part.size),
            reclaimable: size(part.reclaimable) + &share,
            total: part.count,
            raw_size: part.size,
            raw_reclaimable: part.reclaimable,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ImageRow {
    repository: String,
    tag: String,
    #[serde(rename = "ID")]
    id: String,
    created_since: String,
    size: String,
    shared_size: String,
    unique_size: String,
    in_use: bool,
}

const IMAGES: Layout = Layout {
    table: "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.InUse}}",
    headings: &[("ID", "IMAGE ID"), ("CreatedSince", "CREATED")],
};

impl ImageRow {
    fn new(usage: &ImageUsage) -> Self {
        let name = usage.image.names.first();
        let none = || "<none>".to_owned();
        let familiar = |text: String, tag: &Option<String>| match tag {
            Some(tag) => text.strip_suffix(&format!(":{tag}")).unwrap_or(&text).to_owned(),
            None => text,
        };
        let now = jiff::Timestamp::now();
        Self {
            repository: name.map_or_else(none, |name| familiar(name.familiar(), &name.tag)),
            tag: name.and_then(|name| name.tag.clone()).unwrap_or_else(none),
            id: usage.image.config.short().to_owned(),
            created_since: usage
                .image
                .created
                .map_or_else(|| "N/A".to_owned(), |then| ago(then, now)),
            size: size(usage.size),
            shared_size: size(usage.shared),
            unique_size: size(usage.size.saturating_sub(usage.shared)),
            in_use: usage.in_use,
        }
    }
}

/// Prints the disk space.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    let _stores = usnea.images()?;
    let usage = images::usage(usnea)?;
    let totals = rows(&usage, &volumes::usage(usnea)?);
    let format = arguments.format.clone().unwrap_or_default();
    if !arguments.verbose {
        return print(&render(&format, &LAYOUT, Headings::Shown, &totals)?);
    }
    let each: Vec<ImageRow> = usage.each.iter().map(ImageRow::new).collect();
    let images = render(&format, &IMAGES, Headings::Shown, &each)?;
    if arguments.format.is_some() {
        return print(&images);
    }
    let totals = render(&format, &LAYOUT, Headings::Shown, &totals)?;
    print(&format!("{totals}\n{images}"))
}

fn rows(usage: &StoreUsage, volumes: &UsageTotals) -> [Row; 4] {
    [
        Row::new("Images", &usage.images),
        // docker's words for volumes.
        Row::new("Local Volumes", volumes),
        Row::new("Host roots", &usage.host_roots),
        Row::new("Downloads", &usage.downloads),
    ]
}
