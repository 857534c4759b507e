//! `usnea auto-update`: restarts services of systemd whose containers have an image with a newer version.
//!
//! The label [`LABEL`] of a container selects the source of newer versions: the registry, or the store. The label
//! [`UNIT_LABEL`] names the service, which sets it by an environment variable of that name.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::images::{self, Pull};
use super::{Container, Usnea};
use crate::digest::Digest;
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::hint;
use crate::host::cgroup;
use crate::host::systemctl::UnitManager;
use crate::image::pull::TransferProgress;
use crate::image::registries_conf::{Registries, RegistryOptions};
use crate::image::store::{ImageRecord, Store};
use crate::image::transport::ImageLocation;
use crate::monitor::Status;
use crate::monitor::record::State;

/// Label of a container with its update policy (podman's).
pub const LABEL: &str = "io.containers.autoupdate";
/// Label of a container with the path of an auth file (podman's).
const AUTHFILE_LABEL: &str = "io.containers.autoupdate.authfile";
/// Label of a container, and environment variable of a service: the name of the unit (podman's).
pub const UNIT_LABEL: &str = "PODMAN_SYSTEMD_UNIT";

/// Settings of an update.
#[derive(Debug)]
pub struct AutoUpdate {
    /// Effect on units.
    pub effect: UpdateEffect,
    /// Action after a unit that does not start with the new image.
    pub on_failure: UpdateFailure,
    /// Settings of registries.
    pub registries: RegistryOptions,
}

/// Effect of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateEffect {
    /// Newer images are pulled, and units restarted.
    Restart,
    /// Nothing changes (`--dry-run`).
    Report,
}

/// Reaction to a unit that does not start with the new image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateFailure {
    /// The name refers to the old image again, and the unit is restarted (podman's rollback).
    RollBack,
    /// The new image stays.
    Leave,
}

/// Source of newer images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdatePolicy {
    /// Registry of the image's name.
    Registry,
    /// Store: the name may refer to another image by now.
    Local,
}

impl UpdatePolicy {
    /// Parses a label's value. `None`: no updates. Errors: an unknown word.
    fn of(text: &str) -> Result<Option<Self>> {
        match text {
            "" | "disabled" => Ok(None),
            "registry" | "image" => Ok(Some(Self::Registry)),
            "local" => Ok(Some(Self::Local)),
            other => {
                fail!(Invalid: "label {LABEL}={}: registry, local or disabled", other.escape_debug())
            }
        }
    }

    /// Word of the policy.
    pub fn word(self) -> &'static str {
        match self {
            Self::Registry => "registry",
            Self::Local => "local",
        }
    }
}

/// Result of a container's update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateResult {
    /// The unit runs with the new image.
    Updated,
    /// There is no newer image.
    Current,
    /// A newer image exists (`--dry-run`).
    Pending,
    /// The unit runs with the old image again.
    RolledBack,
    /// The update has failed; the error is reported separately.
    Failed,
}

impl UpdateResult {
    /// Returns podman's word for the result.
    pub fn word(self) -> &'static str {
        match self {
            Self::Updated => "true",
            Self::Current => "false",
            Self::Pending => "pending",
            Self::RolledBack => "rolled back",
            Self::Failed => "failed",
        }
    }
}

/// Container with an update policy.
#[derive(Debug)]
pub struct UpdateReport {
    /// Name of the unit.
    pub unit: String,
    /// ID of the container.
    pub id: String,
    /// Name of the container.
    pub name: String,
    /// Image, as the container names it.
    pub image: String,
    /// Place of newer images.
    pub policy: UpdatePolicy,
    /// Result.
    pub result: UpdateResult,
}

/// Service that runs a container. Managers may have units of the same name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ContainerUnit {
    manager: UnitManager,
    name: String,
}

/// Container to update, with its image.
struct UpdateTask {
    report: UpdateReport,
    state: State,
    used: ImageRecord,
    pull: Pull,
}

/// Updates all running containers that have a policy. Returns a report for each, and the errors.
pub fn auto_update(
    usnea: &Usnea,
    request: &AutoUpdate,
    progress: &dyn TransferProgress,
) -> Result<(Vec<UpdateReport>, Vec<Error>)> {
    let mut errors = Vec::new();
    let mut units = BTreeMap::<ContainerUnit, Vec<UpdateTask>>::new();
    for container in super::all(usnea)? {
        // A container of another machine is updated there.
        let Some(state) = running_here(&container) else { continue };
        let task = task(usnea, request, &container, state)
            .context(|| format!("container {}", container.record.name));
        match task {
            Ok(Some(task)) => units.entry(task.unit()).or_default().push(task),
            Ok(None) => {}
            Err(error) => errors.push(error),
        }
    }
    let mut reports = Vec::new();
    for (unit, mut tasks) in units {
        let updated = update_unit(usnea, request, &unit, &mut tasks, progress);
        if let Err(error) = updated {
            errors.push(error.within(format!("unit {}", unit.name)));
        }
        reports.extend(tasks.into_iter().map(|task| task.report));
    }
    Ok((reports, errors))
}

/// Returns the state of a container that runs on this machine.
fn running_here(container: &Container) -> Option<State> {
    let status = container.status().ok().filter(Status::is_running)?;
    status.state().filter(|state| state.is_here()).cloned()
}

