//! `usnea image history`: the command behind each layer.

use clap::builder::BoolishValueParser;

use crate::cli::output::format::{Format, Headings, Layout, render};
use crate::cli::output::print;
use crate::container::Usnea;
use crate::container::images::{SizeForm, history};
use crate::documents::text::Truncation;
use crate::error::Result;

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
    let history = history(usnea, &arguments.image)?;
    let truncation = if arguments.no_trunc { Truncation::Off } else { Truncation::On };
    let (layout, sizes) = match arguments.human {
        true => (LAYOUT, SizeForm::Human),
        false => (FOR_PROGRAMS, SizeForm::Bytes),
    };
    let rows = history.rows(jiff::Timestamp::now(), truncation, sizes);
    if arguments.quiet {
        return print(&rows.iter().map(|row| format!("{}\n", row.id)).collect::<String>());
    }
    print(&render(&arguments.format.unwrap_or_default(), &layout, Headings::Shown, &rows)?)
}
