//! `usnea rename`.

use super::{Kept, Names};
use crate::error::Result;
use crate::monitor::events;
use crate::monitor::record::{self, CONTAINER};
use crate::spec::ContainerName;

/// Gives a container another name. Errors: another has it.
pub fn rename(kept: &Kept, name: &ContainerName) -> Result<()> {
    let names = Names::lock(&kept.store)?;
    let id = &kept.record.id;
    names.give(name.as_str(), id)?;
    let record = record::Record { name: name.to_string(), ..kept.record.clone() };
    record::write(&kept.folder, CONTAINER, &record)
        .inspect_err(|_| names.take(name.as_str(), id))?;
    names.take(&kept.record.name, id);
    events::of_container(&kept.store, &record, "rename", &[("oldName", kept.record.name.clone())]);
    Ok(())
}
