//! `usnea cdi list`: lists devices.

use crate::cli::output::format::{Format, Headings, Layout, render};
use crate::cli::output::print;
use crate::container::cdi_devices;
use crate::documents::cdi::CdiRow;
use crate::error::Result;

/// List devices of the Container Device Interface
#[derive(clap::Args)]
pub struct Arguments {
    /// Print names only.
    #[arg(short, long)]
    quiet: bool,

    /// json, table [TEMPLATE], or a Go template. Fields: .Name .Kind .Device .File .
    #[arg(long, value_name = "FORMAT", conflicts_with = "quiet")]
    format: Option<Format>,

    /// Omit the header line.
    #[arg(short = 'n', long)]
    noheading: bool,
}

const LAYOUT: Layout = Layout { table: "{{.Name}}\t{{.File}}", headings: &[] };

/// Lists the devices that can be used.
pub fn run(arguments: Arguments) -> Result<u8> {
    let registry = cdi_devices::registry();
    for (path, reason) in &registry.broken {
        log::warn!("{}: {reason}", path.display());
    }
    let usable = registry.devices().filter(|device| device.rival.is_none());
    let rows: Vec<CdiRow> = usable
        .map(|device| CdiRow {
            name: device.name.to_string(),
            kind: device.name.kind.to_string(),
            device: device.name.device.clone(),
            file: device.file.display().to_string(),
        })
        .collect();
    if arguments.quiet {
        return print(&rows.iter().map(|row| format!("{}\n", row.name)).collect::<String>());
    }
    let headings = if arguments.noheading { Headings::Hidden } else { Headings::Shown };
    print(&render(&arguments.format.unwrap_or_default(), &LAYOUT, headings, &rows)?)
}
