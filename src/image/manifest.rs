//! Manifests and indexes: parsed as Go does, with limits, whatever type the registry claims.
//!
//! Digests are checked before any use; media types are trusted only where all fields agree (CVE-2021-41190).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use super::config::{ImageConfig, RunConfig, parse_config};
pub use super::platform::Platform;
use super::platform::WrittenPlatform;
use crate::digest::Digest;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::fail;
use crate::go_json;
use crate::hint;

/// Most bytes of a manifest, an index or a config (containers/image: 4 MiB).
pub const LARGEST: u64 = 4 << 20;
/// Most layers of an image.
pub const MOST_LAYERS: usize = 1000;

/// Media types.
pub mod media {
    #![allow(missing_docs)]
    pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
    pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
}

/// A reference to content by digest, in a manifest or an index (image spec, descriptor.md).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Media type of the content; empty if missing.
    #[serde(default, deserialize_with = "go_json::or_zero")]
    pub media_type: String,
    /// Digest of the content.
    pub digest: Digest,
    /// Length of the content in bytes; 0 if missing, see [`Descriptor::is_size_known`].
    #[serde(default, deserialize_with = "go_json::size")]
    pub size: u64,
    /// Platform of the image, in an index.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "WrittenPlatform::of_entry"
    )]
    pub platform: Option<Platform>,
    /// Free annotations.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "go_json::texts"
    )]
    pub annotations: BTreeMap<String, String>,
    /// Other locations of the content. Not followed: most tools refuse such content.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "go_json::list")]
    pub urls: Vec<String>,
}

impl Descriptor {
    /// Describes a blob of this machine: without platform, annotations and addresses.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            platform: None,
            annotations: Default::default(),
            urls: Vec::new(),
        }
    }

    /// True if the descriptor has a size. A size of 0 is real only for the empty blob.
    pub fn is_size_known(&self) -> bool {
        self.size > 0 || self.digest == Digest::of(b"")
    }
}

/// An image manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    #[serde(default = "version_2", deserialize_with = "version")]
    pub schema_version: u32,
    /// OCI's or docker's media type.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "go_json::text")]
    pub media_type: Option<String>,
    /// Type of an artifact that is no image.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "go_json::text")]
    pub artifact_type: Option<String>,
    /// The image's config.
    pub config: Descriptor,
    /// Layers, the bottom one first.
    #[serde(default, deserialize_with = "layers")]
    pub layers: Vec<Descriptor>,
    /// Free annotations.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "go_json::texts"
    )]
    pub annotations: BTreeMap<String, String>,
}

/// An index (docker's manifest list).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    #[serde(default = "version_2", deserialize_with = "version")]
    pub schema_version: u32,
    /// OCI's or docker's media type.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "go_json::text")]
    pub media_type: Option<String>,
    /// Manifests (or indexes) of the index.
    #[serde(default, deserialize_with = "layers")]
    pub manifests: Vec<Descriptor>,
    /// Free annotations.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "go_json::texts"
    )]
    pub annotations: BTreeMap<String, String>,
}

fn version_2() -> u32 {
    2
}

/// Reads a schema version; 2 if missing or 0.
fn version<'de, D: serde::Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    let version: u32 = go_json::or_zero(from)?;
    Ok(if version == 0 { 2 } else { version })
}

fn layers<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<Descriptor>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// Content of a reference: a manifest or an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManifestDocument {
    /// A single image.
    Manifest(Manifest),
    /// An index: an image for each of several platforms.
    Index(Index),
}

