//! `usnea image inspect`: documents of images.

use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{PrettyFormatter, Serializer};

use crate::cli::output::format::{Format, Headings, Layout, render};
use crate::cli::output::print;
use crate::container::Usnea;
use crate::container::images::inspect;
use crate::error::{Error, Result};

/// Show detailed information on images
#[derive(clap::Args)]
pub struct Arguments {
    /// Names or IDs of the images.
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,

    /// json, or a Go template, such as '{{.Config.User}}' or '{{json .RootFS.Layers}}'.
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<Format>,
}

const LAYOUT: Layout = Layout { table: "{{.Id}}", headings: &[] };

/// Prints the found documents, then fails for the missing names, as docker does.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    let _stores = usnea.images()?;
    let mut found: Vec<Value> = Vec::new();
    let mut failures: Vec<Error> = Vec::new();
    for image in &arguments.images {
        match inspect(usnea, image) {
            Ok(document) => found.push(serde_json::to_value(document).map_err(Error::new)?),
            Err(error) => failures.push(error),
        }
    }
    match &arguments.format {
        None | Some(Format::Json) => print(&format!("{}\n", in_docker_style(&found)?))?,
        Some(format) => print(&render(format, &LAYOUT, Headings::Shown, &found)?)?,
    };
    let mut failures = failures.into_iter();
    let Some(last) = failures.next_back() else { return Ok(0) };
    // The last error is returned: the caller prints it.
    failures.for_each(|error| log::error!("{error}"));
    Err(last.exit_status(1))
}

/// Formats JSON as docker does: four spaces of indent, and `[]` for an empty list.
pub fn in_docker_style(found: &[Value]) -> Result<String> {
    let mut text = Vec::new();
    let mut to = Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b"    "));
    found.serialize(&mut to).map_err(Error::new)?;
    String::from_utf8(text).map_err(Error::new)
}
