//! `usnea system df`: disk space of the store.

use crate::cli::format::{Format, Headings, Layout, render};
use crate::cli::run::print;
use crate::container::Usnea;
use crate::container::images;
use crate::container::volumes;
use crate::documents::usage::{DiskUsageRow, ImageUsageRow};
use crate::error::Result;
use crate::image::store::{StoreUsage, UsageTotals};

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

const LAYOUT: Layout = Layout {
    table: "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}",
    headings: &[("TotalCount", "TOTAL")],
};

const IMAGES: Layout = Layout {
    table: "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.InUse}}",
    headings: &[("ID", "IMAGE ID"), ("CreatedSince", "CREATED")],
};

/// Prints the disk space.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    let _stores = usnea.images()?;
    let usage = images::usage(usnea)?;
    let totals = rows(&usage, &volumes::usage(usnea)?);
    let format = arguments.format.clone().unwrap_or_default();
    if !arguments.verbose {
        return print(&render(&format, &LAYOUT, Headings::Shown, &totals)?);
    }
    let now = jiff::Timestamp::now();
    let each = usage.each.iter().map(|image| ImageUsageRow::new(image, now));
    let each: Vec<ImageUsageRow> = each.collect();
    let images = render(&format, &IMAGES, Headings::Shown, &each)?;
    if arguments.format.is_some() {
        return print(&images);
    }
    let totals = render(&format, &LAYOUT, Headings::Shown, &totals)?;
    print(&format!("{totals}\n{images}"))
}

fn rows(usage: &StoreUsage, volumes: &UsageTotals) -> [DiskUsageRow; 4] {
    [
        DiskUsageRow::new("Images", &usage.images),
        // docker's words for volumes.
        DiskUsageRow::new("Local Volumes", volumes),
        DiskUsageRow::new("Host roots", &usage.host_roots),
        DiskUsageRow::new("Downloads", &usage.downloads),
    ]
}
