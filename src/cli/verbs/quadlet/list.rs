//! `usnea quadlet ls`: lists Quadlet files.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{found, generated, own_manager, systemctl};
use crate::cli::output::format::{Format, Headings, Layout, render};
use crate::cli::output::print;
use crate::error::Result;
use crate::host::{account, program};
use crate::quadlet::service::UnitScope;

/// List Quadlet files
///
/// The status is that of the systemd unit, such as active or failed; "error" means that no unit can be generated from
/// the file.
#[derive(clap::Args)]
pub struct Arguments {
    /// json, table [TEMPLATE], or a Go template. Fields: .Name .UnitName .Path .Status.
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,

    /// Omit the header line.
    #[arg(short = 'n', long)]
    noheading: bool,
}

const LAYOUT: Layout = Layout {
    table: "{{.Name}}\t{{.UnitName}}\t{{.Path}}\t{{.Status}}",
    headings: &[("UnitName", "UNIT NAME"), ("Path", "PATH ON DISK")],
};

/// Quadlet file in a list.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct QuadletRow {
    name: String,
    unit_name: String,
    path: String,
    status: String,
}

/// Lists the files.
pub fn run(arguments: Arguments) -> Result<u8> {
    let manager = own_manager();
    let found = found(manager);
    let unread: Vec<_> =
        found.problems.iter().filter_map(|problem| problem.path()).map(ToOwned::to_owned).collect();
    let files: Vec<_> = found
        .sources
        .values()
        .map(|source| {
            (source.name.clone(), source.path.clone(), format!("{}.service", source.service()))
        })
        .collect();
    let generated = generated(found, manager)?;
    let services: Vec<&str> = generated.units.keys().map(String::as_str).collect();
    let states = states(manager, &services);
    let mut rows: Vec<QuadletRow> = files
        .into_iter()
        .map(|(name, path, unit_name)| {
            let unit = generated.units.get(&unit_name);
            let is_made = unit.is_some_and(|unit| unit.source.as_deref() == Some(&*name));
            let state = states.get(unit_name.as_str()).cloned();
            let status = if is_made { state.unwrap_or_default() } else { "error".to_owned() };
            QuadletRow { name, unit_name, path: path.display().to_string(), status }
        })
        .collect();
    rows.extend(unread.into_iter().map(|path| QuadletRow {
        name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        unit_name: String::new(),
        path: path.display().to_string(),
        status: "error".to_owned(),
    }));
    rows.sort_by(|one, other| one.name.cmp(&other.name));
    let headings = if arguments.noheading { Headings::Hidden } else { Headings::Shown };
    print(&render(&arguments.format.unwrap_or_default(), &LAYOUT, headings, &rows)?)
}

/// States of services, by their names; empty without a manager.
fn states(manager: UnitScope, services: &[&str]) -> BTreeMap<String, String> {
    if services.is_empty() {
        return BTreeMap::new();
    }
    let mut command = systemctl(manager);
    command.args(["show", "--property=Id,ActiveState,LoadState", "--"]).args(services);
    let answer = program::ask(&mut command, account::PATIENCE);
    let output = answer.map(|answer| answer.output).unwrap_or_default();
    let state = |block: &str| {
        let value =
            |key: &str| block.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        let state = match value("LoadState")? {
            "loaded" => value("ActiveState")?,
            other => other,
        };
        Some((value("Id")?.to_owned(), state.to_owned()))
    };
    output.split("\n\n").filter_map(state).collect()
}
