//! An unfinished manifest list: manifests of one image for several platforms, under a local name. A push sends the list
//! to a registry as an OCI index or as docker's manifest list.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Reference;
use super::manifest::{Descriptor, ManifestDocument, Platform, media};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::fail;
use crate::go_json;

/// A manifest list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestList {
    /// Hexadecimal digits that identify the list until its removal.
    pub id: String,
    /// Name, with a tag.
    pub name: Reference,
    /// Annotations of the list itself.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// Manifests in it, in the order in which they were added.
    #[serde(default)]
    pub entries: Vec<ListedManifest>,
}

/// A manifest of a list, and its source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedManifest {
    /// The entry as it stands in the index.
    pub entry: IndexEntry,
    /// The repository of a registry that has the manifest. `None`: the manifest is in the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Reference>,
}

/// An entry of an index, with all fields of the image spec (image-index.md) and docker's `features`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IndexEntry {
    /// Media type of the manifest.
    #[serde(default, deserialize_with = "go_json::or_zero")]
    pub media_type: String,
    /// Length of the manifest in bytes.
    #[serde(default, deserialize_with = "go_json::size")]
    pub size: u64,
    /// Digest of the manifest.
    pub digest: Digest,
    /// Type of an artifact that is no image.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "go_json::text")]
    pub artifact_type: Option<String>,
    /// Platform that the image is for.
    #[serde(default, deserialize_with = "go_json::or_zero")]
    pub platform: EntryPlatform,
    /// Free annotations.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "go_json::texts"
    )]
    pub annotations: BTreeMap<String, String>,
}

/// Platform of an entry of an index.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EntryPlatform {
    /// Go's name of the architecture.
    #[serde(deserialize_with = "go_json::or_zero")]
    pub architecture: String,
    /// Go's name of the operating system.
    #[serde(deserialize_with = "go_json::or_zero")]
    pub os: String,
    /// Version of the operating system (Windows).
    #[serde(
        rename = "os.version",
        skip_serializing_if = "Option::is_none",
        deserialize_with = "go_json::text"
    )]
    pub os_version: Option<String>,
    /// Features of the operating system (Windows).
    #[serde(
        rename = "os.features",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "go_json::list"
    )]
    pub os_features: Vec<String>,
    /// Variant of the architecture.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "go_json::text")]
    pub variant: Option<String>,
    /// Features of the processor (docker's).
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "go_json::list")]
    pub features: Vec<String>,
}

impl From<&Platform> for EntryPlatform {
    fn from(platform: &Platform) -> Self {
        Self {
            architecture: platform.architecture.clone(),
            os: platform.os.clone(),
            variant: platform.variant.clone(),
            ..Self::default()
        }
    }
}

impl EntryPlatform {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Changes to an entry; `None` and empty fields change nothing.
#[derive(Clone, Debug, Default)]
pub struct EntryChange {
    /// Architecture.
    pub architecture: Option<String>,
    /// Operating system.
    pub os: Option<String>,
    /// Variant of the architecture.
    pub variant: Option<String>,
    /// Version of the operating system.
    pub os_version: Option<String>,
    /// Features of the operating system; empty: no change.
    pub os_features: Vec<String>,
    /// Features of the processor; empty: no change.
    pub features: Vec<String>,
    /// Annotations to add or replace.
    pub annotations: Vec<(String, String)>,
}

impl EntryChange {
    /// Applies the changes to `entry`.
    pub fn apply(&self, entry: &mut IndexEntry) {
        let platform = &mut entry.platform;
        let set = |field: &mut String, new: &Option<String>| {
            if let Some(new) = new {
                field.clone_from(new);
            }
        };
        set(&mut platform.architecture, &self.architecture);
        set(&mut platform.os, &self.os);
        for (field, new) in
            [(&mut platform.variant, &self.variant), (&mut platform.os_version, &self.os_version)]
        {
            if new.is_some() {
                // An empty text removes the field.
                *field = new.clone().filter(|text| !text.is_empty());
            }
        }
        for (field, new) in [
            (&mut platform.os_features, &self.os_features),
            (&mut platform.features, &self.features),
        ] {
            if !new.is_empty() {
                field.clone_from(new);
            }
        }
        entry.annotations.extend(self.annotations.iter().cloned());
    }
}

impl IndexEntry {
    /// Makes the entry for a manifest. Errors: the bytes are no manifest.
    pub fn of_manifest(bytes: &[u8], digest: Digest, platform: &Platform) -> Result<Self> {
        let ManifestDocument::Manifest(manifest) = ManifestDocument::parse(bytes, None)? else {
            fail!("{digest} is an index, not a manifest");
        };
        Ok(Self {
            media_type: manifest.media_type().to_owned(),
            size: bytes.len() as u64,
            digest,
            artifact_type: None,
            platform: EntryPlatform::from(platform),
            annotations: manifest.annotations,
        })
    }

    /// Reads all entries of an index. Errors: the bytes are no index.
    pub fn all_of(index: &[u8]) -> Result<Vec<Self>> {
        #[derive(Deserialize)]
        struct IndexEntries {
            manifests: Vec<IndexEntry>,
        }
        Ok(go_json::read::<IndexEntries>(index)?.manifests)
    }

