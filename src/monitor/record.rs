//! Files of a container's folder: its record (`container.json`), its state while running (`state.json`), and its end
//! (`exit.json`). Each file is replaced as a whole. None states what is true now: [`super::status`] computes that.
//!
//! Written without waiting for the disk: a container ended by a power cut has nothing to continue with. Files are
//! renamed into place, so each is complete or missing, whichever process is killed. But a power cut within half a
//! minute of the write may leave an empty file, on file systems that write names before content. Such a `state.json` or
//! `exit.json` counts as the end of its run. A container with such a `container.json` is reported, and can only be
//! removed. A write waits for the disk only where the record of an existing container could be lost ([`change`]).

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::policy::RestartPolicy;
use crate::cgroup;
use crate::error::{Context, Error, Result};
use crate::files;
use crate::go_json;
use crate::host::process_id::{self, ProcessId};
use crate::net::NetworkRequest;
use crate::object_id::ContainerId;
use crate::readiness::NotifyMode;
use crate::spec::{OverlayFlag, RecordedSecret};

/// File of the container's record.
pub const CONTAINER: &str = "container.json";
/// File of the OCI runtime spec.
pub const CONFIG: &str = "config.json";
/// File of the state: process, monitor, boot.
pub const STATE: &str = "state.json";
/// File of the end: exit status and reason.
pub const EXIT: &str = "exit.json";
/// Folder of the contents of the container's secrets, a file for each, called by its ID.
pub const SECRETS: &str = "secrets";
/// File that reserves disk space for `exit.json` while the container runs.
const EXIT_ROOM: &str = ".exit.json-room";
/// Bytes reserved: a block of nearly every file system.
const ROOM: usize = 4096;
/// File that marks a container stopped on purpose: no restart policy starts such a container again.
pub const STOPPED: &str = "stopped";

/// Log driver: destination of the command's output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogDriver {
    /// A file in the container's folder.
    #[default]
    File,
    /// The systemd journal.
    Journald,
    /// No log: output reaches attached clients alone.
    None,
    /// No log: the command writes to the caller's own streams directly.
    Passthrough,
}

/// Settings of the log: driver, limits and tag.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSettings {
    /// Destination of the output.
    pub driver: LogDriver,
    /// Size limit of one file in bytes; `None`: no limit.
    #[serde(default)]
    pub max_size: Option<u64>,
    /// Largest number of files, the current one included.
    #[serde(default)]
    pub max_file: Option<u32>,
    /// Tag of journal entries (`tag`); null: the container's name.
    #[serde(default)]
    pub tag: Option<String>,
}

/// Standard input of the command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Input {
    /// `/dev/null`.
    #[default]
    Closed,
    /// A pipe that stays open while clients come and go.
    Open,
    /// A pipe that closes with the input of the first attached client.
    Once,
}

/// A standard stream of the command (`--attach`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard input.
    Stdin,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Health check, in docker's form: times in nanoseconds, 0 for the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// Command of the check: `NONE`; `CMD` and words; `CMD-SHELL` and a line.
    #[serde(deserialize_with = "go_json::list")]
    pub test: Vec<String>,
    /// Time between two checks.
    #[serde(deserialize_with = "go_json::or_zero")]
    pub interval: u64,
    /// Longest duration of one check.
    #[serde(deserialize_with = "go_json::or_zero")]
    pub timeout: u64,
    /// Time after the start in which failures do not count.
    #[serde(deserialize_with = "go_json::or_zero")]
    pub start_period: u64,
    /// Time between two checks within the start period.
    #[serde(deserialize_with = "go_json::or_zero")]
    pub start_interval: u64,
    /// Number of failures in a row that make the container unhealthy.
    #[serde(deserialize_with = "go_json::or_zero")]
    pub retries: u32,
}

/// Health check that runs first, in place of the regular one: podman's startup check. Times in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct StartupCheck {
    /// Command of the check, as in [`Healthcheck`].
    pub test: Vec<String>,
    /// Time between two checks; 0: 30 seconds.
    pub interval: u64,
    /// Longest duration of one check; 0: 30 seconds.
    pub timeout: u64,
    /// Number of failures in a row after which the container is restarted; 0: no limit.
    pub retries: u32,
    /// Number of successes in a row after which the regular check takes over; 0: one.
    pub successes: u32,
}

