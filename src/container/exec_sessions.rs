//! Commands of `usnea exec` that run in a container: a file `exec/ID` of its folder for each. A file whose process has
//! ended is ignored; the next command removes it.

use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Container;
use crate::host::process_id::{self, ProcessId};
use crate::monitor::record;
use crate::object_id::is_id;

/// Folder of the files, in the container's folder.
const FOLDER: &str = "exec";

/// Content of a file.
#[derive(Debug, Serialize, Deserialize)]
struct ExecRecord {
    process: ProcessId,
    /// Boot of the process: the store may be seen by several machines.
    boot: String,
}

/// Recorded command.
#[derive(Debug)]
pub(super) struct ExecSession(PathBuf);

impl ExecSession {
    /// Records a command. `None`: the command cannot be recorded. It runs all the same.
    pub fn record(container: &Container, id: &str, process: ProcessId) -> Option<Self> {
        let folder = container.folder.join(FOLDER);
        let write = || {
            match fs::create_dir(&folder) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                    exec_ids(container);
                }
                made => made?,
            }
            let content = ExecRecord { process, boot: process_id::boot_id()? };
            let bytes = serde_json::to_vec(&content).map_err(crate::error::Error::new)?;
            fs::write(folder.join(id), bytes)?;
            Ok::<_, crate::error::Error>(Self(folder.join(id)))
        };
        write().inspect_err(|error| log::debug!("cannot record the command: {error}")).ok()
    }

    /// Removes the record: the command has ended.
    pub fn end(self) {
        if let Err(error) = fs::remove_file(&self.0) {
            log::debug!("{}: {error}", self.0.display());
        }
    }
}

/// Returns the IDs of the running commands, sorted. Removes the records of those that have ended.
pub(super) fn exec_ids(container: &Container) -> Vec<String> {
    let folder = container.folder.join(FOLDER);
    let boot = process_id::boot_id().unwrap_or_default();
    let mut ids = Vec::new();
    for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
        let Some(id) = entry.file_name().to_str().filter(|name| is_id(name)).map(str::to_owned)
        else {
            continue;
        };
        // A record that is just being written is not whole yet.
        let Ok(Some(one)) = record::read_if_whole::<ExecRecord>(&folder, &id) else { continue };
        match (one.boot == boot, one.process.lives()) {
            (true, true) => ids.push(id),
            (true, false) => drop(fs::remove_file(entry.path())),
            // A session of another machine, or of an earlier boot.
            (false, _) => {}
        }
    }
    ids.sort();
    ids
}
