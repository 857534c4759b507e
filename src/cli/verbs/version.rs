//! `usnea version`: versions of this program.

use crate::cli::output::format::{Format, Headings, Layout, render};
use crate::cli::output::print;
use crate::container;
use crate::documents::version::VersionDocument;
use crate::error::{Error, Result};

/// Show the version
///
/// There is no server: the fields below .Server have the values of this program, for templates of docker.
#[derive(clap::Args)]
pub struct Arguments {
    /// json, or a Go template. Fields: .Client and .Server, each with .Version .APIVersion .Os .Arch .OsArch .GitCommit
    /// .GoVersion .BuildTime .KernelVersion; .Client.Context .Client.DefaultAPIVersion; .Server.Components, each with .Name
    /// .Version .Details
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<Format>,
}

const LAYOUT: Layout = Layout { table: "{{.Client.Version}}\t{{.Client.OsArch}}", headings: &[] };

/// Prints the version.
pub fn run(arguments: &Arguments) -> Result<u8> {
    let version = container::version();
    match &arguments.format {
        None => print(&format!(
            "Client:       usnea\nVersion:      {}\nOS/Arch:      {}\n",
            version.version, version.os_arch
        )),
        Some(format) => {
            let document = VersionDocument::from(version);
            match format {
                // A single object, not a list.
                Format::Json => {
                    print(&format!("{:#}\n", serde_json::to_value(document).map_err(Error::new)?))
                }
                format => print(&render(format, &LAYOUT, Headings::Shown, &[document])?),
            }
        }
    }
}