/// Bounds and place of the recorded check results.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HealthLog {
    /// Number of results; null: 5; 0: no limit.
    pub max_count: Option<usize>,
    /// Bytes of a check's output; null: 4096; 0: no limit.
    pub max_size: Option<usize>,
    /// Folder for a copy of the results; null: none.
    pub folder: Option<PathBuf>,
}

/// Action on an unhealthy container (podman's).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// Nothing.
    #[default]
    None,
    /// The container is killed; its restart policy decides what follows.
    Kill,
    /// The container is restarted regardless of its restart policy.
    Restart,
    /// The container is stopped.
    Stop,
}

/// Stop timeout of a container that is never killed.
pub const FOREVER: u64 = u64::MAX;

/// Settings of a container, as its creation recorded them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Container ID.
    pub id: ContainerId,
    /// Name of the container.
    pub name: String,
    /// Image reference, as typed.
    pub image: String,
    /// The image's ID (the digest of its config); null for an image outside the store.
    #[serde(default)]
    pub image_id: Option<String>,
    /// Command line, the image's entry point included.
    pub command: Vec<String>,
    /// Number of words of `command` that are the entry point.
    #[serde(default)]
    pub entrypoint: usize,
    /// User from `--user`; null without the flag.
    #[serde(default)]
    pub user: Option<String>,
    /// User of the command, as `--user`, the image or the user namespace has it; null in records of older versions.
    #[serde(default)]
    pub own_user: Option<String>,
    /// The values of `--group-add`.
    #[serde(default)]
    pub group_add: Vec<String>,
    /// True with `--privileged`.
    #[serde(default)]
    pub privileged: bool,
    /// The values of `--cap-add`, with `CAP_`.
    #[serde(default)]
    pub cap_add: Vec<String>,
    /// The values of `--cap-drop`, with `CAP_`.
    #[serde(default)]
    pub cap_drop: Vec<String>,
    /// Labels, including those of the image.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Time of creation.
    pub created: Timestamp,
    /// True if the command has a terminal.
    pub terminal: bool,
    /// Standard input of the command.
    pub input: Input,
    /// Streams that `start --attach` shows; none recorded: all.
    #[serde(default)]
    pub attach: Vec<Stream>,
    /// Seconds after each start at which it is killed; 0: never.
    #[serde(default)]
    pub timeout: u64,
    /// IDs of the containers that are started before it.
    #[serde(default)]
    pub requires: Vec<ContainerId>,
    /// ID of the container's pod; null: it is in none.
    #[serde(default)]
    pub pod: Option<String>,
    /// The values of `--volumes-from`.
    #[serde(default)]
    pub volumes_from: Vec<String>,
    /// Overlays of the user, with absolute paths.
    #[serde(default)]
    pub overlays: Vec<OverlayFlag>,
    /// Whether its image goes with it (`--rmi`).
    #[serde(default)]
    pub remove_image: bool,
    /// True if the container is removed when it ends (`--rm`).
    pub auto_remove: bool,
    /// Restart policy.
    #[serde(default)]
    pub restart: RestartPolicy,
    /// Number of the signal that asks the command to end.
    pub stop_signal: i32,
    /// Seconds from the stop signal to SIGKILL; [`FOREVER`]: no SIGKILL.
    pub stop_timeout: u64,
    /// Health check; null without one.
    #[serde(default)]
    pub health: Option<Healthcheck>,
    /// Action on an unhealthy container.
    #[serde(default)]
    pub health_on_failure: OnFailure,
    /// Check that runs first, in place of the regular one.
    #[serde(default)]
    pub startup: Option<StartupCheck>,
    /// Bounds of the recorded check results.
    #[serde(default)]
    pub health_log: HealthLog,
    /// Settings of the log.
    #[serde(default)]
    pub log: LogSettings,
    /// Network settings.
    #[serde(default)]
    pub network: NetworkRequest,
    /// File for the PID of the container's process (`--pidfile`).
    #[serde(default)]
    pub pidfile: Option<PathBuf>,
    /// Where its monitor's number is written to, too (`--conmon-pidfile`).
    #[serde(default)]
    pub monitor_pidfile: Option<PathBuf>,
    /// File for the container's ID (`--cidfile`).
    #[serde(default)]
    pub cidfile: Option<PathBuf>,
    /// Sender of READY to the service manager (`--sdnotify`).
    #[serde(default)]
    pub notify: NotifyMode,
    /// Keys that detach from the terminal; null: the default ones.
    #[serde(default)]
    pub detach_keys: Option<String>,
    /// Secrets; their contents are files of the folder [`SECRETS`].
    #[serde(default)]
    pub secrets: Vec<RecordedSecret>,
    /// Command line that created the container.
    #[serde(default)]
    pub create_command: Vec<String>,
}

