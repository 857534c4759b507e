//! `usnea rename` and `update`: changes of a record. The lock of the names keeps two of them apart.

use super::{Kept, Names};
use crate::error::{Error, Result};
use crate::monitor::events;
use crate::monitor::policy::RestartPolicy;
use crate::monitor::record::{self, CONTAINER, Record};
use crate::spec::ContainerName;

/// Gives a container another name. Errors: another has it.
pub fn rename(kept: &Kept, name: &ContainerName) -> Result<()> {
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

/// Gives a container another restart policy: it counts from its next end on. Errors: it is thrown away when it ends.
pub fn update(kept: &Kept, restart: RestartPolicy) -> Result<()> {
    let _names = Names::lock(&kept.store)?;
    let record = Record { restart, ..current(kept)? };
    if record.auto_remove && restart != RestartPolicy::No {
        return Err(Error::new(format!(
            "--restart: container {} was made with --rm, which throws it away when it ends",
            record.name
        )));
    }
    record::change(&kept.store, &kept.folder, &record)?;
    events::of_container(&kept.store, &record, "update", &[]);
    Ok(())
}

/// The record as it is now, under the lock.
fn current(kept: &Kept) -> Result<Record> {
    let gone = || Error::new(format!("container {} is gone", kept.short_id()));
    record::read(&kept.folder, CONTAINER)?.ok_or_else(gone)
}
