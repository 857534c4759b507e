//! `usnea volume ls`: lists volumes.

use super::filter::VolumeFilter;
use super::record::{StoredVolume, all};
use crate::container::Usnea;
use crate::error::Result;

/// Returns the volumes that match all filters, sorted by name.
pub fn list(usnea: &Usnea, filters: &[VolumeFilter]) -> Result<Vec<StoredVolume>> {
    let store = usnea.store()?;
    let mut fitting = Vec::new();
    for volume in all(store)? {
        if VolumeFilter::fit(filters, &volume, store)? {
            fitting.push(volume);
        }
    }
    Ok(fitting)
}