impl ManifestDocument {
    /// Parses `bytes`; `declared` is the transport's media type. Errors: not JSON, neither of the two, both of them, an old
    /// schema, contradictory media types, more layers than [`MOST_LAYERS`].
    pub fn parse(bytes: &[u8], declared: Option<&str>) -> Result<Self> {
        if bytes.len() as u64 > LARGEST {
            fail!("the manifest is larger than {LARGEST} bytes");
        }
        let value = go_json::value(bytes).map_err(not_json(bytes)).context(|| "the manifest")?;
        let version = go_json::field(&value, "schemaVersion").and_then(Value::as_u64).unwrap_or(2);
        if !matches!(version, 0 | 2) {
            return Err(Error::new(format!("the manifest has schema version {version}")).hint(
                "only version 2 (docker 1.10 and newer, OCI) is known: push the image anew with a newer tool",
            ));
        }
        let media_type = go_json::field(&value, "mediaType").and_then(Value::as_str);
        let media_type = media_type.unwrap_or_default();
        if let Some(kind) = artifact_alone(&value, media_type, declared) {
            return Err(not_an_image(&kind));
        }
        let is_index = is_index(&value, media_type)?;
        let declared =
            declared.map(|declared| declared.split(';').next().unwrap_or(declared).trim());
        let own = Some(media_type).filter(|kind| !kind.is_empty());
        for kind in [declared.filter(|kind| !kind.is_empty()), own].into_iter().flatten() {
            match (kind, is_index) {
                (media::OCI_MANIFEST | media::DOCKER_MANIFEST, false)
                | (media::OCI_INDEX | media::DOCKER_LIST, true) => {}
                (
                    media::OCI_MANIFEST
                    | media::DOCKER_MANIFEST
                    | media::OCI_INDEX
                    | media::DOCKER_LIST,
                    _,
                ) => {
                    fail!(
                        "the media type says {kind}, the content is the other of manifest and index"
                    )
                }
                // Some servers send a generic type: application/json, text/plain.
                (other, _) if Some(other) == declared => {}
                (other, _) => fail!("media type {}: not one of an image", other.escape_debug()),
            }
        }
        if is_index {
            let index = go_json::of_value(value).context(|| "the index")?;
            return Ok(Self::Index(index));
        }
        let manifest: Manifest = go_json::of_value(value).context(|| "the manifest")?;
        if manifest.layers.len() > MOST_LAYERS {
            fail!("the image has {} layers, more than {MOST_LAYERS}", manifest.layers.len());
        }
        if manifest.config.size > LARGEST {
            fail!("the image's config is larger than {LARGEST} bytes");
        }
        Ok(Self::Manifest(manifest))
    }
}

/// Returns the type of an artifact whose document is neither a manifest nor an index: OCI had a manifest of its own for
/// artifacts once, and older tools theirs. `None`: another document.
fn artifact_alone(value: &Value, media_type: &str, declared: Option<&str>) -> Option<String> {
    let has = |name: &str| go_json::field(value, name).is_some();
    if ["config", "layers", "manifests"].into_iter().any(has) {
        return None;
    }
    let artifact = go_json::field(value, "artifactType").and_then(Value::as_str);
    let types = [artifact, Some(media_type), declared].into_iter().flatten();
    let is_artifact = |kind: &&str| {
        Some(*kind) == artifact && !kind.is_empty() || kind.contains("artifact.manifest")
    };
    types.filter(is_artifact).map(str::to_owned).next()
}

fn not_an_image(kind: &str) -> Error {
    let kind: String = kind.chars().take(100).collect();
    let error = format!("an artifact of type {}, not an image", kind.escape_debug());
    Error::new(error).of_kind(ErrorKind::Artifact)
}

/// True if a document is an index. Errors: both or neither.
fn is_index(value: &Value, media_type: &str) -> Result<bool> {
    let has = |name: &str| go_json::field(value, name).is_some_and(|field| !field.is_null());
    match (has("config") || has("layers"), has("manifests")) {
        (true, false) => Ok(false),
        (false, true) => Ok(true),
        (true, true) => fail!("the manifest is an index too: it has both layers and manifests"),
        (false, false)
            if go_json::field(value, "manifests").is_some()
                || matches!(media_type, media::OCI_INDEX | media::DOCKER_LIST) =>
        {
            Ok(true)
        }
        (false, false) => fail!("neither a manifest nor an index: no layers, no manifests"),
    }
}

