//! `usnea version`.

use serde_json::json;

use crate::cli::format::{Format, Headings, Layout, render};
use crate::cli::run::print;
use crate::container;
use crate::error::Result;

/// Show the version
#[derive(clap::Args)]
pub struct Arguments {
    /// json, or a Go template. Fields: .Client.Version .Client.Os .Client.OsArch.
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<Format>,
}

const LAYOUT: Layout = Layout { table: "{{.Client.Version}}\t{{.Client.OsArch}}", headings: &[] };

/// Carries it out.
pub fn run(arguments: &Arguments) -> Result<u8> {
    let client = container::version();
    let text = |key: &str| client[key].as_str().unwrap_or_default().to_owned();
    match &arguments.format {
        None => print(&format!(
            "Client:       usnea\nVersion:      {}\nOS/Arch:      {}\n",
            text("Version"),
            text("OsArch")
        )),
        Some(Format::Json) => print(&format!("{:#}\n", json!({ "Client": client }))),
        Some(format) => {
            print(&render(format, &LAYOUT, Headings::Shown, &[json!({ "Client": client })])?)
        }
    }
}
