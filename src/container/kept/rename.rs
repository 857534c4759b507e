//! `usnea rename`: a change of a record. The lock of the names keeps two of them apart.

use super::{Kept, Names};
use crate::error::{Error, Result};
use crate::monitor::events;
use crate::monitor::record::{self, CONTAINER, Record};
use crate::spec::ContainerName;

/// Gives a container another name. Errors: another has it.
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

/// The record as it is now, under the lock.
pub(super) fn current(kept: &Kept) -> Result<Record> {
    let gone = || Error::new(format!("container {} is gone", kept.short_id()));
    record::read(&kept.folder, CONTAINER)?.ok_or_else(gone)
}
