//! `usnea diff`: changes of a container over its image.

use std::io::IsTerminal;
use std::os::unix::ffi::OsStrExt;

use crate::cli::flags::selection::named_or_newest;
use crate::cli::output::format::{Format, Headings, Layout, render};
use crate::cli::output::table::escape;
use crate::cli::output::{print, print_bytes};
use crate::container;
use crate::container::Usnea;
use crate::documents::changes::{ChangeRow, ChangesDocument};
use crate::error::{Error, Result};
use crate::image::diff::Change;

/// Inspect changes to files of a container
///
/// Prints one line for each path: A for added, C for changed, D for deleted. Files in mounts are not included.
#[derive(clap::Args)]
pub struct Arguments {
    /// Name or ID of the container.
    #[arg(value_name = "CONTAINER", required_unless_present = "latest")]
    name: Option<String>,

    /// Use the container that was created last.
    #[arg(short, long, conflicts_with = "name")]
    latest: bool,

    /// json (the paths that were added, changed and deleted), or a Go template for each line. Fields: .Kind .Path
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
}

const LAYOUT: Layout = Layout { table: "{{.Kind}}\t{{.Path}}", headings: &[] };

/// Prints the changes of a container.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    let container = named_or_newest(usnea, arguments.name.as_deref())?;
    print_changes(&container::diff(usnea, &container)?, arguments.format.as_ref())
}

/// Prints changes in `format`.
pub fn print_changes(changes: &[Change], format: Option<&Format>) -> Result<u8> {
    match format {
        None => {
            // Byte for byte: a path need not be text. On a terminal, control characters are escaped.
            let is_terminal = std::io::stdout().is_terminal();
            let mut lines = Vec::new();
            for change in changes {
                lines.extend_from_slice(format!("{} ", change.kind).as_bytes());
                match is_terminal {
                    true => {
                        lines.extend_from_slice(escape(&change.path.to_string_lossy()).as_bytes())
                    }
                    false => lines.extend_from_slice(change.path.as_os_str().as_bytes()),
                }
                lines.push(b'\n');
            }
            print_bytes(&lines)
        }
        Some(Format::Json) => {
            let document = ChangesDocument::from(changes);
            let text = serde_json::to_string_pretty(&document).map_err(Error::new)?;
            print(&format!("{text}\n"))
        }
        Some(format) => {
            let rows: Vec<ChangeRow> = changes.iter().map(ChangeRow::from).collect();
            print(&render(format, &LAYOUT, Headings::Hidden, &rows)?)
        }
    }
}
