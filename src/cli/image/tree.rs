//! `usnea image tree`: the layers of images, and their sharers.

use serde::Serialize;

use super::rows;
use crate::amount::size;
use crate::cli::format::{Format, Headings, Layout, render};
use crate::cli::output::table;
use crate::cli::run::print;
use crate::container::Usnea;
use crate::container::images::{Shares, Totals, label, sharing};
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

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    #[serde(rename = "ID")]
    id: String,
    names: Vec<String>,
    size: u64,
    packed: u64,
    unique: u64,
    shared: u64,
    layers: Vec<LayerRow>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct LayerRow {
    #[serde(rename = "DiffID")]
    diff_id: String,
    blob: String,
    size: u64,
    packed: u64,
    shared_with: Vec<String>,
}

const LAYOUT: Layout = Layout {
    table: "{{.ID}}\t{{join .Names \", \"}}\t{{.Size}}\t{{.Unique}}\t{{.Shared}}",
    headings: &[],
};

/// Prints the trees.
pub fn run(arguments: Arguments, usnea: &Usnea) -> Result<u8> {
    let (all, totals) = sharing(usnea, &arguments.images)?;
    if let Some(format) = &arguments.format {
        let rows: Vec<Row> = all.iter().map(|shares| row(shares, arguments.no_trunc)).collect();
        return print(&render(format, &LAYOUT, Headings::Shown, &rows)?);
    }
    let trees: String = all.iter().map(|shares| tree(shares, arguments.no_trunc)).collect();
    print(&(trees + &total(all.len(), &totals)))
}

fn row(shares: &Shares, whole: bool) -> Row {
    let image = &shares.image;
    Row {
        id: rows::id(&image.config, whole),
        names: image.names.iter().map(|name| name.familiar()).collect(),
        size: image.size(),
        packed: packed(shares),
        unique: shares.unique(),
        shared: shares.shared(),
        layers: shares
            .layers
            .iter()
            .map(|one| LayerRow {
                diff_id: rows::id(&one.layer.diff_id, whole),
                blob: rows::id(&one.layer.blob, whole),
                size: one.layer.size,
                packed: one.layer.packed,
                shared_with: one.with.clone(),
            })
            .collect(),
    }
}

fn packed(shares: &Shares) -> u64 {
    shares.layers.iter().fold(0, |sum, one| sum.saturating_add(one.layer.packed))
}

/// Formats an image, then its layers, the bottom layer first.
fn tree(shares: &Shares, whole: bool) -> String {
    let image = &shares.image;
    let names: Vec<String> = image.names.iter().map(|name| name.familiar()).collect();
    let names = if names.is_empty() { label(image) } else { names.join(", ") };
    let mut lines = format!(
        "{names}  {}  {}  {} ({} packed)\n",
        rows::id(&image.config, whole),
        table::escape(&image.platform.to_string()),
        size(image.size()),
        size(packed(shares))
    );
    let mut layers = String::new();
    for (at, one) in shares.layers.iter().enumerate() {
        let branch = if at + 1 == shares.layers.len() { "└─" } else { "├─" };
        let with = shared_with(&one.with);
        layers += &format!(
            "{branch} {}\t{}\t{} packed\t{with}\n",
            rows::id(&one.layer.diff_id, whole),
            size(one.layer.size),
            size(one.layer.packed)
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

fn total(images: usize, totals: &Totals) -> String {
    let saved = totals.apart.saturating_sub(totals.once);
    format!(
        "images {images}, layers {}: {} unpacked, {} packed; sharing saves {}\n",
        totals.layers,
        size(totals.once),
        size(totals.packed),
        size(saved)
    )
}
