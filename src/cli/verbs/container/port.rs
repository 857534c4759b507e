//! `usnea port`: published ports of containers.

use crate::cli::flags::selection::{self, MissingContainers, Selection};
use crate::cli::output::failures::Failures;
use crate::cli::output::print;
use crate::container::{self, Container, Usnea};
use crate::error::{Error, Result};
use crate::forward::{Forward, Protocol};

/// List the published ports of a container
///
/// Shows the ports that were published when the container was created; with PORT, only that port.
#[derive(clap::Args)]
pub struct Arguments {
    /// The container.
    #[arg(value_name = "CONTAINER", required_unless_present_any = ["all", "latest"])]
    container: Option<String>,

    /// A port of the container. Default: all.
    #[arg(value_name = "PORT[/tcp|udp]")]
    port: Option<String>,

    /// Show the ports of all containers, with their IDs.
    #[arg(short, long, conflicts_with_all = ["container", "latest"])]
    all: bool,

    /// Use the container that was created last.
    #[arg(short, long)]
    latest: bool,
}

/// Prints the ports.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    if arguments.all {
        let all = container::fitting(usnea, &[])?;
        let lines = |container: &Container| -> Result<String> {
            let lines = container::published_ports(container)?.into_iter();
            let id = container.short_id();
            Ok(lines.map(|forward| format!("{id}\t{}\n", line(&forward))).collect())
        };
        return print(&all.iter().map(lines).collect::<Result<String>>()?);
    }
    // With --latest the only word is the port.
    let (name, port) = match (arguments.latest, &arguments.container, &arguments.port) {
        (true, port, None) => (None, port.as_deref()),
        (true, ..) => return Err(Error::invalid("a name and --latest exclude each other")),
        (false, name, port) => (name.as_deref(), port.as_deref()),
    };
    let names: Vec<String> = name.into_iter().map(str::to_owned).collect();
    let mut failures = Failures::default();
    let selection = Selection { names, latest: arguments.latest, ..Selection::default() };
    let selected = selection.find(usnea, MissingContainers::Fails, &mut failures)?;
    let Some(selected) = selected.first() else { return failures.end() };
    let container = selection::open(usnea, selected)?;
    let forwards = container::published_ports(&container)?;
    let Some(port) = port else {
        return print(&forwards.iter().map(|forward| line(forward) + "\n").collect::<String>());
    };
    let (number, protocol) = parse_port(port)?;
    let ends: Vec<_> = forwards
        .iter()
        .filter(|forward| (forward.port, forward.protocol) == (number, protocol))
        .map(|forward| forward.host_end() + "\n")
        .collect();
    if ends.is_empty() {
        let name = &container.record.name;
        let error =
            Error::not_found(format!("no port of the host leads to {number}/{protocol} of {name}"));
        return Err(error.hint(format!("usnea port {name}")).exit_status(1));
    }
    print(&ends.concat())
}

fn line(forward: &Forward) -> String {
    format!("{} -> {}", forward.container_end(), forward.host_end())
}

fn parse_port(text: &str) -> Result<(u16, Protocol)> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let number = number.parse::<u16>();
    let number =
        number.map_err(|_| Error::invalid(format!("'{text}' is no port such as 80/tcp")))?;
    Ok((number, protocol.parse().map_err(Error::new)?))
}
