//! `host/REQUEST.json`: for one request, which layer serves it and what was looked at to decide so. Losing one costs time,
//! nothing else, so it is neither synced nor locked.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::closure::Surroundings;
use super::etc::Invoker;
use super::layer::{self, LayerName};
use super::seen::Seen;
use crate::error::{Context, Result};

/// Everything that the outcome depends on besides files.
#[derive(Clone, Debug)]
pub struct Request {
    /// What was asked for, in that order.
    asked: Vec<String>,
    /// The same, sorted and each once: the order of asking changes nothing.
    pub programs: BTreeSet<String>,
    /// Where to look.
    pub surroundings: Surroundings,
    /// Who asks.
    pub invoker: Invoker,
}

impl Request {
    /// The request as this process's environment and identity complete it.
    pub fn new(programs: &[String]) -> Self {
        let text = |name: &str| std::env::var(name).ok();
        Self {
            asked: programs.to_vec(),
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

    /// Where each asked program is, in the order asked.
    pub fn in_order(&self, places: &BTreeMap<String, PathBuf>) -> Vec<PathBuf> {
        self.asked.iter().filter_map(|name| places.get(name).cloned()).collect()
    }

    /// What `layer.json` says.
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
        // The machine's name: nodes that share a home have files of other inodes, and must not drop each other's layers.
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

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "host:{}", self.asked.join(","))
    }
}

/// The answer to a request, as it was.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The layer that serves it.
    pub layer: LayerName,
    /// Where each asked program is.
    pub places: BTreeMap<String, PathBuf>,
    /// What was looked at.
    pub seen: Seen,
}

impl Record {
    /// The record of `request`. None: there is none, or one that is no longer understood.
    pub fn load(store: &Path, request: &Request) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(request.file(store)).ok()?).ok()
    }

    /// Whether the host's files are as they were.
    pub fn is_current(&self) -> bool {
        self.seen.is_unchanged()
    }

    /// Puts it in place of the old one. Errors: the store cannot be written, or a path is not UTF-8.
    pub fn save(&self, store: &Path, request: &Request) -> Result<()> {
        let text = serde_json::to_string(self)
            .map_err(std::io::Error::from)
            .context(|| "cannot write it as JSON")?;
        layer::replace(store, &request.file(store), &text)
    }
}

/// Removes `layer` unless a record names it or somebody runs on it.
pub fn forget(store: &Path, layer: &LayerName) {
    let Ok(entries) = std::fs::read_dir(store.join("host")) else {
        return;
    };
    // Text is enough: 64 hexadecimal digits stand in a record for one reason only.
    let is_named = |path: &Path| {
        std::fs::read_to_string(path).is_ok_and(|record| record.contains(layer.digits()))
    };
    if !entries.filter_map(std::result::Result::ok).any(|entry| is_named(&entry.path())) {
        layer::remove_unused(store, layer);
    }
}
