//! `usnea rename`: a change of the record. The lock on the names serializes two renames.

use super::{Kept, Names};
use crate::error::{Error, Result};
use crate::monitor::events;
use crate::monitor::record::{self, CONTAINER, Record};
use crate::spec::ContainerName;

/// Renames a container. Errors: another container has the name.
pub fn rename(kept: &Kept, name: &ContainerName) -> Result<()> {
    kept.refuse_thrown_away("other name can be given to it")?;
    let names = Names::lock(&kept.store)?;
    let id = &kept.record.id;
    names.give(name.as_str(), id)?;
    let old = current(kept).inspect_err(|_| names.take(name.as_str(), id))?;
    let record = Record { name: name.to_string(), ..old.clone() };
    record::change(&kept.store, &kept.folder, &record)
        .inspect_err(|_| names.take(name.as_str(), id))?;
    names.take(&old.name, id);
    events::of_container(&kept.store, &record, "rename", &[("oldName", old.name)]);
    Ok(())
}

/// Reads the record again, under the lock.
pub(super) fn current(kept: &Kept) -> Result<Record> {
    let gone = || Error::new(format!("container {} is gone", kept.short_id()));
    record::read(&kept.folder, CONTAINER)?.ok_or_else(gone)
}
