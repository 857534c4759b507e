//! `usnea auto-update`: updates containers of services.

use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use serde::Serialize;

use crate::cli::flags::pull::PULL_WORDS;
use crate::cli::output::failures::Failures;
use crate::cli::output::format::{Format, Headings, Layout, render};
use crate::cli::output::print;
use crate::cli::output::progress::{LayerProgress, Verbosity};
use crate::container::auto_update::{AutoUpdate, UpdateEffect, UpdateFailure, UpdateReport};
use crate::container::{Usnea, auto_update};
use crate::error::Result;
use crate::image::registries_conf::RegistryOptions;
use crate::object_id::short;

/// Update containers of services of systemd
///
/// Concerns running containers with the label io.containers.autoupdate: registry (compare with the registry's image of
/// this name) or local (compare with the local image of this name). The unit of the label PODMAN_SYSTEMD_UNIT is
/// restarted; in Quadlet files, AutoUpdate= sets both.
#[derive(clap::Args)]
pub struct Arguments {
    /// Show which containers have a newer image, and change nothing.
    #[arg(long)]
    dry_run: bool,

    /// json, table [TEMPLATE], or a Go template. Fields: .Unit .Container .ContainerName .ContainerID .Image .Policy
    /// .Updated (true, false, pending, rolled back, failed).
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,

    /// Restart a unit with the old image if it does not start with the new one.
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "BOOL", default_missing_value = "true",
          default_value = "true", hide_default_value = true, hide_possible_values = true)]
    rollback: bool,

    /// Auth file with logins. Default: $REGISTRY_AUTH_FILE. A container's label io.containers.autoupdate.authfile comes
    /// first.
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,

    /// Require HTTPS and verify certificates; false: accept any certificate, or plain HTTP. Default: true, unless
    /// registries.conf marks the registry as insecure.
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "BOOL", default_missing_value = "true",
          hide_possible_values = true, value_parser = BoolishValueParser::new())]
    tls_verify: Option<bool>,
}

const LAYOUT: Layout = Layout {
    table: "{{.Unit}}\t{{.Container}}\t{{.Image}}\t{{.Policy}}\t{{.Updated}}",
    headings: &[("ContainerID", "CONTAINER ID")],
};

/// Container in the list, with podman's fields.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct UpdateRow {
    unit: String,
    container: String,
    container_name: String,
    #[serde(rename = "ContainerID")]
    container_id: String,
    image: String,
    policy: &'static str,
    updated: &'static str,
}

impl From<UpdateReport> for UpdateRow {
    fn from(report: UpdateReport) -> Self {
        Self {
            unit: report.unit,
            container: format!("{} ({})", short(&report.id), report.name),
            container_name: report.name,
            container_id: report.id,
            image: report.image,
            policy: report.policy.word(),
            updated: report.result.word(),
        }
    }
}

/// Updates the containers; prints a line for each.
pub fn run(arguments: Arguments, usnea: &Usnea) -> Result<u8> {
    let request = AutoUpdate {
        effect: if arguments.dry_run { UpdateEffect::Report } else { UpdateEffect::Restart },
        on_failure: match arguments.rollback {
            true => UpdateFailure::RollBack,
            false => UpdateFailure::Leave,
        },
        registries: RegistryOptions {
            tls_verify: arguments.tls_verify,
            authfile: arguments.authfile,
            ..RegistryOptions::default()
        },
    };
    let progress = LayerProgress::new(PULL_WORDS, Verbosity::Normal);
    let (reports, errors) = auto_update::auto_update(usnea, &request, &progress)?;
    let rows: Vec<UpdateRow> = reports.into_iter().map(UpdateRow::from).collect();
    print(&render(&arguments.format.unwrap_or_default(), &LAYOUT, Headings::Shown, &rows)?)?;
    let mut failures = Failures::default();
    errors.into_iter().for_each(|error| failures.add(error));
    failures.end()
}