impl UpdateTask {
    /// Returns the service: its manager is the one around the monitor's cgroup.
    fn unit(&self) -> ContainerUnit {
        let folder = cgroup::folder_of(self.state.monitor.pid);
        ContainerUnit {
            manager: UnitManager::of(folder.as_deref()),
            name: self.report.unit.clone(),
        }
    }
}

/// Returns the work on a container. `None`: it has no policy.
fn task(
    usnea: &Usnea,
    request: &AutoUpdate,
    container: &Container,
    state: State,
) -> Result<Option<UpdateTask>> {
    let record = &container.record;
    let label = record.labels.get(LABEL).map(String::as_str).unwrap_or_default();
    let Some(policy) = UpdatePolicy::of(label)? else { return Ok(None) };
    let unit = record.labels.get(UNIT_LABEL).ok_or_else(|| {
        Error::conflict(format!("label {LABEL} without label {UNIT_LABEL}"))
            .hint("only containers of services are updated: see usnea-units(7)")
    })?;
    let place: ImageLocation = record.image.parse()?;
    match (&place, policy) {
        (ImageLocation::Registry(name), UpdatePolicy::Registry) => {
            if name.registry.is_none() || name.digest.is_some() {
                return Err(Error::invalid(format!(
                    "image {}: updates need a name with its registry and without a digest",
                    record.image
                ))
                .hint("such as docker.io/library/nginx:1"));
            }
        }
        (ImageLocation::Registry(_), UpdatePolicy::Local) => {}
        _ => fail!(Invalid: "image {} is of no registry, and has no updates", record.image),
    }
    let authfile = record.labels.get(AUTHFILE_LABEL).map(PathBuf::from);
    let asked = RegistryOptions {
        authfile: authfile.or_else(|| request.registries.authfile.clone()),
        ..request.registries.clone()
    };
    let used = used_image(usnea, container)?;
    let platform = Some(used.platform.clone());
    Ok(Some(UpdateTask {
        report: UpdateReport {
            unit: unit.clone(),
            id: record.id.to_string(),
            name: record.name.clone(),
            image: record.image.clone(),
            policy,
            result: UpdateResult::Failed,
        },
        state,
        used,
        pull: Pull { place, input: None, platform, asked, signature_policy: None },
    }))
}

/// Returns the image that the container runs with. Its name may refer to another image by now.
fn used_image(usnea: &Usnea, container: &Container) -> Result<ImageRecord> {
    let gone = || Error::not_found("its image was removed");
    let manifest = Store::open_read_only(&container.store).used_manifest(&container.folder)?;
    let manifest = manifest.ok_or_else(gone)?;
    let hex = manifest.file_name().and_then(|name| name.to_str()).ok_or_else(gone)?;
    let digest: Digest = format!("sha256:{hex}").parse().map_err(Error::new)?;
    let found = usnea.images()?.of_manifest(&digest)?;
    found.map(|(_, image)| image).ok_or_else(gone)
}

/// Updates the containers of a unit, which is restarted once.
fn update_unit(
    usnea: &Usnea,
    request: &AutoUpdate,
    unit: &ContainerUnit,
    tasks: &mut [UpdateTask],
    progress: &dyn TransferProgress,
) -> Result<()> {
    for task in tasks.iter_mut() {
        task.report.result = match is_newer(usnea, task)
            .context(|| format!("cannot look for a newer image {}", task.report.image))?
        {
            true => UpdateResult::Pending,
            false => UpdateResult::Current,
        };
    }
    let is_pending = |task: &&mut UpdateTask| task.report.result == UpdateResult::Pending;
    let mut pending: Vec<&mut UpdateTask> = tasks.iter_mut().filter(is_pending).collect();
    if pending.is_empty() || request.effect == UpdateEffect::Report {
        return Ok(());
    }
    pending.iter_mut().for_each(|task| task.report.result = UpdateResult::Failed);
    for task in pending.iter().filter(|task| task.report.policy == UpdatePolicy::Registry) {
        images::pull(usnea, &task.pull, progress)?;
    }
    let Err(failed) = unit.manager.restart(&unit.name) else {
        pending.iter_mut().for_each(|task| task.report.result = UpdateResult::Updated);
        return Ok(());
    };
    // No restart happened: there is nothing to go back from, and the next start uses the new image.
    if pending.iter().all(|task| task.state.monitor.lives()) {
        return Err(failed.hint(hint::restart_unit(&unit.name, unit.manager.option())));
    }
    if request.on_failure == UpdateFailure::Leave {
        return Err(failed);
    }
    log::warn!("{failed}: the old image is used again");
    for task in &pending {
        let id = task.used.config.hex().to_owned();
        images::tag(usnea, &id, std::slice::from_ref(&task.report.image))
            .context(|| "cannot go back to the old image")?;
    }
    unit.manager.restart(&unit.name).context(|| "with the old image")?;
    pending.iter_mut().for_each(|task| task.report.result = UpdateResult::RolledBack);
    Ok(())
}

/// True if the name of the task's image refers to another image than that of the container.
fn is_newer(usnea: &Usnea, task: &UpdateTask) -> Result<bool> {
    match task.report.policy {
        UpdatePolicy::Registry => {
            let digest = images::registry_digest(usnea, &task.pull)?;
            Ok(!task.used.is_known_as(&digest))
        }
        UpdatePolicy::Local => {
            let found = usnea.images()?.find(&task.report.image, &Registries::load()?)?;
            let (_, image) = found
                .ok_or_else(|| Error::not_found(format!("image {} is gone", task.report.image)))?;
            Ok(image.manifest != task.used.manifest)
        }
    }
}
