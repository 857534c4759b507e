//! State of a container: state.json in the shape of the runtime specification, with fields of our own. The status is
//! computed from the container's process whenever it is asked for.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;
use serde::{Deserialize, Serialize};

use super::runtime::Runtime;
use super::{SPEC_VERSION, bundle};
use crate::cgroup;
use crate::engine::{BundleIdentity, Hooks};
use crate::error::{Context, Error, Result};
use crate::files;
use crate::hint;
use crate::hook_point::HookPoint;
use crate::host::process_id::ProcessId;

/// Name of the state's file.
const STATE: &str = "state.json";
/// Name of the FIFO at which a created container waits.
const FIFO: &str = "exec.fifo";

/// Status of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContainerStatus {
    /// Being created.
    Creating,
    /// Set up; its command waits for `start`.
    Created,
    /// The command runs.
    Running,
    /// Frozen.
    Paused,
    /// The process has ended.
    Stopped,
}

impl ContainerStatus {
    /// Name in the specification.
    pub fn name(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

/// State in the shape of the runtime specification, with runc's further fields.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OciState {
    /// Version of the specification.
    pub oci_version: String,
    /// ID of the container.
    pub id: String,
    /// Process ID of the container's first process; 0: it has ended.
    pub pid: i32,
    /// Status.
    pub status: ContainerStatus,
    /// Absolute path of the bundle.
    pub bundle: PathBuf,
    /// Absolute path of the root.
    pub rootfs: PathBuf,
    /// Time of creation (RFC 3339).
    pub created: String,
    /// Name of the user who created the container.
    pub owner: String,
    /// Annotations of the config.
    #[serde(default, skip_serializing_if = "HashMap::is_empty")]
    pub annotations: HashMap<String, String>,
}

/// Record of a container: its state, and what the verbs need beside.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ContainerRecord {
    /// State as of the last change.
    #[serde(flatten)]
    pub state: OciState,
    /// Process that creates the container.
    pub creator: ProcessId,
    /// The container's first process; `None`: not made yet.
    pub process: Option<ProcessId>,
    /// Folder of the container's cgroup, if any.
    pub cgroup: Option<PathBuf>,
    /// True if the config has hooks.
    pub has_hooks: bool,
    /// True if the container ends with its creator, which then removes this record: `run` without `--detach`.
    #[serde(default)]
    pub is_bound: bool,
}

/// Container of a runtime.
#[derive(Debug)]
pub(super) struct OciContainer {
    /// Folder of its state.
    pub folder: PathBuf,
    /// Record in it.
    pub record: ContainerRecord,
}

