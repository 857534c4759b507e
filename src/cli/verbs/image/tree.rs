//! `usnea image tree`: the layers of images, and their sharers.

use crate::amount::size;
use crate::cli::output::format::{Format, Headings, Layout, render};
use crate::cli::output::print;
use crate::cli::output::table;
use crate::container::Usnea;
use crate::container::images::{ImageShares, ShareTotals, label, sharing};
use crate::documents::image::ImageTreeRow;
use crate::documents::text::Truncation;
use crate::error::Result;

/// Show the layers of images, their sizes, and the images that share them
#[derive(clap::Args)]
pub struct Arguments {
    /// Names or IDs of images. Default: all.
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,

    /// Do not truncate digests.
    #[arg(long)]
    no_trunc: bool,

    /// json, table [TEMPLATE], or a Go template, once for each image. Fields: .ID .Names .Size .Packed .Unique .Shared
    /// .Layers; of each layer .DiffID .Blob .Size .Packed .SharedWith. Sizes in bytes.
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
}

const LAYOUT: Layout = Layout {
    table: "{{.ID}}\t{{join .Names \", \"}}\t{{.Size}}\t{{.Unique}}\t{{.Shared}}",
    headings: &[],
};

/// Prints the trees.
pub fn run(arguments: Arguments, usnea: &Usnea) -> Result<u8> {
    let sharing = sharing(usnea, &arguments.images)?;
    let truncation = if arguments.no_trunc { Truncation::Off } else { Truncation::On };
    if let Some(format) = &arguments.format {
        let rows: Vec<ImageTreeRow> =
            sharing.images.iter().map(|shares| shares.row(truncation)).collect();
        return print(&render(format, &LAYOUT, Headings::Shown, &rows)?);
    }
    let trees: String = sharing.images.iter().map(|shares| tree(shares, truncation)).collect();
    print(&(trees + &total(sharing.images.len(), &sharing.totals)))
}

/// Formats an image, then its layers, the bottom layer first.
fn tree(shares: &ImageShares, truncation: Truncation) -> String {
    let image = &shares.image;
    let names: Vec<String> = image.names.iter().map(|name| name.familiar()).collect();
    let names = if names.is_empty() { label(image) } else { names.join(", ") };
    let mut lines = format!(
        "{names}  {}  {}  {} ({} packed)\n",
        truncation.digest(&image.config),
        table::escape(&image.platform.to_string()),
        size(image.size()),
        size(shares.packed())
    );
    let mut layers = String::new();
    for (at, shared) in shares.layers.iter().enumerate() {
        let branch = if at + 1 == shares.layers.len() { "└─" } else { "├─" };
        let with = shared_with(&shared.with);
        layers += &format!(
            "{branch} {}\t{}\t{} packed\t{with}\n",
            truncation.digest(&shared.layer.diff_id),
            size(shared.layer.size),
            size(shared.layer.packed)
        );
    }
    lines += &table::align(&layers);
    format!("{lines}   unique {}, shared {}\n\n", size(shares.unique()), size(shares.shared()))
}

/// Lists the first names only: many images may share a base.
fn shared_with(names: &[String]) -> String {
    const MOST: usize = 5;
    let more = match names.len().saturating_sub(MOST) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    match names {
        [] => String::new(),
        names => {
            let first: Vec<&str> = names.iter().take(MOST).map(String::as_str).collect();
            format!("shared with {}{more}", first.join(", "))
        }
    }
}

fn total(images: usize, totals: &ShareTotals) -> String {
    let saved = totals.apart.saturating_sub(totals.once);
    format!(
        "images {images}, layers {}: {} unpacked, {} packed; sharing saves {}\n",
        totals.layers,
        size(totals.once),
        size(totals.packed),
        size(saved)
    )
}
