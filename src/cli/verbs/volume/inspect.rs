//! `usnea volume inspect`: documents of volumes.

use std::path::Path;

use serde_json::Value;

use crate::cli::output::failures::Failures;
use crate::cli::output::format::{Format, Headings, Layout, render};
use crate::cli::output::print;
use crate::cli::verbs::image::inspect::in_docker_style;
use crate::container::volumes::{self, StoredVolume};
use crate::error::{Error, Result};

/// Show detailed information on volumes
#[derive(clap::Args)]
pub struct Arguments {
    /// Volume names.
    #[arg(value_name = "VOLUME", required_unless_present = "all")]
    names: Vec<String>,

    /// Select all volumes.
    #[arg(short, long, conflicts_with = "names")]
    all: bool,

    /// json, or a Go template, such as '{{.Mountpoint}}' or '{{json .Labels}}'.
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<Format>,
}

const LAYOUT: Layout = Layout { table: "{{.Name}}", headings: &[] };

/// Prints the found documents, then fails for the missing names, as docker does.
pub fn run(arguments: &Arguments, store: &Path) -> Result<u8> {
    let mut found: Vec<Value> = Vec::new();
    let mut failures = Failures::default();
    if arguments.all {
        for volume in volumes::all(store)? {
            found.push(document(&volume, store)?);
        }
    }
    for name in &arguments.names {
        match volumes::named(store, name) {
            Ok((_, volume)) => found.push(document(&volume, store)?),
            Err(error) => failures.add(error),
        }
    }
    match &arguments.format {
        None | Some(Format::Json) => print(&format!("{}\n", in_docker_style(&found)?))?,
        Some(format) => print(&render(format, &LAYOUT, Headings::Shown, &found)?)?,
    };
    failures.end()
}

fn document(volume: &StoredVolume, store: &Path) -> Result<Value> {
    serde_json::to_value(volume.inspect(store)).map_err(Error::new)
}
