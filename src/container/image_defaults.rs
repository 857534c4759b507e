//! Settings that an image's configuration has for its containers.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::go_json;
use crate::image::manifest::{Platform, RunConfig};
use crate::monitor::record::Healthcheck;
use crate::spec::ImageDefaults;

/// Checks that containers of an image can run here; warns of another architecture. Errors: another system.
pub(super) fn check_platform(platform: &Platform) -> Result<()> {
    if platform.os != "linux" {
        return Err(Error::invalid(format!("an image for {platform}: only linux runs here")));
    }
    if !platform.serves(&Platform::host()) {
        log::warn!("the image is for {platform}, this machine is {}", Platform::host());
    }
    Ok(())
}

/// Settings of an image's containers.
#[derive(Debug, Default)]
pub(super) struct ConfiguredDefaults {
    /// Defaults of the spec.
    pub(super) defaults: ImageDefaults,
    /// Labels of the image.
    pub(super) labels: BTreeMap<String, String>,
    /// Health check.
    pub(super) health: Option<Healthcheck>,
}

impl ConfiguredDefaults {
    /// Takes the settings from an image's config.
    pub(super) fn of(config: RunConfig) -> Self {
        let defaults = ImageDefaults {
            entrypoint: config.entrypoint,
            cmd: config.cmd,
            env: config.env,
            workdir: config.working_dir,
            user: config.user,
            volumes: config.volumes,
            stop_signal: config.stop_signal,
            exposed_ports: config.exposed_ports,
        };
        let health = config.healthcheck.and_then(health);
        Self { defaults, labels: config.labels, health }
    }
}

/// Returns the health check of an image's config: a field of docker's that OCI does not have. Ignores an invalid one,
/// with a warning.
fn health(check: serde_json::Value) -> Option<Healthcheck> {
    go_json::of_value(check)
        .inspect_err(|error| log::warn!("the image's health check: {error}"))
        .ok()
}
