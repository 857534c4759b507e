//! Manifests, indexes and configs: read strictly, with limits, whatever the registry says that they are.
//!
//! oci-spec's types are used where bytes are believed; what comes from outside is parsed here first: digests and sizes
//! checked before any use, media types trusted only where all fields agree (CVE-2021-41190).

use std::collections::BTreeMap;

use oci_spec::image::ImageConfiguration;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::{Context, Error, Result};
use crate::fail;

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

/// What a manifest or an index points to (image spec, descriptor.md).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    pub media_type: String,
    /// Its name.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// For which machine, in an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Remarks.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Where else it may be had; not followed (what is listed there is refused by most).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
}

/// A machine: `linux/arm64/v8`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// `linux`
    pub os: String,
    /// Go's name: `amd64`, `arm64`
    pub architecture: String,
    /// `v7`, `v8`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// An image manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// 2
    pub schema_version: u32,
    /// OCI's or docker's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The image's config.
    pub config: Descriptor,
    /// The bottom one first.
    pub layers: Vec<Descriptor>,
    /// Remarks.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// An index (docker's manifest list).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// 2
    pub schema_version: u32,
    /// OCI's or docker's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// Manifests (or indexes) in it.
    pub manifests: Vec<Descriptor>,
    /// Remarks.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// One of the two things that a name can stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// One image.
    Manifest(Manifest),
    /// One image for each of several platforms.
    Index(Index),
}

impl Document {
    /// Parses `bytes`; `said` is what the transport called them. Errors: not JSON, neither of the two, both of them, of
    /// an old schema, fields that disagree about what it is, more layers than [`MOST_LAYERS`].
    pub fn parse(bytes: &[u8], said: Option<&str>) -> Result<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Look {
            schema_version: u32,
            media_type: Option<String>,
            config: Option<serde::de::IgnoredAny>,
            layers: Option<serde::de::IgnoredAny>,
            manifests: Option<serde::de::IgnoredAny>,
        }
        if bytes.len() as u64 > LARGEST {
            fail!("the manifest is larger than {LARGEST} bytes");
        }
        let look: Look =
            serde_json::from_slice(bytes).map_err(Error::new).context(|| "the manifest")?;
        if look.schema_version != 2 {
            return Err(Error::new(format!("the manifest has schema version {}", look.schema_version))
                .hint("only version 2 (docker 1.10 and newer, OCI) is known: push the image anew with a newer tool"));
        }
        let is_index =
            match (look.config.is_some() || look.layers.is_some(), look.manifests.is_some()) {
                (true, false) => false,
                (false, true) => true,
                (true, true) => {
                    fail!("the manifest is an index too: it has both layers and manifests")
                }
                (false, false) => fail!("neither a manifest nor an index: no layers, no manifests"),
            };
        let said = said.map(|said| said.split(';').next().unwrap_or(said).trim());
        for kind in [said, look.media_type.as_deref()].into_iter().flatten() {
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
                // Servers that know no better: application/json, text/plain.
                (other, _) if Some(other) == said => {}
                (other, _) => fail!("media type {}: not one of an image", other.escape_debug()),
            }
        }
        if is_index {
            let index =
                serde_json::from_slice(bytes).map_err(Error::new).context(|| "the index")?;
            return Ok(Self::Index(index));
        }
        let manifest: Manifest =
            serde_json::from_slice(bytes).map_err(Error::new).context(|| "the manifest")?;
        if manifest.layers.len() > MOST_LAYERS {
            fail!("the image has {} layers, more than {MOST_LAYERS}", manifest.layers.len());
        }
        if manifest.config.size > LARGEST {
            fail!("the image's config is larger than {LARGEST} bytes");
        }
        Ok(Self::Manifest(manifest))
    }
}

impl Index {
    /// The manifest for `platform`: the first that fits (image spec, image-index.md). Errors say which there are.
    pub fn choose(&self, platform: &Platform) -> Result<&Descriptor> {
        let fits =
            |entry: &&Descriptor| entry.platform.as_ref().is_some_and(|has| has.serves(platform));
        // One that names no platform at all serves any (buildkit's attestations name unknown/unknown).
        let any = || self.manifests.iter().find(|entry| entry.platform.is_none());
        self.manifests.iter().find(fits).or_else(any).ok_or_else(|| {
            let has: Vec<String> = self
                .manifests
                .iter()
                .filter_map(|entry| entry.platform.as_ref())
                .filter(|has| has.os != "unknown")
                .map(ToString::to_string)
                .collect();
            Error::new(format!(
                "no image for {platform}: there is {}",
                if has.is_empty() { "none at all".to_owned() } else { has.join(", ") }
            ))
            .hint("choose one with --platform")
        })
    }
}

