//! Documents of images: `usnea image inspect`, and the rows of `usnea images`, `history`, `search` and `image tree`.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use super::go::{GoSet, Nothing};
use super::graph_driver::GraphDriver;
use crate::digest::Digest;

/// Document of an image.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ImageDocument {
    /// Digest of the config.
    pub id: Digest,
    /// Digest of the manifest.
    pub digest: Digest,
    pub repo_tags: Vec<String>,
    pub repo_digests: Vec<String>,
    pub parent: String,
    pub comment: String,
    pub created: String,
    /// Version of docker under podman's name: a copy of `docker_version`.
    pub version: String,
    pub docker_version: String,
    pub author: String,
    /// Settings for containers: the image's own, over docker's config without settings.
    pub config: Map<String, Value>,
    pub architecture: String,
    pub variant: String,
    pub os: String,
    pub os_version: String,
    pub size: u64,
    pub virtual_size: u64,
    pub graph_driver: GraphDriver,
    #[serde(rename = "RootFS")]
    pub root_fs: RootFsDocument,
    pub metadata: ImageMetadata,
    pub labels: Value,
    pub user: Value,
    pub healthcheck: Value,
    pub manifest_type: String,
    pub annotations: BTreeMap<String, String>,
    pub names_history: Vec<String>,
    /// Steps of the image's making, as its config has them.
    pub history: Value,
}

/// docker's config without settings: templates find every field.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct EmptyImageConfig {
    user: &'static str,
    exposed_ports: GoSet,
    env: [&'static str; 0],
    entrypoint: [&'static str; 0],
    cmd: [&'static str; 0],
    volumes: GoSet,
    working_dir: &'static str,
    labels: GoSet,
    on_build: [&'static str; 0],
    stop_signal: &'static str,
    healthcheck: Option<Nothing>,
    hostname: &'static str,
    domainname: &'static str,
    attach_stdin: bool,
    attach_stdout: bool,
    attach_stderr: bool,
    tty: bool,
    open_stdin: bool,
    stdin_once: bool,
    image: &'static str,
}

/// Layers of a root.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct RootFsDocument {
    pub r#type: &'static str,
    pub layers: Vec<Digest>,
}

/// Facts about an image that are no part of it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ImageMetadata {
    pub last_tag_time: String,
}

/// Row of `usnea images`: an image under one of its names.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ImageRow {
    pub repository: String,
    pub tag: String,
    #[serde(rename = "ID")]
    pub id: String,
    /// ID in podman's spelling: always whole.
    #[serde(rename = "Id")]
    pub whole_id: String,
    pub digest: String,
    /// Age under podman's name: a copy of `created_since`.
    pub created: String,
    pub created_since: String,
    pub created_at: String,
    pub created_time: String,
    pub size: String,
    pub virtual_size: String,
    /// Shared size, which depends on all images together: docker's word for a size that was not computed.
    pub shared_size: &'static str,
    pub unique_size: &'static str,
    pub read_only: bool,
    pub dangling: bool,
    pub names: Vec<String>,
    pub repo_tags: Vec<String>,
    pub repo_digests: Vec<String>,
    pub containers: usize,
    pub labels: BTreeMap<String, String>,
    /// Labels as a map, for `.Label "NAME"` (`text::LABELS`).
    #[serde(rename = " Labels")]
    pub label_map: BTreeMap<String, String>,
    pub parent_id: &'static str,
    pub manifest: bool,
}

/// Row of `usnea history`: a step of an image's making.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct HistoryRow {
    #[serde(rename = "ID")]
    pub id: String,
    pub created_since: String,
    pub created_at: String,
    /// Age of the step under podman's name: a copy of `created_since`.
    pub created: String,
    pub created_by: String,
    pub size: String,
    pub comment: String,
    /// Names of the image, in the row of its last step.
    pub tags: Vec<String>,
}

/// Row of `usnea search`: a repository of a registry.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct SearchRow {
    pub index: String,
    pub name: String,
    pub description: String,
    pub star_count: u64,
    /// Stars under podman's name: a copy of `star_count`.
    pub stars: u64,
    /// `[OK]` for an official repository, else empty, as in docker.
    pub is_official: &'static str,
    pub official: &'static str,
    pub is_automated: &'static str,
    pub automated: &'static str,
}

/// Row of `usnea search --list-tags`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct TagRow {
    pub name: String,
    pub tag: String,
}

/// Row of `usnea image tree`: an image and its layers. Sizes in bytes.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ImageTreeRow {
    #[serde(rename = "ID")]
    pub id: String,
    pub names: Vec<String>,
    pub size: u64,
    pub packed: u64,
    pub unique: u64,
    pub shared: u64,
    pub layers: Vec<LayerRow>,
}

/// Layer of an image, and its sharers. Sizes in bytes.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct LayerRow {
    #[serde(rename = "DiffID")]
    pub diff_id: String,
    pub blob: String,
    pub size: u64,
    pub packed: u64,
    pub shared_with: Vec<String>,
}