impl Record {
    /// Splits the command line into the words of the entry point, and those of the command.
    pub fn entrypoint_and_cmd(&self) -> (&[String], &[String]) {
        self.command.split_at(self.entrypoint.min(self.command.len()))
    }

    /// True if the monitor may start the container again, by the settings that it has now.
    pub fn restarts_itself(&self) -> bool {
        self.restart != RestartPolicy::No || self.health_on_failure == OnFailure::Restart
    }

    /// True if the command reads typed input.
    pub fn takes_input(&self) -> bool {
        self.terminal || self.input != Input::Closed
    }
}

/// State of a running container: its processes, boot and machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Number of this start, from 1 on.
    pub run: u64,
    /// The container's first process.
    pub process: ProcessId,
    /// The container's monitor.
    pub monitor: ProcessId,
    /// Boot ID of the machine.
    pub boot: String,
    /// Host name of the machine.
    pub host: String,
    /// PID namespace of the recorded PIDs; null in files of an earlier version.
    #[serde(default)]
    pub pid_namespace: Option<u64>,
    /// Time of the start.
    pub started: Timestamp,
    /// Number of restarts by the restart policy.
    #[serde(default)]
    pub restarts: u32,
    /// True if the command ended and the monitor waits to restart it.
    #[serde(default)]
    pub restarting: bool,
    /// Path of the monitor's socket.
    #[serde(default)]
    pub socket: Option<PathBuf>,
    /// Failure that the container survived, such as the end of its network helper.
    #[serde(default)]
    pub trouble: Option<String>,
    /// Reason why the default network has no uplink.
    #[serde(default)]
    pub offline: Option<String>,
    /// The container's cgroup folder.
    #[serde(default)]
    pub cgroup: Option<PathBuf>,
}

impl State {
    /// True if the processes are visible from here: same boot of the same machine, and same PID namespace.
    pub fn is_here(&self) -> bool {
        let fits = |own: u64| self.pid_namespace.is_none_or(|recorded| recorded == own);
        process_id::boot_id().is_ok_and(|boot| boot == self.boot)
            && process_id::pid_namespace().is_none_or(fits)
    }

    /// True if the processes are frozen (`usnea pause`).
    pub fn is_paused(&self) -> bool {
        self.cgroup.as_deref().is_some_and(cgroup::is_frozen)
    }
}

/// Record of how a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Number of the start that ended; 0: the container never ran.
    pub run: u64,
    /// Exit status as in a shell: 128 plus the signal for a killed command.
    pub status: u8,
    /// Signal that killed the command.
    #[serde(default)]
    pub signal: Option<i32>,
    /// True if the kernel killed processes for want of memory.
    #[serde(default)]
    pub oom: bool,
    /// Time of the start.
    #[serde(default)]
    pub started: Option<Timestamp>,
    /// Time of the end.
    pub finished: Timestamp,
    /// Cause, if the command did not end by itself.
    #[serde(default)]
    pub reason: Option<String>,
    /// Last entry of the run in the journal; null: the log is elsewhere, or nothing was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journal: Option<JournalMark>,
}

/// Identity of an entry in the journal, by docker's fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalMark {
    /// Random identity of the run (`CONTAINER_LOG_EPOCH`).
    pub epoch: String,
    /// Number of the entry in its run, from 1 on (`CONTAINER_LOG_ORDINAL`).
    pub ordinal: u64,
}

/// Result of reading one of the files.
#[derive(Debug)]
pub enum RecordFile<T> {
    /// The file does not exist.
    Nothing,
    /// Contents of the file.
    Whole(T),
    /// The file is damaged, as a power cut may leave one.
    Damaged(Error),
}

/// Reads one of the files, distinguishing missing and damaged ones. Errors: the file cannot be read.
pub fn look<T: DeserializeOwned>(folder: &Path, name: &str) -> Result<RecordFile<T>> {
    let path = folder.join(name);
    let bytes = match std::fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(RecordFile::Nothing),
        answer => answer.context(|| format!("cannot read {}", path.display()))?,
    };
    let read = serde_json::from_slice(&bytes).map_err(Error::new);
    Ok(match read.context(|| format!("{} is damaged", path.display())) {
        Ok(value) => RecordFile::Whole(value),
        Err(error) => RecordFile::Damaged(error),
    })
}

