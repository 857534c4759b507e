//! `usnea version`.

use serde::Serialize;

use crate::cli::format::{Format, Headings, Layout, render};
use crate::cli::run::print;
use crate::container::{self, Version};
use crate::error::{Error, Result};

/// Show the version
///
/// There is no server: what templates of docker ask of it is the program's own.
#[derive(clap::Args)]
pub struct Arguments {
    /// json, or a Go template. Fields: .Client and .Server, each with .Version .APIVersion .Os .Arch .OsArch .GitCommit
    /// .GoVersion .BuildTime .KernelVersion
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<Format>,
}

const LAYOUT: Layout = Layout { table: "{{.Client.Version}}\t{{.Client.OsArch}}", headings: &[] };

/// docker's document: podman's is its first half.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    client: Version,
    server: Version,
}

/// Carries it out.
pub fn run(arguments: &Arguments) -> Result<u8> {
    let version = container::version();
    match &arguments.format {
        None => print(&format!(
            "Client:       usnea\nVersion:      {}\nOS/Arch:      {}\n",
            version.version, version.os_arch
        )),
        Some(format) => {
            let document = Document { client: version.clone(), server: version };
            match format {
                // One object, not a list of one.
                Format::Json => {
                    print(&format!("{:#}\n", serde_json::to_value(document).map_err(Error::new)?))
                }
                format => print(&render(format, &LAYOUT, Headings::Shown, &[document])?),
            }
        }
    }
}
