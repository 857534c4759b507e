//! `usnea system df`: disk space of images, volumes, host roots and downloads.

use jiff::Timestamp;

use super::Usnea;
use super::{images, volumes};
use crate::documents::usage::{DiskUsageRow, ImageUsageRow};
use crate::error::Result;
use crate::image::store::{StoreUsage, UsageTotals};

/// Disk space of a store.
#[derive(Clone, Debug)]
pub struct DiskUsage {
    /// Disk space of images, host roots and downloads.
    pub store: StoreUsage,
    /// Disk space of volumes.
    pub volumes: UsageTotals,
}

/// Measures the store.
pub fn disk_usage(usnea: &Usnea) -> Result<DiskUsage> {
    Ok(DiskUsage { store: images::usage(usnea)?, volumes: volumes::usage(usnea)? })
}

impl DiskUsage {
    /// Returns the row of each type of object, in docker's words.
    pub fn rows(&self) -> [DiskUsageRow; 4] {
        [
            DiskUsageRow::new("Images", &self.store.images),
            DiskUsageRow::new("Local Volumes", &self.volumes),
            DiskUsageRow::new("Host roots", &self.store.host_roots),
            DiskUsageRow::new("Downloads", &self.store.downloads),
        ]
    }

    /// Returns the row of each image, at the time `now`.
    pub fn image_rows(&self, now: Timestamp) -> Vec<ImageUsageRow> {
        self.store.each.iter().map(|image| ImageUsageRow::new(image, now)).collect()
    }
}