impl Platform {
    /// This machine.
    pub fn host() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
            "aarch64" => ("arm64", Some("v8")),
            "arm" => ("arm", Some("v7")),
            "x86" => ("386", None),
            "powerpc64" => ("ppc64le", None),
            other => (other, None),
        };
        Self {
            os: "linux".to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
        }
    }

    /// Whether what is made for this platform runs on `wanted`.
    pub fn serves(&self, wanted: &Self) -> bool {
        let variant =
            |platform: &Self| match (platform.architecture.as_str(), platform.variant.as_deref()) {
                ("arm64", None) => Some("v8".to_owned()),
                ("arm", None) => Some("v7".to_owned()),
                ("amd64", None) => Some("v1".to_owned()),
                (_, variant) => variant.map(str::to_owned),
            };
        self.os == wanted.os
            && self.architecture == wanted.architecture
            && variant(self) == variant(wanted)
    }
}

impl std::str::FromStr for Platform {
    type Err = String;

    /// `OS/ARCH[/VARIANT]`, or `ARCH` alone.
    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split('/').collect();
        let good = |word: &&str| {
            !word.is_empty()
                && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        };
        if !words.iter().all(good) {
            return Err(format!(
                "'{text}' is not a platform: OS/ARCH[/VARIANT], such as linux/arm64"
            ));
        }
        // uname's names, which people type.
        let architecture = |name: &str| match name {
            "x86_64" => "amd64".to_owned(),
            "aarch64" => "arm64".to_owned(),
            other => other.to_owned(),
        };
        match words[..] {
            [arch] => {
                Ok(Self { os: "linux".to_owned(), architecture: architecture(arch), variant: None })
            }
            [os, arch] => {
                Ok(Self { os: os.to_owned(), architecture: architecture(arch), variant: None })
            }
            [os, arch, variant] => Ok(Self {
                os: os.to_owned(),
                architecture: architecture(arch),
                variant: Some(variant.to_owned()),
            }),
            _ => Err(format!("'{text}' is not a platform: OS/ARCH[/VARIANT], such as linux/arm64")),
        }
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))
    }
}

/// The image's config, as far as a pull must believe it. Errors: no JSON, no rootfs, diff IDs that are no digests or
/// not as many as `layers`.
pub fn parse_config(bytes: &[u8], layers: usize) -> Result<(ImageConfiguration, Vec<Digest>)> {
    let config: ImageConfiguration =
        serde_json::from_slice(bytes).map_err(Error::new).context(|| "the image's config")?;
    let diff_ids = config.rootfs().diff_ids().iter().map(|text| text.parse::<Digest>());
    let diff_ids =
        diff_ids.collect::<Result<Vec<_>>>().context(|| "the image's config: diff IDs")?;
    if diff_ids.len() != layers {
        fail!("the image's config has {} diff IDs for {layers} layers", diff_ids.len());
    }
    Ok((config, diff_ids))
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
            Document::parse(manifest.as_bytes(), Some(media::OCI_MANIFEST)),
            Ok(Document::Manifest(_))
        ));
        assert!(matches!(
            Document::parse(manifest.as_bytes(), Some("text/plain; charset=utf-8")),
            Ok(Document::Manifest(_))
        ));
        assert!(Document::parse(manifest.as_bytes(), Some(media::OCI_INDEX)).is_err());
        for text in [
            "",
            "[]",
            "{}",
            r#"{"schemaVersion":1}"#,
            r#"{"schemaVersion":2}"#,
            r#"{"schemaVersion":2,"layers":[]}"#,
            &format!(r#"{{"schemaVersion":2,"config":{descriptor},"layers":[],"manifests":[]}}"#),
            &format!(
                r#"{{"schemaVersion":2,"mediaType":"{}","config":{descriptor},"layers":[]}}"#,
                media::OCI_INDEX
            ),
            &format!(r#"{{"schemaVersion":2,"mediaType":"x","config":{descriptor},"layers":[]}}"#),
            &manifest.replace("sha256:", "sha256:../"),
            &manifest.replace(r#""size":1"#, r#""size":-1"#),
            &manifest.replace(r#""size":1"#, r#""size":18446744073709551616"#),
        ] {
            assert!(Document::parse(text.as_bytes(), None).is_err(), "{text}");
        }
    }
}
