//! `usnea container clone`: a new container with the configuration of another one, and an empty writable layer.

use std::path::Path;

use jiff::Timestamp;
use oci_spec::runtime::{LinuxResources, Spec};

use super::folder::{self, Folder};
use super::ranges;
use super::remove::{RemoveOptions, remove};
use super::secrets;
use super::start::start;
use super::usnea::Usnea;
use super::{Container, Names, find_in};
use crate::error::{Context, Error, Result};
use crate::hint;
use crate::monitor::events;
use crate::monitor::record::{self, CONFIG, CONTAINER, Record};
use crate::object_id::ContainerId;
use crate::spec::{self, CGROUP, ContainerName};

/// Settings of a clone.
#[derive(Debug, Default)]
pub struct CloneRequest {
    /// Name of the clone. Default: the original's, with "-clone" and a number.
    pub name: Option<ContainerName>,
    /// Limits that replace those of the original.
    pub resources: Option<LinuxResources>,
    /// Removal of the original container; `None`: the original stays.
    pub destroy: Option<RemoveOptions>,
    /// True if the clone is started.
    pub run: bool,
}

/// Clones the container; returns the clone's ID. Both share the volumes. Errors: a taken name; a running original that
/// is to be removed without force.
pub fn clone(usnea: &Usnea, container: &Container, cloning: &CloneRequest) -> Result<ContainerId> {
    container.refuse_foreground("clone")?;
    let status = container.status_here()?;
    if status.state().is_some() && cloning.destroy.is_some_and(|removal| !removal.force) {
        return Err(Error::conflict(format!(
            "container {} is {}",
            container.record.name,
            status.word()
        ))
        .hint(hint::STOP_OR_DESTROY));
    }
    let id = ContainerId::random()?;
    let place = container.store.join("containers").join(&id);
    let mut spec = config(container, &id, &place, cloning)?;
    // The claim on the ID range is held until the clone is in its place: from then on the clone's existence keeps the
    // range.
    let claimed = ranges::claimed_for_clone(usnea, &container.record.id, &id)?;
    if let Some((maps, _claim)) = &claimed {
        spec::set_maps(&mut spec, maps)?;
    }
    let record = Record {
        id: id.clone(),
        name: String::new(),
        created: Timestamp::now(),
        pidfile: None,
        monitor_pidfile: None,
        cidfile: None,
        ..container.record.clone()
    };
    let born = Folder::make(&folder::path(&container.store, &id), &[])?;
    let made = fill(container, &spec, born.path()).and_then(|()| {
        let made = Container { store: container.store.clone(), folder: place, record };
        name_and_place(made, container, &born, cloning)
    });
    let made = match made {
        Ok(made) => made,
        Err(error) => {
            if let Err(error) = born.remove(usnea.base()?) {
                log::debug!("{error}");
            }
            return Err(error);
        }
    };
    drop(born.into_lock());
    if let Some(removal) = cloning.destroy {
        remove(usnea, &container.record.id, removal)
            .context(|| format!("container {}", container.record.name))?;
    }
    if cloning.run {
        start(usnea, &find_in(&made.store, &id)?, None)?;
    }
    Ok(id)
}

/// Returns the original's configuration, with folders, cgroup and host name of the clone.
fn config(
    container: &Container,
    id: &ContainerId,
    place: &Path,
    cloning: &CloneRequest,
) -> Result<Spec> {
    let mut spec = container.spec()?;
    let uuid = |id: &str| format!("container_uuid={}", id.get(..32).unwrap_or(id));
    if let Some(process) = spec.process_mut() {
        let (line, new) = (uuid(&container.record.id), uuid(id));
        let env = process.env().clone().unwrap_or_default().into_iter();
        process
            .set_env(Some(env.map(|text| if text == line { new.clone() } else { text }).collect()));
    }
    spec::move_paths(&mut spec, &container.folder, place);
    let (before, now) = (container.short_id().to_owned(), id.short().to_owned());
    if spec.hostname().as_ref() == Some(&before) {
        spec.set_hostname(Some(now.clone()));
        if let Some(process) = spec.process_mut() {
            let line = format!("HOSTNAME={before}");
            let env = process.env().clone().unwrap_or_default().into_iter();
            let env = env.map(|text| if text == line { format!("HOSTNAME={now}") } else { text });
            process.set_env(Some(env.collect()));
        }
    }
    if let Some(linux) = spec.linux_mut()
        && let Some(path) = linux.cgroups_path().clone()
    {
        linux.set_cgroups_path(Some(path.with_file_name(format!("{CGROUP}{now}"))));
    }
    if let Some(resources) = &cloning.resources {
        super::update::limit_spec(&mut spec, resources)?;
    }
    Ok(spec)
}

fn fill(container: &Container, spec: &Spec, born: &Path) -> Result<()> {
    let layers = spec::layer_folders(spec);
    let names = layers.iter().filter_map(|layer| layer.file_name());
    folder::fill(&names.map(|name| born.join(name)).collect::<Vec<_>>())?;
    record::write(born, CONFIG, spec)?;
    secrets::copy(container, born)?;
    match std::fs::read_link(container.folder.join(crate::image::store::USED)) {
        Ok(image) => std::os::unix::fs::symlink(image, born.join(crate::image::store::USED))
            .map_err(|error| crate::files::cannot_write(error, born)),
        // The original was made from a root directory.
        Err(_) => Ok(()),
    }
}

fn name_and_place(
    mut made: Container,
    container: &Container,
    born: &Folder,
    cloning: &CloneRequest,
) -> Result<Container> {
    let names = Names::lock(&made.store)?;
    let id = made.record.id.clone();
    made.record.name = match &cloning.name {
        Some(name) => name.to_string(),
        None => free_name(&made.store, &container.record.name),
    };
    names.assign(&made.record.name, &id)?;
    record::write(born.path(), CONTAINER, &made.record)
        .and_then(|()| born.keep(&made.folder))
        .inspect_err(|_| names.release(&made.record.name, &id))?;
    events::of_container(&made.store, &made.record, "create", &[]);
    Ok(made)
}

/// Returns a free name by podman's rule: `web-clone`, `web-clone1`, `web-clone2`.
fn free_name(store: &Path, name: &str) -> String {
    let numbers = (0..).map(|number| match number {
        0 => format!("{name}-clone"),
        number => format!("{name}-clone{number}"),
    });
    let is_free = |name: &String| super::names::find(store, name).is_none();
    numbers.take(10_000).find(is_free).unwrap_or_else(|| format!("{name}-clone"))
}