impl OciContainer {
    /// Finds a container. Errors: it does not exist; the states belong to another user.
    pub fn find(runtime: &Runtime, id: &str) -> Result<Self> {
        let folder = runtime.folder(id)?;
        let path = folder.join(STATE);
        let text = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::not_found(format!("container {id} does not exist"))
                    .hint(hint::OTHER_ROOT));
            }
            answer => answer.context(|| path.display().to_string())?,
        };
        let record = serde_json::from_slice(&text).map_err(std::io::Error::from);
        Ok(Self { folder, record: record.context(|| path.display().to_string())? })
    }

    /// Makes the folder of a new container, with its record. Errors: the ID is in use.
    pub fn make(runtime: &Runtime, record: ContainerRecord, config: &[u8]) -> Result<Self> {
        let root = runtime.make_root()?;
        let folder = runtime.folder(&record.state.id)?;
        let id = record.state.id.clone();
        // Born whole: of two processes that create one ID, the second finds a folder that is not empty.
        let born = root.join(files::random_name(".new-"));
        let made = || -> Result<()> {
            let mut builder = std::fs::DirBuilder::new();
            std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
            builder.create(&born).map_err(|error| files::cannot_write(error, &born))?;
            let write = |name: &str, content: &[u8]| {
                let path = born.join(name);
                std::fs::write(&path, content).map_err(|error| files::cannot_write(error, &path))
            };
            write(STATE, &json(&record)?)?;
            write(bundle::CONFIG, config)?;
            std::fs::rename(&born, &folder).map_err(|error| match error.raw_os_error() {
                Some(libc::EEXIST | libc::ENOTEMPTY | libc::ENOTDIR) => {
                    Error::conflict(format!("container {id} already exists"))
                }
                _ => files::cannot_write(error, &folder),
            })
        };
        made().inspect_err(|_| drop(files::remove_tree(&born)))?;
        Ok(Self { folder, record })
    }

    /// Writes the record.
    pub fn save(&self) -> Result<()> {
        files::replace_quickly(&self.folder.join(STATE), &json(&self.record)?)
    }

    /// Path of the FIFO.
    pub fn fifo(&self) -> PathBuf {
        self.folder.join(FIFO)
    }

    /// Reads the config that the container was created from.
    pub fn config(&self) -> Result<Spec> {
        bundle::read(&self.folder.join(bundle::CONFIG), &self.record.state.bundle)
    }

    /// Opens the container's process. `None`: it has ended.
    pub fn process(&self) -> Option<(ProcessId, OwnedFd)> {
        let process = self.record.process?;
        Some((process, process.open()?))
    }

    /// Returns the container's identity, for its state.
    pub fn identity(&self) -> BundleIdentity {
        let OciState { id, bundle, .. } = &self.record.state;
        BundleIdentity::of_bundle(id, bundle.clone())
    }

    /// Reads the hooks of the config.
    pub fn hooks(&self) -> Result<Hooks> {
        if !self.record.has_hooks {
            return Ok(Hooks::default());
        }
        Hooks::of_config(&self.config()?, &self.identity())
    }

    /// Runs the hooks of a point.
    pub fn run_hooks(&self, point: HookPoint) -> Result<()> {
        self.run_hooks_of(self.hooks()?, point)
    }

    /// Runs those of `hooks` that are for a point.
    pub fn run_hooks_of(&self, hooks: Hooks, point: HookPoint) -> Result<()> {
        let process = self.record.process.filter(|_| point != HookPoint::Poststop);
        hooks.run(point, process.map(|process| process.pid), None, None).map(drop)
    }

    /// Computes the status.
    pub fn status(&self) -> ContainerStatus {
        match self.record.process {
            None if self.record.creator.lives() => ContainerStatus::Creating,
            Some(process) if process.lives() => match &self.record.cgroup {
                _ if self.fifo().exists() => ContainerStatus::Created,
                Some(folder) if cgroup::is_frozen(folder) => ContainerStatus::Paused,
                _ => ContainerStatus::Running,
            },
            None | Some(_) => ContainerStatus::Stopped,
        }
    }

    /// True if the creator was killed before it could remove the record.
    pub fn is_abandoned(&self) -> bool {
        self.record.is_bound && !self.record.creator.lives()
    }

    /// Returns the state as of now.
    pub fn document(&self) -> OciState {
        let status = self.status();
        let pid = match status {
            ContainerStatus::Stopped | ContainerStatus::Creating => 0,
            _ => self.record.state.pid,
        };
        OciState { pid, status, ..self.record.state.clone() }
    }

    /// Removes the state.
    pub fn remove(&self) -> Result<()> {
        let gone = self.folder.with_file_name(files::random_name(".old-"));
        std::fs::rename(&self.folder, &gone)
            .and_then(|()| files::remove_tree(&gone))
            .map_err(|error| files::cannot_write(error, &self.folder))
    }
}

/// Begins the record of a container. Errors: this process cannot be identified.
pub(super) fn begin(id: &str, bundle: &Path, spec: &Spec) -> Result<ContainerRecord> {
    let rootfs = spec.root().as_ref().map(|root| root.path().clone()).unwrap_or_default();
    let uid = nix::unistd::geteuid();
    let user = nix::unistd::User::from_uid(uid).ok().flatten();
    let state = OciState {
        oci_version: SPEC_VERSION.to_owned(),
        id: id.to_owned(),
        pid: 0,
        status: ContainerStatus::Creating,
        bundle: bundle.to_owned(),
        rootfs,
        created: jiff::Timestamp::now().to_string(),
        owner: user.map_or_else(|| uid.to_string(), |user| user.name),
        annotations: spec.annotations().clone().unwrap_or_default(),
    };
    Ok(ContainerRecord {
        state,
        creator: ProcessId::ourselves()?,
        process: None,
        cgroup: None,
        has_hooks: spec.hooks().is_some(),
        is_bound: false,
    })
}

fn json(record: &ContainerRecord) -> Result<Vec<u8>> {
    serde_json::to_vec(record).map_err(std::io::Error::from).context(|| "cannot write JSON")
}

/// Returns the IDs of all containers, sorted.
pub(super) fn ids(runtime: &Runtime) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(runtime.root()) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        answer => answer.context(|| runtime.root().display().to_string())?,
    };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut ids: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
    ids.sort();
    Ok(ids)
}
