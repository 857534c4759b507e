//! An image's config: the fields that usnea needs, read as docker and podman read them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::platform::{Platform, WrittenPlatform};
use crate::digest::Digest;
use crate::error::{Context, Result};
use crate::fail;
use crate::go_json;

/// The config (image spec, config.md), with docker's fields.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ImageConfig {
    /// Time of the build, in RFC 3339.
    #[serde(deserialize_with = "go_json::text")]
    pub created: Option<String>,
    /// Settings of the image's containers.
    #[serde(deserialize_with = "go_json::or_zero")]
    pub config: RunConfig,
    /// The uncompressed layers, the bottom one first.
    #[serde(deserialize_with = "go_json::or_zero")]
    pub rootfs: ConfigRootFs,
    /// History of the image, the oldest step first.
    #[serde(deserialize_with = "go_json::list")]
    pub history: Vec<HistoryEntry>,
    #[serde(deserialize_with = "go_json::or_zero")]
    os: String,
    #[serde(deserialize_with = "go_json::or_zero")]
    architecture: String,
    #[serde(deserialize_with = "go_json::text")]
    variant: Option<String>,
}

impl ImageConfig {
    /// Parses a config. Errors: not JSON, or a field of the wrong type.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        go_json::read(bytes).context(|| "the image's config")
    }

    /// Platform that the image is for.
    pub fn platform(&self) -> Platform {
        // Not flattened: a flattened struct's keys are read as they are, with their case.
        let written = WrittenPlatform {
            os: self.os.clone(),
            architecture: self.architecture.clone(),
            variant: self.variant.clone(),
        };
        written.platform()
    }
}

/// Settings of the image's containers.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct RunConfig {
    /// User and group (`USER`).
    #[serde(deserialize_with = "go_json::text")]
    pub user: Option<String>,
    /// Ports as `PORT/PROTOCOL` (`EXPOSE`).
    #[serde(deserialize_with = "go_json::keys")]
    pub exposed_ports: Vec<String>,
    /// Environment variables as `NAME=VALUE` (`ENV`).
    #[serde(deserialize_with = "go_json::list")]
    pub env: Vec<String>,
    /// Words of the entrypoint (`ENTRYPOINT`).
    #[serde(deserialize_with = "go_json::words")]
    pub entrypoint: Vec<String>,
    /// Words of the default command (`CMD`).
    #[serde(deserialize_with = "go_json::words")]
    pub cmd: Vec<String>,
    /// Paths of volumes (`VOLUME`).
    #[serde(deserialize_with = "go_json::keys")]
    pub volumes: Vec<String>,
    /// Working directory (`WORKDIR`).
    #[serde(deserialize_with = "go_json::text")]
    pub working_dir: Option<String>,
    /// Labels (`LABEL`).
    #[serde(deserialize_with = "go_json::texts")]
    pub labels: BTreeMap<String, String>,
    /// Signal that stops the container (`STOPSIGNAL`).
    #[serde(deserialize_with = "go_json::text")]
    pub stop_signal: Option<String>,
    /// Health check (`HEALTHCHECK`), docker's own field.
    pub healthcheck: Option<Value>,
}

/// The layers of the root file system.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ConfigRootFs {
    /// Digests of the uncompressed layers, the bottom one first.
    #[serde(deserialize_with = "go_json::list")]
    pub diff_ids: Vec<String>,
}

/// A step of the image's history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct HistoryEntry {
    /// Time of the step, in RFC 3339.
    #[serde(deserialize_with = "go_json::text")]
    pub created: Option<String>,
    /// Command of the step.
    #[serde(deserialize_with = "go_json::or_zero")]
    pub created_by: String,
    /// Remark on the step.
    #[serde(deserialize_with = "go_json::or_zero")]
    pub comment: String,
    /// True if the step made no layer.
    #[serde(deserialize_with = "go_json::or_zero")]
    pub empty_layer: bool,
}