/// Reads one of the files. `None`: the file does not exist. Errors: the file cannot be read, or is damaged.
pub fn read<T: DeserializeOwned>(folder: &Path, name: &str) -> Result<Option<T>> {
    match look(folder, name)? {
        RecordFile::Nothing => Ok(None),
        RecordFile::Whole(value) => Ok(Some(value)),
        RecordFile::Damaged(error) => Err(error),
    }
}

/// Reads a file that is not essential: a damaged one counts as missing.
pub fn read_if_whole<T: DeserializeOwned>(folder: &Path, name: &str) -> Result<Option<T>> {
    match look(folder, name)? {
        RecordFile::Whole(value) => Ok(Some(value)),
        RecordFile::Nothing => Ok(None),
        RecordFile::Damaged(error) => {
            log::debug!("{error}");
            Ok(None)
        }
    }
}

/// Replaces one of the files.
pub fn write<T: Serialize>(folder: &Path, name: &str, value: &T) -> Result<()> {
    let bytes = serde_json::to_vec(value).map_err(Error::new)?;
    files::replace_quickly(&folder.join(name), &bytes)
}

/// Replaces the record of an existing container, and waits for the disk: a power cut leaves the old record or the new
/// one.
pub fn change(store: &Path, folder: &Path, record: &Record) -> Result<()> {
    let bytes = serde_json::to_vec(record).map_err(Error::new)?;
    files::replace(&store.join("tmp"), &folder.join(CONTAINER), &bytes)
}

/// Reserves disk space for `exit.json`: the end must be writable on a full disk.
pub fn keep_room_for_exit(folder: &Path) -> Result<()> {
    let path = folder.join(EXIT_ROOM);
    std::fs::write(&path, [b' '; ROOM]).map_err(|error| files::cannot_write(error, &path))
}

/// Writes `exit.json` into the reserved space, else wherever the disk has room.
pub fn write_exit(folder: &Path, exit: &Exit) -> Result<()> {
    let bytes = serde_json::to_vec(exit).map_err(Error::new)?;
    let room = folder.join(EXIT_ROOM);
    let write = || -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(&room)?;
        file.write_all_at(&bytes, 0)?;
        file.set_len(bytes.len() as u64)?;
        std::fs::rename(&room, folder.join(EXIT))
    };
    if bytes.len() <= ROOM && write().is_ok() {
        return Ok(());
    }
    files::replace_quickly(&folder.join(EXIT), &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(run: u64) -> Exit {
        let finished = Timestamp::now();
        Exit {
            run,
            status: 3,
            signal: None,
            oom: false,
            started: None,
            finished,
            reason: None,
            journal: None,
        }
    }

    #[test]
    fn an_end_is_written_in_the_room_for_it_or_without() {
        let folder = tempfile::tempdir().unwrap();
        for (run, is_kept) in [(1, true), (2, false), (3, true)] {
            if is_kept {
                keep_room_for_exit(folder.path()).unwrap();
            }
            write_exit(folder.path(), &exit(run)).unwrap();
            assert_eq!(read::<Exit>(folder.path(), EXIT).unwrap().unwrap().run, run);
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn a_record_torn_by_a_power_cut_is_damaged_and_not_missing() {
        let folder = tempfile::tempdir().unwrap();
        let whole = serde_json::to_vec(&exit(1)).unwrap();
        assert!(matches!(look::<Exit>(folder.path(), EXIT), Ok(RecordFile::Nothing)));
        for torn in [&b""[..], b"\0\0\0\0", &whole[..whole.len() / 2], b"[]"] {
            std::fs::write(folder.path().join(EXIT), torn).unwrap();
            assert!(
                matches!(look::<Exit>(folder.path(), EXIT), Ok(RecordFile::Damaged(_))),
                "{torn:?}"
            );
            let error = read::<Exit>(folder.path(), EXIT).unwrap_err().to_string();
            assert!(error.contains("exit.json is damaged"), "{error}");
            assert_eq!(read_if_whole::<Exit>(folder.path(), EXIT).unwrap(), None);
        }
        std::fs::write(folder.path().join(EXIT), whole).unwrap();
        assert!(matches!(look::<Exit>(folder.path(), EXIT), Ok(RecordFile::Whole(_))));
    }
}
