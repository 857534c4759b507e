//! `usnea check` of containers, networks and pods: their records must be readable. A power cut may have left records
//! empty.

use std::path::Path;

use oci_spec::runtime::Spec;

use super::{Hold, ids, try_lock};
use crate::container::Usnea;
use crate::container::folder;
use crate::container::images::Repair;
use crate::container::networks;
use crate::container::pods;
use crate::engine;
use crate::error::{Error, Result};
use crate::image::store::{FaultOutcome, StoreFault};
use crate::monitor::Status;
use crate::monitor::health::{HEALTH, HealthReport};
use crate::monitor::protocol;
use crate::monitor::record::{
    self, CONFIG, CONTAINER, EXIT, Exit, Record, RecordFile, STATE, State, look,
};
use crate::object_id::short;

/// Checks the records of all containers and pods, and the definitions of networks. Repair rewrites the damaged exit
/// record of a container, as far as its end is known. It keeps a container with an unreadable record: the user may want
/// its files before removal. Leftovers of killed commands are removed too.
pub fn check(usnea: &Usnea, repair: Repair) -> Result<Vec<StoreFault>> {
    let store = usnea.store()?;
    let mut faults = networks::check(store, repair)?;
    faults.extend(pods::check(store, repair)?);
    let mut all = ids(store)?;
    all.sort();
    if repair == Repair::Yes {
        folder::sweep(store, usnea.base()?);
        sweep_sockets(store);
    }
    for id in all {
        let folder = store.join("containers").join(&id);
        let what = format!("container {}", short(&id));
        let fault = |error: Error, outcome| StoreFault {
            what: what.clone(),
            fault: error.to_string(),
            images: Vec::new(),
            outcome,
        };
        let needed = needed::<Record>(&folder, CONTAINER)?.or(needed::<Spec>(&folder, CONFIG)?);
        if let Some(error) = needed {
            let outcome = match repair {
                Repair::No => FaultOutcome::Found,
                Repair::Yes => FaultOutcome::Left(format!(
                    "what it wrote is in {}; 'usnea rm -f {}' removes it",
                    folder.join("upper").display(),
                    short(&id)
                )),
            };
            faults.push(fault(error, outcome));
            continue;
        }
        let report = [
            damage::<State>(&folder, STATE)?,
            damage::<Exit>(&folder, EXIT)?,
            damage::<HealthReport>(&folder, HEALTH)?,
        ];
        if let Some(error) = report.into_iter().flatten().next() {
            let outcome = match repair {
                Repair::No => FaultOutcome::Found,
                Repair::Yes => mend(&folder)?,
            };
            faults.push(fault(error, outcome));
        }
    }
    Ok(faults)
}

/// Removes the sockets of holders of shared images and of groups that were killed.
pub(super) fn sweep_sockets(store: &Path) {
    match protocol::folder(store) {
        Ok(runtime) => {
            engine::sweep_image_sockets(&runtime);
            engine::sweep_group_sockets(&runtime);
        }
        Err(error) => log::debug!("no folder of sockets: {error}"),
    }
}

fn damage<T: serde::de::DeserializeOwned>(folder: &Path, name: &str) -> Result<Option<Error>> {
    Ok(match look::<T>(folder, name)? {
        RecordFile::Damaged(error) => Some(error),
        RecordFile::Nothing | RecordFile::Whole(_) => None,
    })
}

/// Returns the damage of a file that each container must have; a missing file counts too.
fn needed<T: serde::de::DeserializeOwned>(folder: &Path, name: &str) -> Result<Option<Error>> {
    // Another command has removed the container since the listing.
    let is_gone = || !folder.exists();
    Ok(match look::<T>(folder, name)? {
        RecordFile::Nothing if !is_gone() => {
            Some(Error::new(format!("{} is missing", folder.join(name).display())))
        }
        RecordFile::Damaged(error) => Some(error),
        RecordFile::Nothing | RecordFile::Whole(_) => None,
    })
}

/// Repairs the records of a container: rewrites its exit record, as far as its end is known.
fn mend(folder: &Path) -> Result<FaultOutcome> {
    let Hold::Ours(_lock) = try_lock(folder)? else {
        return Ok(FaultOutcome::Left("the container is in use: stop it, then repair".to_owned()));
    };
    let status = Status::of(folder)?;
    if damage::<HealthReport>(folder, HEALTH)?.is_some() {
        std::fs::remove_file(folder.join(HEALTH))?;
    }
    if let Some(exit) = status.exit() {
        record::write_exit(folder, exit)?;
    } else if damage::<Exit>(folder, EXIT)?.is_some() {
        std::fs::remove_file(folder.join(EXIT))?;
    }
    if damage::<State>(folder, STATE)?.is_some() {
        std::fs::remove_file(folder.join(STATE))?;
    }
    Ok(FaultOutcome::Mended(format!("it is {}", status.word())))
}