/// Replaces the error for a web page: proxies and login pages send one in place of a manifest.
pub(super) fn not_json(bytes: &[u8]) -> impl Fn(Error) -> Error {
    let is_page = bytes.trim_ascii_start().starts_with(b"<");
    move |error| if is_page { Error::new("a web page, not JSON") } else { error }
}

/// Media types of configs that stand for an image. Old registries and tools wrote other types than the two standard
/// ones (docker accepts the same).
const CONFIG_TYPES: [&str; 7] = [
    media::OCI_CONFIG,
    media::DOCKER_CONFIG,
    "application/octet-stream",
    "application/json",
    "text/html",
    "text/plain",
    "",
];

impl Manifest {
    /// Media type of the manifest; if missing, derived from the config's.
    pub fn media_type(&self) -> &str {
        match (&self.media_type, self.config.media_type.as_str()) {
            (Some(media_type), _) => media_type,
            (None, media::DOCKER_CONFIG) => media::DOCKER_MANIFEST,
            (None, _) => media::OCI_MANIFEST,
        }
    }

    /// Adds the sizes that the manifest does not have, as `size` returns them.
    pub fn add_sizes(&mut self, size: impl Fn(&Descriptor) -> Result<u64>) -> Result<()> {
        let missing = std::iter::once(&mut self.config).chain(&mut self.layers);
        for descriptor in missing.filter(|descriptor| !descriptor.is_size_known()) {
            descriptor.size = size(descriptor)?;
        }
        Ok(())
    }

    /// Checks that the manifest describes an image. Errors of [`ErrorKind::Artifact`] otherwise.
    pub fn check_is_image(&self) -> Result<()> {
        let bare = |kind: &str| kind.split(';').next().unwrap_or_default().trim().to_owned();
        let config = bare(&self.config.media_type);
        let is_layer = |kind: &str| {
            kind.is_empty()
                || kind == "application/octet-stream"
                || kind.contains("tar")
                || kind.contains("rootfs")
        };
        let odd_layer = self.layers.iter().map(|layer| bare(&layer.media_type));
        let odd_layer = odd_layer.into_iter().find(|kind| !is_layer(kind));
        let artifact = match &self.artifact_type {
            _ if !CONFIG_TYPES.contains(&&*config) => {
                Some(self.artifact_type.clone().unwrap_or(config))
            }
            Some(_) if self.layers.is_empty() => self.artifact_type.clone(),
            _ => odd_layer,
        };
        match artifact {
            None => Ok(()),
            Some(kind) => Err(not_an_image(&kind)),
        }
    }
}

