//! `host/REQUEST.json`: the layer that serves one request, and the checked files behind that decision. A lost record
//! only costs time: records are neither synced nor locked.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::closure::Surroundings;
use super::etc::Invoker;
use super::layer::{self, LayerName};
use super::seen::SeenFiles;
use crate::error::{Context, Result};

/// Request, with all inputs of the result besides files.
#[derive(Clone, Debug)]
pub struct HostRequest {
    /// Requested programs, in the user's order.
    requested: Vec<String>,
    /// Requested programs, sorted and without duplicates: their order changes nothing.
    pub programs: BTreeSet<String>,
    /// PATH and TERM.
    pub surroundings: Surroundings,
    /// User who makes the request.
    pub invoker: Invoker,
}

impl HostRequest {
    /// Completes the request with this process's environment and identity.
    pub fn new(programs: &[String]) -> Self {
        let text = |name: &str| std::env::var(name).ok();
        Self {
            requested: programs.to_vec(),
            programs: programs.iter().cloned().collect(),
            surroundings: Surroundings { search: std::env::var_os("PATH"), term: text("TERM") },
            invoker: Invoker {
                uid: rustix::process::getuid().as_raw(),
                gid: rustix::process::getgid().as_raw(),
                name: text("USER"),
                home: text("HOME"),
                shell: text("SHELL"),
            },
        }
    }

    /// Returns the path of each requested program, in the user's order.
    pub fn in_order(&self, places: &BTreeMap<String, PathBuf>) -> Vec<PathBuf> {
        self.requested.iter().filter_map(|name| places.get(name).cloned()).collect()
    }

    /// Returns the content of `layer.json`.
    pub fn story(&self, places: &BTreeMap<String, PathBuf>) -> String {
        let made = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let story = serde_json::json!({
            "kind": "host",
            "programs": places.iter().map(|(name, path)| (name, path.to_string_lossy())).collect::<BTreeMap<_, _>>(),
            "made": made.map(|since| since.as_secs()).unwrap_or_default(),
            "usnea": env!("CARGO_PKG_VERSION"),
        });
        format!("{story}\n")
    }

    fn file(&self, store: &Path) -> PathBuf {
        // The machine's name: nodes that share a home have files of other inodes, and must not drop each other's
        // layers.
        let machine = rustix::system::uname();
        let key = format!(
            "{:?}",
            (
                env!("CARGO_PKG_VERSION"),
                machine.nodename(),
                &self.programs,
                &self.surroundings,
                &self.invoker
            )
        );
        store.join("host").join(format!("{}.json", layer::digest(key.as_bytes())))
    }
}

impl fmt::Display for HostRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "host:{}", self.requested.join(","))
    }
}

/// Saved answer to a request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HostRecord {
    /// Layer that serves the request.
    pub layer: LayerName,
    /// Path of each requested program.
    pub places: BTreeMap<String, PathBuf>,
    /// Host files that the answer depends on.
    pub seen: SeenFiles,
}

impl HostRecord {
    /// Loads the record of `request`. `None`: no record, or one that cannot be parsed.
    pub fn load(store: &Path, request: &HostRequest) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(request.file(store)).ok()?).ok()
    }

    /// True if the host's files have not changed.
    pub fn is_current(&self) -> bool {
        self.seen.is_unchanged()
    }

    /// Replaces the old record. Errors: the store cannot be written, or a path is not UTF-8.
    pub fn save(&self, store: &Path, request: &HostRequest) -> Result<()> {
        let text = serde_json::to_string(self)
            .map_err(std::io::Error::from)
            .context(|| "cannot write it as JSON")?;
        layer::replace(store, &request.file(store), &text)
    }
}

/// Removes `layer` unless a record names it or a container runs on it.
pub fn forget(store: &Path, layer: &LayerName) {
    let Ok(entries) = std::fs::read_dir(store.join("host")) else {
        return;
    };
    // A text search suffices: 64 hexadecimal digits in a record are always a layer's name.
    let is_named = |path: &Path| {
        std::fs::read_to_string(path).is_ok_and(|record| record.contains(layer.digits()))
    };
    if !entries.filter_map(std::result::Result::ok).any(|entry| is_named(&entry.path())) {
        layer::remove_unused(store, layer);
    }
}
