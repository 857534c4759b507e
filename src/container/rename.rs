//! `usnea rename`: a change of the record. The lock on the names serializes two renames.

use super::{Container, Names};
use crate::error::{Error, Result};
use crate::monitor::events;
use crate::monitor::record::{self, CONTAINER, Record};
use crate::spec::ContainerName;

/// Renames a container. Errors: another container has the name.
pub fn rename(container: &Container, name: &ContainerName) -> Result<()> {
    container.refuse_foreground("other name can be given to it")?;
    let names = Names::lock(&container.store)?;
    let id = &container.record.id;
    names.give(name.as_str(), id)?;
    let old = current(container).inspect_err(|_| names.take(name.as_str(), id))?;
    let record = Record { name: name.to_string(), ..old.clone() };
    record::change(&container.store, &container.folder, &record)
        .inspect_err(|_| names.take(name.as_str(), id))?;
    names.take(&old.name, id);
    events::of_container(&container.store, &record, "rename", &[("oldName", old.name)]);
    Ok(())
}

/// Reads the record again, under the lock.
pub(super) fn current(container: &Container) -> Result<Record> {
    let gone = || Error::not_found(format!("container {} is gone", container.short_id()));
    record::read(&container.folder, CONTAINER)?.ok_or_else(gone)
}
