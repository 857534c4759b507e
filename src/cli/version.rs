//! `usnea version`: versions of this program.

use serde::Serialize;

use crate::cli::format::{Format, Headings, Layout, render};
use crate::cli::output::print;
use crate::container::{self, Version};
use crate::error::{Error, Result};

/// Show the version
///
/// There is no server: fields of docker's Server template show the values of this program.
#[derive(clap::Args)]
pub struct Arguments {
    /// json, or a Go template. Fields: .Client and .Server, each with .Version .APIVersion .Os .Arch .OsArch .GitCommit
    /// .GoVersion .BuildTime .KernelVersion; .Client.Context .Client.DefaultAPIVersion; .Server.Components, each with .Name
    /// .Version .Details
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<Format>,
}

const LAYOUT: Layout = Layout { table: "{{.Client.Version}}\t{{.Client.OsArch}}", headings: &[] };

/// docker's document: podman's is its first half.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct VersionDocument {
    client: ClientVersion,
    server: ServerVersion,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ClientVersion {
    #[serde(flatten)]
    version: Version,
    #[serde(rename = "DefaultAPIVersion")]
    default_api_version: String,
    /// docker's context without settings, which never changes here.
    context: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ServerVersion {
    #[serde(flatten)]
    version: Version,
    /// Programs of the server.
    components: [ServerComponent; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ServerComponent {
    name: &'static str,
    version: String,
    details: Version,
}

impl VersionDocument {
    fn new(version: Version) -> Self {
        let component = ServerComponent {
            name: version.platform.name,
            version: version.version.clone(),
            details: version.clone(),
        };
        let client = ClientVersion {
            default_api_version: version.api_version.clone(),
            version: version.clone(),
            context: "default",
        };
        Self { client, server: ServerVersion { version, components: [component] } }
    }
}

/// Prints the version.
pub fn run(arguments: &Arguments) -> Result<u8> {
    let version = container::version();
    match &arguments.format {
        None => print(&format!(
            "Client:       usnea\nVersion:      {}\nOS/Arch:      {}\n",
            version.version, version.os_arch
        )),
        Some(format) => {
            let document = VersionDocument::new(version);
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
