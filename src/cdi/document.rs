//! File of specifications: devices of one kind, and the edits that each makes in a container (CDI specification 1.1).

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use crate::cdi_name::{CdiKind, check_device};
use crate::error::{Context, Error, Result, one_line};
use crate::fail;
use crate::hook_point::HookPoint;

/// Largest file in bytes: one of a machine with many devices has some hundred kilobytes.
pub const LARGEST: u64 = 4 << 20;

/// Devices of one kind.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct CdiDocument {
    cdi_version: String,
    /// Kind of the devices.
    pub kind: CdiKind,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
    /// Devices.
    #[serde(default)]
    pub devices: Vec<CdiDevice>,
    /// Edits for each container that gets any of the devices.
    #[serde(default)]
    pub container_edits: ContainerEdits,
}

/// Device.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct CdiDevice {
    /// Name among the devices of the file's kind.
    pub name: String,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
    /// Edits for each container that gets the device.
    pub container_edits: ContainerEdits,
}

/// Changes of a container's config.json.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct ContainerEdits {
    /// Variables, `NAME=VALUE`.
    #[serde(deserialize_with = "null_as_empty")]
    pub env: Vec<String>,
    /// Device files.
    #[serde(deserialize_with = "null_as_empty")]
    pub device_nodes: Vec<CdiDeviceNode>,
    /// Mounts.
    #[serde(deserialize_with = "null_as_empty")]
    pub mounts: Vec<CdiMount>,
    /// Hooks of the OCI runtime.
    #[serde(deserialize_with = "null_as_empty")]
    pub hooks: Vec<CdiHook>,
    /// Groups of the host that may open the devices.
    #[serde(rename = "additionalGids", deserialize_with = "null_as_empty")]
    pub additional_gids: Vec<u32>,
    /// Cache allocation of Intel processors: needs root.
    pub intel_rdt: Option<serde_json::Value>,
    /// Network devices to move into the container: needs root.
    #[serde(deserialize_with = "null_as_empty")]
    pub net_devices: Vec<serde_json::Value>,
}

/// Device file. Owner and mode are those of the host's file, which is mounted: without root none can be made.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct CdiDeviceNode {
    /// Path in the container.
    pub path: PathBuf,
    /// Path on the host; `None`: as in the container.
    pub host_path: Option<PathBuf>,
    #[serde(rename = "type")]
    kind: Option<String>,
    major: Option<i64>,
    minor: Option<i64>,
    #[expect(dead_code, reason = "the mode is the host's")]
    file_mode: Option<u32>,
    permissions: Option<String>,
    #[expect(dead_code, reason = "the owner is the host's")]
    uid: Option<u32>,
    #[expect(dead_code, reason = "the owner is the host's")]
    gid: Option<u32>,
}

/// Mount.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct CdiMount {
    /// Path on the host.
    pub host_path: PathBuf,
    /// Path in the container.
    pub container_path: PathBuf,
    /// Options of the mount.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub options: Vec<String>,
    /// Type of the file system; `None`: a bind mount.
    #[serde(rename = "type")]
    pub kind: Option<String>,
}

/// Hook.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct CdiHook {
    /// Point of the container's life, as in config.json.
    pub hook_name: HookPoint,
    /// Program on the host.
    pub path: PathBuf,
    /// Arguments, the name of the program first.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub args: Vec<String>,
    /// Environment.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub env: Vec<String>,
    /// Seconds after which the hook is killed.
    pub timeout: Option<i64>,
}

/// Reads null as an empty list, as Go does.
fn null_as_empty<'de, D, T>(deserializer: D) -> std::result::Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// CdiFormat of a file, by its ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CdiFormat {
    /// `.json`
    Json,
    /// `.yaml`
    Yaml,
}

impl CdiDocument {
    /// Parses a file. Errors: invalid syntax, an unknown field or version, a field that its version lacks, no device,
    /// two devices of one name.
    pub fn parse(text: &str, format: CdiFormat) -> Result<Self> {
        let document: Self = match format {
            CdiFormat::Json => {
                serde_json::from_str(text).map_err(|error| Error::invalid(one_line(error)))?
            }
            CdiFormat::Yaml => serde_saphyr::from_str(text).map_err(|error| {
                // The error shows lines of the file below its first line.
                let text = error.to_string();
                Error::invalid(one_line(text.lines().next().unwrap_or_default()))
            })?,
        };
        document.check()?;
        Ok(document)
    }

    fn check(&self) -> Result<()> {
        let version = Version::parse(&self.cdi_version)?;
        let (needed, field) = self.needed_version();
        if version < needed {
            fail!(Invalid: "cdiVersion {} has no {field}: {needed} has", self.cdi_version);
        }
        if self.devices.is_empty() {
            fail!(Invalid: "no devices");
        }
        let mut names = std::collections::BTreeSet::new();
        for device in &self.devices {
            check_device(&device.name).map_err(Error::invalid)?;
            if !names.insert(&device.name) {
                fail!(Invalid: "two devices of the name {}", device.name);
            }
            device.container_edits.check().context(|| format!("device {}", device.name))?;
        }
        self.container_edits.check().context(|| "containerEdits")
    }

    fn all_edits(&self) -> impl Iterator<Item = &ContainerEdits> {
        self.devices
            .iter()
            .map(|device| &device.container_edits)
            .chain(std::iter::once(&self.container_edits))
    }

