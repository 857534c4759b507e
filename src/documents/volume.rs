//! Documents of volumes: `usnea volume inspect`, and the rows of `usnea volume ls`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::Serialize;

/// Document of a volume.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct VolumeDocument {
    pub created_at: Timestamp,
    pub driver: &'static str,
    pub labels: BTreeMap<String, String>,
    /// Folder of the volume's files.
    pub mountpoint: PathBuf,
    pub name: String,
    /// Options of the driver: always empty.
    pub options: BTreeMap<String, String>,
    pub scope: &'static str,
    /// Status from the driver: always empty.
    pub status: BTreeMap<String, String>,
    /// True if the volume was made with a container, with a random name.
    pub anonymous: bool,
    /// Number of mounts of the volume itself: always 0, as a folder needs none.
    pub mount_count: u64,
    /// True if the first container copies its image's files into the volume.
    pub needs_copy_up: bool,
    /// True if that container sets the volume's owner too.
    pub needs_chown: bool,
    /// ID of storage of volumes that are made from an image: always empty.
    #[serde(rename = "StorageID")]
    pub storage_id: &'static str,
}

/// Row of `usnea volume ls`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct VolumeRow {
    pub driver: &'static str,
    pub name: String,
    pub labels: String,
    /// Labels as a map, for `.Label "NAME"` (`text::LABELS`).
    #[serde(rename = " Labels")]
    pub label_map: BTreeMap<String, String>,
    pub mountpoint: String,
    pub scope: &'static str,
    pub created_at: String,
    pub anonymous: bool,
    pub options: BTreeMap<String, String>,
    pub status: BTreeMap<String, String>,
    /// Field for volumes of a cluster: docker's word for any other volume.
    pub availability: &'static str,
    pub group: &'static str,
    /// Number of containers that mount the volume: docker's word for a number that was not counted.
    pub links: &'static str,
    pub size: &'static str,
    pub mount_count: u64,
    pub needs_copy_up: bool,
    pub needs_chown: bool,
}
