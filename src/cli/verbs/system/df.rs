//! `usnea system df`: disk space of the store.

use crate::cli::output::format::{Format, Headings, Layout, render};
use crate::cli::output::print;
use crate::container::{self, Usnea};
use crate::error::Result;

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
    let usage = container::disk_usage(usnea)?;
    let format = arguments.format.clone().unwrap_or_default();
    let totals = || render(&format, &LAYOUT, Headings::Shown, &usage.rows());
    if !arguments.verbose {
        return print(&totals()?);
    }
    let images = usage.image_rows(jiff::Timestamp::now());
    let images = render(&format, &IMAGES, Headings::Shown, &images)?;
    if arguments.format.is_some() {
        return print(&images);
    }
    print(&format!("{}\n{images}", totals()?))
}