    /// Returns the first version that has all fields of the file, and the name of the field that needs it.
    fn needed_version(&self) -> (Version, &'static str) {
        let has = |test: fn(&ContainerEdits) -> bool| self.all_edits().any(test);
        let has_annotations = self.annotations.is_some()
            || self.devices.iter().any(|device| device.annotations.is_some());
        let begins_with_digit = |device: &CdiDevice| {
            device.name.bytes().next().is_some_and(|byte| byte.is_ascii_digit())
        };
        let needs = [
            (has(|edits| !edits.net_devices.is_empty()), Version(1, 1), "netDevices"),
            (has(|edits| edits.intel_rdt.is_some()), Version(0, 7), "intelRdt"),
            (has(|edits| !edits.additional_gids.is_empty()), Version(0, 7), "additionalGids"),
            (has_annotations, Version(0, 6), "annotations"),
            (
                self.devices.iter().any(begins_with_digit),
                Version(0, 5),
                "names that begin with a digit",
            ),
            (
                has(|edits| edits.device_nodes.iter().any(|node| node.host_path.is_some())),
                Version(0, 5),
                "hostPath of deviceNodes",
            ),
            (
                has(|edits| edits.mounts.iter().any(|mount| mount.kind.is_some())),
                Version(0, 4),
                "type of mounts",
            ),
        ];
        let first = needs.into_iter().find(|(is_used, ..)| *is_used);
        first.map_or((Version(0, 3), ""), |(_, version, field)| (version, field))
    }
}

/// Version of the specification: major and minor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u32, u32);

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.0", self.0, self.1)
    }
}

impl Version {
    /// Versions of the specification.
    const ALL: [Self; 9] = [
        Self(0, 2),
        Self(0, 3),
        Self(0, 4),
        Self(0, 5),
        Self(0, 6),
        Self(0, 7),
        Self(0, 8),
        Self(1, 0),
        Self(1, 1),
    ];

    fn parse(text: &str) -> Result<Self> {
        let found = Self::ALL
            .into_iter()
            .find(|version| version.to_string() == text.trim_start_matches('v'));
        found.ok_or_else(|| {
            Error::invalid(format!("cdiVersion '{text}' is unknown: from 0.2.0 to 1.1.0"))
        })
    }
}

impl ContainerEdits {
    /// Errors: an edit that no container can have.
    fn check(&self) -> Result<()> {
        for variable in &self.env {
            if variable.find('=').is_none_or(|at| at == 0) || variable.contains('\0') {
                fail!(Invalid: "env: '{variable}' is no NAME=VALUE");
            }
        }
        for node in &self.device_nodes {
            node.check().context(|| format!("deviceNodes: {}", node.path.display()))?;
        }
        for mount in &self.mounts {
            if mount.host_path.as_os_str().is_empty() || !is_below_root(&mount.container_path) {
                fail!(Invalid: "mounts: '{}' on '{}': expected two absolute paths",
                    mount.host_path.display(), mount.container_path.display());
            }
        }
        for hook in &self.hooks {
            if !hook.path.is_absolute() {
                fail!(Invalid: "hooks: '{}' is no absolute path", hook.path.display());
            }
            if hook.timeout.is_some_and(|seconds| seconds < 0) {
                fail!(Invalid: "hooks: {}: a timeout below zero", hook.path.display());
            }
        }
        Ok(())
    }
}

/// True for an absolute path of a file below the root: a mount on the root itself would replace the container's.
fn is_below_root(path: &Path) -> bool {
    path.is_absolute()
        && path.components().any(|part| matches!(part, Component::Normal(_)))
        && !path.components().any(|part| part == Component::ParentDir)
}

impl CdiDeviceNode {
    fn check(&self) -> Result<()> {
        let host = self.host_path.as_ref().unwrap_or(&self.path);
        if !is_below_root(&self.path) || !host.is_absolute() {
            fail!(Invalid: "not an absolute path");
        }
        if let Some(kind) = &self.kind
            && !["", "b", "c", "u", "p"].contains(&kind.as_str())
        {
            fail!(Invalid: "type '{kind}' is none of b, c, u and p");
        }
        let permissions = self.permissions.as_deref().unwrap_or_default();
        if !permissions.chars().all(|letter| "rwm".contains(letter)) {
            fail!(Invalid: "permissions '{permissions}' are not of the letters rwm");
        }
        Ok(())
    }

    /// Path on the host.
    pub fn source(&self) -> &PathBuf {
        self.host_path.as_ref().filter(|path| !path.as_os_str().is_empty()).unwrap_or(&self.path)
    }

    /// True if `stat` is the device that the file describes: without numbers, any device.
    pub fn is(&self, stat: &rustix::fs::Stat) -> bool {
        use rustix::fs::{FileType, major, minor};
        let kind = FileType::from_raw_mode(stat.st_mode);
        let kind_fits = match self.kind.as_deref() {
            Some("b") => kind == FileType::BlockDevice,
            Some("c" | "u") => kind == FileType::CharacterDevice,
            Some("p") => kind == FileType::Fifo,
            _ => matches!(kind, FileType::BlockDevice | FileType::CharacterDevice),
        };
        let number_fits = |given: Option<i64>, is: u32| {
            given.is_none_or(|given| given == 0 || given == i64::from(is))
        };
        kind_fits
            && (kind == FileType::Fifo
                || number_fits(self.major, major(stat.st_rdev))
                    && number_fits(self.minor, minor(stat.st_rdev)))
    }
}
