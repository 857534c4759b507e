//! `usnea image history`: the command behind each layer.

use clap::builder::BoolishValueParser;
use serde::Serialize;

use super::rows;
use crate::amount;
use crate::cli::format::{Format, Headings, Layout, render};
use crate::cli::run::print;
use crate::container::Usnea;
use crate::container::images::{Step, history};
use crate::error::Result;
use crate::image::store::ImageRecord;

/// Show the history of an image, the newest layer first
#[derive(clap::Args)]
pub struct Arguments {
    /// Name or ID of the image.
    #[arg(value_name = "IMAGE")]
    image: String,

    /// Human-readable sizes and times; false: bytes, and times as in RFC 3339.
    #[arg(short = 'H', long, num_args = 0..=1, require_equals = true, value_name = "BOOL", default_value = "true",
          default_missing_value = "true", hide_possible_values = true, value_parser = BoolishValueParser::new())]
    human: bool,

    /// Do not truncate IDs and commands.
    #[arg(long)]
    no_trunc: bool,

    /// Print IDs only.
    #[arg(short, long)]
    quiet: bool,

    /// json, table [TEMPLATE], or a Go template. Fields: .ID .CreatedSince .CreatedAt .Created .CreatedBy .Size .Comment
    /// .Tags
    #[arg(long, value_name = "FORMAT", conflicts_with = "quiet")]
    format: Option<Format>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    #[serde(rename = "ID")]
    id: String,
    created_since: String,
    created_at: String,
    /// Age of the step under podman's name: a copy of `CreatedSince`.
    created: String,
    created_by: String,
    size: String,
    comment: String,
    /// Names of the image, in the row of its last step.
    tags: Vec<String>,
}

const LAYOUT: Layout = Layout {
    table: "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
    headings: HEADINGS,
};
const FOR_PROGRAMS: Layout = Layout {
    table: "{{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
    headings: HEADINGS,
};
const HEADINGS: &[(&str, &str)] = &[("ID", "IMAGE"), ("CreatedSince", "CREATED")];

/// Prints the history.
pub fn run(arguments: Arguments, usnea: &Usnea) -> Result<u8> {
    let (image, steps) = history(usnea, &arguments.image)?;
    let rows: Vec<Row> =
        steps.iter().enumerate().map(|(at, step)| row(&image, at, step, &arguments)).collect();
    if arguments.quiet {
        return print(&rows.iter().map(|row| format!("{}\n", row.id)).collect::<String>());
    }
    let layout = if arguments.human { LAYOUT } else { FOR_PROGRAMS };
    print(&render(&arguments.format.unwrap_or_default(), &layout, Headings::Shown, &rows)?)
}

fn row(image: &ImageRecord, at: usize, step: &Step, arguments: &Arguments) -> Row {
    let size = step.layer.as_ref().map_or(0, |layer| layer.size);
    let since = step.created.map(|time| amount::ago(time, jiff::Timestamp::now()));
    let since = since.unwrap_or_else(|| "N/A".into());
    let tags = image.names.iter().filter(|_| at == 0).map(ToString::to_string);
    let created_by = step.created_by.replace('\t', " ");
    Row {
        // The steps below the image's own have no image here.
        id: if at == 0 { rows::id(&image.config, arguments.no_trunc) } else { "<missing>".into() },
        created: since.clone(),
        created_since: since,
        created_at: step.created.map(|time| time.to_string()).unwrap_or_default(),
        created_by: if arguments.no_trunc { created_by } else { rows::shortened(&created_by) },
        size: if arguments.human { amount::size(size) } else { size.to_string() },
        comment: step.comment.clone(),
        tags: tags.collect(),
    }
}
