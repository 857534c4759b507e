//! `usnea volume ls`: lists volumes.

use std::path::Path;

use super::filter::VolumeFilter;
use super::record::{StoredVolume, all};
use crate::error::Result;

/// Returns the volumes that match all filters, sorted by name.
pub fn list(store: &Path, filters: &[VolumeFilter]) -> Result<Vec<StoredVolume>> {
    let mut fitting = Vec::new();
    for volume in all(store)? {
        if VolumeFilter::fit(filters, &volume, store)? {
            fitting.push(volume);
        }
    }
    Ok(fitting)
}
