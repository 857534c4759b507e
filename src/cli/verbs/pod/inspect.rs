//! `usnea pod inspect`: documents of pods.

use serde_json::Value;

use crate::cli::flags::pod::{MissingPods, PodSelection};
use crate::cli::output::failures::Failures;
use crate::cli::output::format::{Format, Headings, Layout, render};
use crate::cli::output::print;
use crate::cli::verbs::image::inspect::in_docker_style;
use crate::container::{Usnea, pods};
use crate::error::{Error, Result};

/// Show detailed information on pods
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    selection: PodSelection,

    /// json, or a Go template, such as '{{.State}}' or '{{json .Containers}}': podman's fields.
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<Format>,
}

const LAYOUT: Layout = Layout { table: "{{.Name}}", headings: &[] };

/// Prints the found documents, then fails for the missing names.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    let mut found: Vec<Value> = Vec::new();
    let mut failures = Failures::default();
    for id in arguments.selection.find(usnea, MissingPods::Fails, &mut failures)? {
        let document = pods::find(usnea, &id).and_then(|pod| pods::inspect(&pod));
        found.push(serde_json::to_value(document?).map_err(Error::new)?);
    }
    match &arguments.format {
        None | Some(Format::Json) => print(&format!("{}\n", in_docker_style(&found)?))?,
        Some(format) => print(&render(format, &LAYOUT, Headings::Shown, &found)?)?,
    };
    failures.end()
}