impl Index {
    /// Chooses the manifest for `platform`: the best match, and of equal ones the first (image spec, image-index.md).
    /// Errors list the available platforms.
    pub fn choose(&self, platform: &Platform) -> Result<&Descriptor> {
        let rank = |entry: &Descriptor| entry.platform.as_ref()?.rank(platform);
        let ranked = self.manifests.iter().filter_map(|entry| Some((rank(entry)?, entry)));
        let best = ranked.min_by_key(|(rank, _)| *rank).map(|(_, entry)| entry);
        // An entry without a platform serves any (buildkit's attestations name unknown/unknown).
        let any = || self.manifests.iter().find(|entry| entry.platform.is_none());
        best.or_else(any).ok_or_else(|| {
            let has: Vec<String> = self
                .manifests
                .iter()
                .filter_map(|entry| entry.platform.as_ref())
                .filter(|has| has.os != "unknown")
                .map(ToString::to_string)
                .collect();
            Error::not_found(format!(
                "no image for {platform}: there is {}",
                if has.is_empty() { "none at all".to_owned() } else { has.join(", ") }
            ))
            .hint(hint::CHOOSE_PLATFORM)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(platforms: &[&str]) -> Index {
        let entry = |text: &&str| Descriptor {
            media_type: media::OCI_MANIFEST.to_owned(),
            digest: Digest::of(text.as_bytes()),
            size: 1,
            platform: Some(text.parse().unwrap()),
            annotations: BTreeMap::new(),
            urls: Vec::new(),
        };
        Index {
            schema_version: 2,
            media_type: None,
            manifests: platforms.iter().map(entry).collect(),
            annotations: BTreeMap::new(),
        }
    }

    #[test]
    fn the_image_for_the_platform_is_chosen() {
        let index = index(&[
            "unknown/unknown",
            "linux/arm64",
            "linux/arm/v6",
            "linux/amd64",
            "windows/amd64",
        ]);
        let chosen = |text: &str| {
            index
                .choose(&text.parse().unwrap())
                .map(|entry| entry.platform.clone().unwrap().to_string())
        };
        assert_eq!(chosen("linux/amd64").unwrap(), "linux/amd64");
        assert_eq!(chosen("arm64").unwrap(), "linux/arm64");
        assert_eq!(chosen("linux/arm64/v8").unwrap(), "linux/arm64");
        assert_eq!(chosen("linux/arm/v6").unwrap(), "linux/arm/v6");
        let error = chosen("linux/s390x").unwrap_err().to_string();
        assert_eq!(
            error,
            "no image for linux/s390x: there is linux/arm64, linux/arm/v6, linux/amd64, windows/amd64"
        );
    }

    #[test]
    fn documents_that_disagree_with_themselves_are_refused() {
        let descriptor = format!(r#"{{"mediaType":"x","digest":"{}","size":1}}"#, Digest::of(b""));
        let manifest =
            format!(r#"{{"schemaVersion":2,"config":{descriptor},"layers":[{descriptor}]}}"#);
        assert!(matches!(
            ManifestDocument::parse(manifest.as_bytes(), Some(media::OCI_MANIFEST)),
            Ok(ManifestDocument::Manifest(_))
        ));
        assert!(matches!(
            ManifestDocument::parse(manifest.as_bytes(), Some("text/plain; charset=utf-8")),
            Ok(ManifestDocument::Manifest(_))
        ));
        assert!(ManifestDocument::parse(manifest.as_bytes(), Some(media::OCI_INDEX)).is_err());
        for text in [
            "",
            "[]",
            "{}",
            r#"{"schemaVersion":1}"#,
            r#"{"schemaVersion":2}"#,
            r#"{"schemaVersion":2,"layers":[]}"#,
            r#"{"schemaVersion":2,"config":{},"layers":[]}"#,
            r#"{"schemaVersion":"2","manifests":[]}"#,
            "<html>",
            &format!(r#"{{"schemaVersion":2,"config":{descriptor},"layers":[],"manifests":[]}}"#),
            &format!(
                r#"{{"schemaVersion":2,"mediaType":"{}","config":{descriptor},"layers":[]}}"#,
                media::OCI_INDEX
            ),
            &format!(r#"{{"schemaVersion":2,"mediaType":"x","config":{descriptor},"layers":[]}}"#),
            &manifest.replace("sha256:", "sha256:../"),
            &manifest.replace(r#""size":1"#, r#""size":"1""#),
            &manifest.replace(r#""size":1"#, r#""size":18446744073709551616"#),
        ] {
            assert!(ManifestDocument::parse(text.as_bytes(), None).is_err(), "{text}");
        }
    }

    #[test]
    fn every_field_may_be_null_or_missing_but_a_digest() {
        let descriptor = |kind: &str| {
            serde_json::json!({
                "mediaType": kind, "digest": Digest::of(b"a"), "size": 5, "annotations": {"a": "b"}, "urls": ["u"],
                "platform": {"os": "linux", "architecture": "amd64", "variant": "v2"},
            })
        };
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": media::OCI_MANIFEST, "config": descriptor(media::OCI_CONFIG),
            "layers": [descriptor(media::OCI_LAYER)], "annotations": {"a": "b"}, "artifactType": "x",
        });
        let index = serde_json::json!({
            "schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": [descriptor(media::OCI_MANIFEST)],
            "annotations": {"a": "b"},
        });
        for (document, place) in [(manifest, "layers"), (index, "manifests")] {
            let inner =
                ["mediaType", "size", "annotations", "urls", "platform", "annotations/a", "urls/0"];
            let inner = inner.map(|name| format!("/{place}/0/{name}"));
            let platform = ["os", "architecture", "variant"];
            let platform = platform.map(|name| format!("/{place}/0/platform/{name}"));
            let outer = ["schemaVersion", "mediaType", place, "annotations", "annotations/a"];
            let outer = outer.map(|name| format!("/{name}"));
            for path in inner.iter().chain(&platform).chain(&outer) {
                let mut null = document.clone();
                *null.pointer_mut(path).unwrap() = Value::Null;
                let parsed = ManifestDocument::parse(null.to_string().as_bytes(), None);
                let null = parsed.unwrap_or_else(|error| panic!("{path}: {error}"));
                let (parent, name) = path.rsplit_once('/').unwrap();
                let mut missing = document.clone();
                let Some(fields) = missing.pointer_mut(parent).unwrap().as_object_mut() else {
                    continue;
                };
                fields.remove(name);
                let parsed = ManifestDocument::parse(missing.to_string().as_bytes(), None);
                let missing = parsed.unwrap_or_else(|error| panic!("{path}: {error}"));
                assert_eq!(null == missing, name != "a", "{path}");
            }
            for path in ["/digest", ""].map(|name| format!("/{place}/0{name}")) {
                let mut null = document.clone();
                *null.pointer_mut(&path).unwrap() = Value::Null;
                assert!(
                    ManifestDocument::parse(null.to_string().as_bytes(), None).is_err(),
                    "{path}"
                );
            }
        }
        let empty = ManifestDocument::parse(br#"{"manifests":null}"#, None).unwrap();
        assert!(matches!(empty, ManifestDocument::Index(index) if index.manifests.is_empty()));
    }

    #[test]
    fn an_unknown_size_is_not_the_size_of_an_empty_blob() {
        let of = |size: &str, digest: Digest| -> Descriptor {
            go_json::read(format!(r#"{{"digest":"{digest}"{size}}}"#).as_bytes()).unwrap()
        };
        for size in ["", r#","size":null"#, r#","size":-1"#, r#","size":0"#] {
            assert!(!of(size, Digest::of(b"a")).is_size_known(), "{size}");
            assert!(of(size, Digest::of(b"")).is_size_known(), "{size}");
        }
    }

    #[test]
    fn an_artifact_is_distinguished_from_an_image() {
        let check = |config: &str, layer: &str, artifact: &str| {
            let digest = Digest::of(b"");
            let text = format!(
                r#"{{"config":{{"mediaType":"{config}","digest":"{digest}"}},"artifactType":"{artifact}",
                "layers":[{{"mediaType":"{layer}","digest":"{digest}"}}]}}"#
            );
            let ManifestDocument::Manifest(manifest) =
                ManifestDocument::parse(text.as_bytes(), None).unwrap()
            else {
                panic!("an index")
            };
            manifest.check_is_image().map_err(|error| (error.kind(), error.to_string()))
        };
        for config in [media::OCI_CONFIG, media::DOCKER_CONFIG, "", "application/octet-stream"] {
            for layer in [media::OCI_LAYER_ZSTD, media::DOCKER_LAYER, "", "a/b.tar+xz"] {
                assert_eq!(check(config, layer, ""), Ok(()), "{config} {layer}");
            }
        }
        let helm = "application/vnd.cncf.helm.config.v1+json";
        for (config, layer, artifact, kind) in [
            (helm, "a/b.tar+gzip", "", helm),
            ("application/vnd.oci.empty.v1+json", "a/b", "text/spdx", "text/spdx"),
            (media::OCI_CONFIG, "application/vnd.in-toto+json", "", "application/vnd.in-toto+json"),
        ] {
            let error = format!("an artifact of type {kind}, not an image");
            assert_eq!(check(config, layer, artifact), Err((ErrorKind::Artifact, error)));
        }
    }
}