/// Parses the image's config; returns it with the diff IDs of its layers. Errors: not JSON, malformed diff IDs, or a
/// number of diff IDs other than `layers`.
pub fn parse_config(bytes: &[u8], layers: usize) -> Result<(ImageConfig, Vec<Digest>)> {
    let config = ImageConfig::parse(bytes)?;
    let diff_ids = config.rootfs.diff_ids.iter().map(|text| text.parse::<Digest>());
    let diff_ids =
        diff_ids.collect::<Result<Vec<_>>>().context(|| "the image's config: diff IDs")?;
    if diff_ids.len() != layers {
        fail!("the image's config has {} diff IDs for {layers} layers", diff_ids.len());
    }
    Ok((config, diff_ids))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn whole() -> Value {
        json!({
            "created": "2024-01-01T00:00:00Z", "os": "linux", "architecture": "arm64", "variant": "v8",
            "config": {
                "User": "1", "ExposedPorts": {"80/tcp": {}}, "Env": ["A=1"], "Entrypoint": ["sh"], "Cmd": ["-c"],
                "Volumes": {"/v": {}}, "WorkingDir": "/w", "Labels": {"a": "b"}, "StopSignal": "TERM",
                "Healthcheck": {"Test": ["NONE"]},
            },
            "rootfs": {"type": "layers", "diff_ids": [Digest::of(b"a")]},
            "history": [{"created": "2024-01-01T00:00:00Z", "created_by": "x", "comment": "c", "empty_layer": true}],
        })
    }

    /// The paths of all fields of a document.
    fn paths(value: &Value, path: &str, all: &mut Vec<String>) {
        let children: Vec<(String, &Value)> = match value {
            Value::Object(map) => {
                map.iter().map(|(key, value)| (key.replace('/', "~1"), value)).collect()
            }
            Value::Array(list) => {
                list.iter().enumerate().map(|(at, value)| (at.to_string(), value)).collect()
            }
            _ => Vec::new(),
        };
        for (key, value) in children {
            let path = format!("{path}/{key}");
            paths(value, &path, all);
            all.push(path);
        }
    }

    fn parse(document: &Value) -> Result<ImageConfig> {
        ImageConfig::parse(document.to_string().as_bytes())
    }

    #[test]
    fn every_field_may_be_null_or_missing() {
        let mut all = Vec::new();
        paths(&whole(), "", &mut all);
        assert!(all.len() > 20);
        for path in all {
            let mut null = whole();
            *null.pointer_mut(&path).unwrap() = Value::Null;
            let null = parse(&null).unwrap_or_else(|error| panic!("{path}: {error}"));
            let (parent, key) = path.rsplit_once('/').unwrap();
            let mut missing = whole();
            let Some(fields) = missing.pointer_mut(parent).unwrap().as_object_mut() else {
                continue;
            };
            fields.remove(&key.replace("~1", "/"));
            let missing = parse(&missing).unwrap_or_else(|error| panic!("{path}: {error}"));
            // A key of a map counts even with the value null.
            let maps = ["/config/Volumes", "/config/ExposedPorts", "/config/Labels"];
            // The health check is parsed later.
            let is_kept = maps.contains(&parent) || parent == "/config/Healthcheck";
            assert_eq!(null == missing, !is_kept, "{path}");
        }
    }

    #[test]
    fn a_wrong_type_is_an_error_as_in_go() {
        let paths = [
            "/created",
            "/os",
            "/architecture",
            "/variant",
            "/config",
            "/config/User",
            "/config/Env",
            "/config/Env/0",
            "/config/Cmd/0",
            "/config/Volumes",
            "/config/Labels",
            "/config/Labels/a",
            "/rootfs",
            "/rootfs/diff_ids",
            "/history",
            "/history/0",
            "/history/0/created_by",
            "/history/0/empty_layer",
        ];
        for path in paths {
            let mut wrong = whole();
            *wrong.pointer_mut(path).unwrap() = json!(7);
            assert!(parse(&wrong).is_err(), "{path}");
        }
    }

    #[test]
    fn an_image_of_no_layers_may_say_nothing_of_them() {
        for text in ["{}", r#"{"rootfs":null}"#, r#"{"rootfs":{"type":"layers"}}"#] {
            let (config, diff_ids) = parse_config(text.as_bytes(), 0).unwrap();
            assert_eq!((config.platform(), diff_ids.len()), (Platform::host(), 0));
            assert!(parse_config(text.as_bytes(), 1).is_err());
        }
        assert!(parse_config(br#"{"rootfs":{"diff_ids":["x"]}}"#, 1).is_err());
        let twice = br#"{"os":"windows","os":"Linux"}"#;
        assert_eq!(parse_config(twice, 0).unwrap().0.platform().os, "linux");
    }
}