    /// The descriptor of the entry's manifest.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor {
            media_type: self.media_type.clone(),
            digest: self.digest.clone(),
            size: self.size,
            platform: None,
            annotations: BTreeMap::new(),
            urls: Vec::new(),
        }
    }
}

/// Format of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListFormat {
    /// OCI's image index.
    Oci,
    /// Docker's manifest list.
    Docker,
}

impl ListFormat {
    /// Media type of the list in this format.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Oci => media::OCI_INDEX,
            Self::Docker => media::DOCKER_LIST,
        }
    }
}

impl ManifestList {
    /// Adds a manifest, or replaces an entry with the same digest.
    pub fn add(&mut self, listing: ListedManifest) {
        match self.entries.iter_mut().find(|old| old.entry.digest == listing.entry.digest) {
            Some(old) => *old = listing,
            None => self.entries.push(listing),
        }
    }

    /// The format that loses nothing: docker's if all manifests are docker's and nothing has annotations, else OCI's.
    pub fn format(&self) -> ListFormat {
        let is_docker = |listing: &ListedManifest| {
            listing.entry.media_type == media::DOCKER_MANIFEST
                && listing.entry.annotations.is_empty()
        };
        let all = !self.entries.is_empty() && self.entries.iter().all(is_docker);
        if all && self.annotations.is_empty() { ListFormat::Docker } else { ListFormat::Oci }
    }

    /// The list as a document for a registry. Docker's format has no annotations.
    pub fn document(&self, format: ListFormat) -> Result<Value> {
        let mut manifests = Vec::new();
        for ListedManifest { entry, .. } in &self.entries {
            let mut value = serde_json::to_value(entry).map_err(Error::new)?;
            let dropped: &[&str] = match format {
                ListFormat::Docker => &["annotations", "artifactType"],
                ListFormat::Oci if entry.platform.is_empty() => &["platform"],
                ListFormat::Oci => &[],
            };
            if let Some(fields) = value.as_object_mut() {
                fields.retain(|name, _| !dropped.contains(&name.as_str()));
            }
            manifests.push(value);
        }
        let mut document = json!({
            "schemaVersion": 2,
            "mediaType": format.media_type(),
            "manifests": manifests,
        });
        if format == ListFormat::Oci && !self.annotations.is_empty() {
            document["annotations"] = json!(self.annotations);
        }
        Ok(document)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(media_type: &str) -> ListedManifest {
        let entry = json!({
            "mediaType": media_type, "size": 3, "digest": Digest::of(media_type.as_bytes()),
            "platform": {"architecture": "arm", "os": "linux", "variant": null, "os.version": "10"},
            "annotations": null,
        });
        ListedManifest { entry: go_json::of_value(entry).unwrap(), origin: None }
    }

    fn list(entries: Vec<ListedManifest>) -> ManifestList {
        let name = "localhost/x:1".parse().unwrap();
        ManifestList { id: "00".into(), name, annotations: BTreeMap::new(), entries }
    }

    #[test]
    fn a_list_is_dockers_only_where_nothing_is_lost_by_that() {
        let docker = list(vec![listing(media::DOCKER_MANIFEST)]);
        assert_eq!(docker.format(), ListFormat::Docker);
        let mut remarked = docker.clone();
        remarked.annotations.insert("a".into(), "b".into());
        assert_eq!(remarked.format(), ListFormat::Oci);
        let mixed = list(vec![listing(media::DOCKER_MANIFEST), listing(media::OCI_MANIFEST)]);
        assert_eq!(mixed.format(), ListFormat::Oci);
        assert_eq!(list(Vec::new()).format(), ListFormat::Oci);
    }

    #[test]
    fn a_list_is_an_index_that_we_read_ourselves() {
        let mut list = list(vec![listing(media::DOCKER_MANIFEST)]);
        let change = EntryChange {
            variant: Some("v7".into()),
            os_version: Some(String::new()),
            features: vec!["sse4".into()],
            annotations: vec![("a".into(), "b".into())],
            ..EntryChange::default()
        };
        change.apply(&mut list.entries[0].entry);
        for format in [ListFormat::Oci, ListFormat::Docker] {
            let document = list.document(format).unwrap();
            let bytes = document.to_string().into_bytes();
            let read = ManifestDocument::parse(&bytes, Some(format.media_type())).unwrap();
            let ManifestDocument::Index(index) = read else { panic!("{document}") };
            assert_eq!(index.manifests[0].platform, Some("linux/arm/v7".parse().unwrap()));
            assert_eq!(document["manifests"][0]["platform"]["features"], json!(["sse4"]));
            assert_eq!(document["manifests"][0]["platform"].get("os.version"), None);
            let is_kept = document["manifests"][0].get("annotations").is_some();
            assert_eq!(is_kept, format == ListFormat::Oci);
        }
    }

    #[test]
    fn a_manifest_is_listed_once() {
        let mut list = list(vec![listing(media::OCI_MANIFEST)]);
        list.add(listing(media::OCI_MANIFEST));
        assert_eq!(list.entries.len(), 1);
    }
}
