//! `usnea inspect` and `usnea container inspect`: containers, else images of the same name.

use std::path::Path;

use clap::ValueEnum;
use serde_json::Value;

use crate::cli::output::failures::Failures;
use crate::cli::output::format::{Format, Headings, Layout, render};
use crate::cli::output::print;
use crate::cli::verbs::image::inspect::in_docker_style;
use crate::cli::verbs::network;
use crate::container;
use crate::container::{Container, SizeCount, Usnea, images, volumes};
use crate::error::{Error, Result};

/// Show all that is known of containers, images, networks and volumes
#[derive(clap::Args)]
pub struct Arguments {
    /// Names or IDs.
    #[arg(value_name = "NAME", required_unless_present = "latest")]
    names: Vec<String>,

    /// Use the container that was created last.
    #[arg(short, long, conflicts_with = "names")]
    latest: bool,

    /// json, or a Go template, such as '{{.State.Status}}' or '{{json .Config.Labels}}'.
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<Format>,

    /// Type of the object. Default: a container, else an image, else a volume, else a network.
    #[arg(long = "type", value_enum, value_name = "KIND")]
    kind: Option<InspectKind>,

    /// Show the disk usage of containers.
    #[arg(short, long)]
    size: bool,
}

/// Type of a named object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum InspectKind {
    /// A container.
    Container,
    /// An image.
    Image,
    /// A volume.
    Volume,
    /// A network.
    Network,
    /// The first object of that name.
    All,
}

const LAYOUT: Layout = Layout { table: "{{.Id}}", headings: &[] };

/// Prints the found documents, then fails for the missing names, as docker does.
pub fn run(arguments: &Arguments, usnea: &Usnea, kind: Option<InspectKind>) -> Result<u8> {
    let store = usnea.store()?;
    let kind = arguments.kind.or(kind);
    let mut failures = Failures::default();
    let mut found: Vec<Value> = Vec::new();
    let mut names = arguments.names.clone();
    if arguments.latest {
        let last = container::all(usnea)?.into_iter().next();
        names.extend(last.map(|container| container.record.id.to_string()));
    }
    let sizes = if arguments.size { SizeCount::Counted } else { SizeCount::Unknown };
    for name in &names {
        match document(store, usnea, name, kind, sizes) {
            Ok(document) => found.push(document),
            Err(error) => failures.add(error),
        }
    }
    match &arguments.format {
        None | Some(Format::Json) => print(&format!("{}\n", in_docker_style(&found)?))?,
        Some(format) => print(&render(format, &LAYOUT, Headings::Shown, &found)?)?,
    };
    failures.end()
}

fn document(
    store: &Path,
    usnea: &Usnea,
    name: &str,
    kind: Option<InspectKind>,
    sizes: SizeCount,
) -> Result<Value> {
    let of_container = |container: Container| {
        serde_json::to_value(container::inspect(usnea, &container, sizes)?).map_err(Error::new)
    };
    match kind {
        Some(InspectKind::Container) => of_container(container::find(usnea, name)?),
        Some(InspectKind::Image) => of_image(usnea, name),
        Some(InspectKind::Volume) => of_volume(store, name),
        Some(InspectKind::Network) => network::document(usnea, name),
        Some(InspectKind::All) | None => match container::find_id(usnea, name) {
            Ok(_) => of_container(container::find(usnea, name)?),
            Err(_) => of_image(usnea, name)
                .or_else(|_| of_volume(store, name))
                .or_else(|_| network::document_of_named(usnea, name))
                .map_err(|_| {
                    Error::not_found(format!(
                        "neither a container nor an image nor a volume nor a network is called '{}'",
                        name.escape_debug()
                    ))
                }),
        },
    }
}

fn of_image(usnea: &Usnea, name: &str) -> Result<Value> {
    serde_json::to_value(images::inspect(usnea, name)?).map_err(Error::new)
}

fn of_volume(store: &Path, name: &str) -> Result<Value> {
    let (_, volume) = volumes::named(store, name)?;
    serde_json::to_value(volume.inspect(store)).map_err(Error::new)
}
