//! `usnea network inspect`: documents of networks.

use serde_json::Value;

use crate::cli::output::failures::Failures;
use crate::cli::output::format::{Format, Headings, Layout, render};
use crate::cli::output::print;
use crate::cli::verbs::image::inspect::in_docker_style;
use crate::container::Usnea;
use crate::container::networks;
use crate::error::{Error, Result};
use crate::net::definition;

/// Show detailed information on networks
///
/// Shows the running containers of a network with their addresses, too.
#[derive(clap::Args)]
pub struct Arguments {
    /// Network names, or prefixes of their IDs.
    #[arg(value_name = "NETWORK", required = true)]
    names: Vec<String>,

    /// json, or a Go template, such as '{{(index .IPAM.Config 0).Subnet}}' or '{{json .Containers}}': docker's fields; and
    /// podman's .ID .NetworkInterface .Subnets .IPv6Enabled .DNSEnabled .NetworkDNSServers .IPAMOptions.
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<Format>,
}

const LAYOUT: Layout = Layout { table: "{{.Name}}", headings: &[] };

/// Go's names of podman's fields, for templates.
const GO_NAMES: [(&str, &str); 7] = [
    ("Id", "ID"),
    ("network_interface", "NetworkInterface"),
    ("subnets", "Subnets"),
    ("ipv6_enabled", "IPv6Enabled"),
    ("dns_enabled", "DNSEnabled"),
    ("network_dns_servers", "NetworkDNSServers"),
    ("ipam_options", "IPAMOptions"),
];

/// Prints the found documents, then fails for the missing names, as docker does.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    let mut found: Vec<Value> = Vec::new();
    let mut failures = Failures::default();
    for name in &arguments.names {
        match document(usnea, name) {
            Ok(document) => found.push(document),
            Err(error) => failures.add(error),
        }
    }
    match &arguments.format {
        None | Some(Format::Json) => print(&format!("{}\n", in_docker_style(&found)?))?,
        Some(format) => {
            found.iter_mut().for_each(add_go_names);
            print(&render(format, &LAYOUT, Headings::Shown, &found)?)?
        }
    };
    failures.end()
}

/// Returns the document of the network `name`. Errors: no such network.
pub fn document(usnea: &Usnea, name: &str) -> Result<Value> {
    let network = networks::find(usnea.store()?, name)?;
    serde_json::to_value(networks::inspect(usnea, &network)?).map_err(Error::new)
}

/// Returns the document of the network `name`, which is not a built-in one: any object may have the name of those.
pub fn document_of_named(usnea: &Usnea, name: &str) -> Result<Value> {
    definition::named(usnea.store()?, name).and_then(|_| document(usnea, name))
}

fn add_go_names(document: &mut Value) {
    let Value::Object(fields) = document else { return };
    for (name, of_go) in GO_NAMES {
        if let Some(value) = fields.get(name).cloned() {
            fields.insert(of_go.to_owned(), value);
        }
    }
    // podman's parts of a subnet.
    for subnet in fields.get_mut("Subnets").and_then(Value::as_array_mut).into_iter().flatten() {
        let Value::Object(subnet) = subnet else { continue };
        for (name, of_go) in [("subnet", "Subnet"), ("gateway", "Gateway")] {
            if let Some(value) = subnet.get(name).cloned() {
                subnet.insert(of_go.to_owned(), value);
            }
        }
    }
}
