//! What is written down of a container, in its folder: what was asked for (`container.json`), who runs it
//! (`state.json`), how it ended (`exit.json`). Each is replaced whole. None is believed to say what is so now: that is
//! computed ([`super::status`]).
//!
//! Written without waiting for the disk: a container that a power cut ends has nothing to go on with. Renamed into place,
//! each is whole or not there, whatever is killed; but a power cut within half a minute after the writing may leave an
//! empty file on file systems that write names before content. Such a `state.json` or `exit.json` counts as the end that
//! it was; a container without its `container.json` is told of, and can only be removed. What was asked for is the one
//! that is worth waiting for where a container that is there already would be lost ([`change`]).

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::being::{self, Being};
use super::policy::RestartPolicy;
use crate::cgroup;
use crate::error::{Context, Error, Result};
use crate::files;
use crate::go_json;
use crate::net::Wanted;

/// What was asked for.
pub const CONTAINER: &str = "container.json";
/// The OCI runtime spec.
pub const CONFIG: &str = "config.json";
/// Who runs it.
pub const STATE: &str = "state.json";
/// How it ended.
pub const EXIT: &str = "exit.json";
/// Room for the last, while it runs.
const EXIT_ROOM: &str = ".exit.json-room";
/// How much: a block of nearly every file system.
const ROOM: usize = 4096;
/// There when the container was stopped on purpose: no restart policy starts it again.
pub const STOPPED: &str = "stopped";

/// Where the output goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogDriver {
    /// A file in the container's folder.
    #[default]
    File,
    /// The journal of systemd.
    Journald,
    /// Nowhere but to those who are attached.
    None,
    /// The command writes to what the caller gave, without us between.
    Passthrough,
}

/// The log and its limits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSettings {
    /// Where to.
    pub driver: LogDriver,
    /// Bytes of one file; `None`: no limit.
    #[serde(default)]
    pub max_size: Option<u64>,
    /// How many files, the one that is written included.
    #[serde(default)]
    pub max_file: Option<u32>,
    /// `tag`, for the journal.
    #[serde(default)]
    pub tag: Option<String>,
}

/// What the command's standard input is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Input {
    /// `/dev/null`.
    #[default]
    Closed,
    /// A pipe that stays open, whoever comes and goes.
    Open,
    /// A pipe that closes with the input of the first who is attached.
    Once,
}

/// A check of health, as docker keeps it: times in nanoseconds, 0 is the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// `NONE`; `CMD` and words; `CMD-SHELL` and a line.
    #[serde(deserialize_with = "go_json::list")]
    pub test: Vec<String>,
    /// Between two checks.
    #[serde(deserialize_with = "go_json::or_zero")]
    pub interval: u64,
    /// How long one may take.
    #[serde(deserialize_with = "go_json::or_zero")]
    pub timeout: u64,
    /// How long failures do not count after the start.
    #[serde(deserialize_with = "go_json::or_zero")]
    pub start_period: u64,
    /// Between two checks within the start period.
    #[serde(deserialize_with = "go_json::or_zero")]
    pub start_interval: u64,
    /// So many failures in a row are ill.
    #[serde(deserialize_with = "go_json::or_zero")]
    pub retries: u32,
}

/// What is done with a container that is ill (podman's).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// Nothing.
    #[default]
    None,
    /// It is killed; its restart policy decides what is next.
    Kill,
    /// It is stopped and started again, whatever its restart policy.
    Restart,
    /// It is stopped.
    Stop,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The image, as it was typed.
    pub image: String,
    /// The image's ID (its config's digest), where it is one of the store.
    #[serde(default)]
    pub image_id: Option<String>,
    /// What runs: the image's entry point included.
    pub command: Vec<String>,
    /// Number of words of `command` that are the entry point.
    #[serde(default)]
    pub entrypoint: usize,
    /// Who runs it, where that was said (`--user`).
    #[serde(default)]
    pub user: Option<String>,
    /// Labels, the image's included.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// When it was made.
    pub created: Timestamp,
    /// Whether it has a terminal.
    pub terminal: bool,
    /// Its standard input.
    pub input: Input,
    /// Whether it goes when it ends (`--rm`).
    pub auto_remove: bool,
    /// When it is started again.
    #[serde(default)]
    pub restart: RestartPolicy,
    /// The signal that asks it to end.
    pub stop_signal: i32,
    /// How many seconds it has to do so.
    pub stop_timeout: u64,
    /// How its health is found out.
    #[serde(default)]
    pub health: Option<Healthcheck>,
    /// What is done when it is ill.
    #[serde(default)]
    pub health_on_failure: OnFailure,
    /// Its log.
    #[serde(default)]
    pub log: LogSettings,
    /// Its network.
    #[serde(default)]
    pub network: Wanted,
    /// Where its process's number is written to, too (`--pidfile`).
    #[serde(default)]
    pub pidfile: Option<PathBuf>,
    /// Where its ID was written to (`--cidfile`).
    #[serde(default)]
    pub cidfile: Option<PathBuf>,
    /// The keys with which a terminal is left, where they are not the usual ones.
    #[serde(default)]
    pub detach_keys: Option<String>,
    /// The command line that made it.
    #[serde(default)]
    pub create_command: Vec<String>,
}

impl Record {
    /// The words of the entry point, and the command's.
    pub fn entrypoint_and_cmd(&self) -> (&[String], &[String]) {
        self.command.split_at(self.entrypoint.min(self.command.len()))
    }

    /// Whether there is somebody to read what is typed.
    pub fn takes_input(&self) -> bool {
        self.terminal || self.input != Input::Closed
    }
}

/// Who runs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Which start this is, from 1 on.
    pub run: u64,
    /// The container's first process.
    pub process: Being,
    /// Its monitor.
    pub monitor: Being,
    /// Within which boot.
    pub boot: String,
    /// On which machine.
    pub host: String,
    /// The PID namespace in which the processes have their numbers; a version before did not write it down.
    #[serde(default)]
    pub pid_namespace: Option<u64>,
    /// Since when.
    pub started: Timestamp,
    /// How often the restart policy has started it again.
    #[serde(default)]
    pub restarts: u32,
    /// It ended, and the monitor waits to start it again.
    #[serde(default)]
    pub restarting: bool,
    /// Where its monitor listens.
    #[serde(default)]
    pub socket: Option<PathBuf>,
    /// What has befallen it, and it runs on.
    #[serde(default)]
    pub trouble: Option<String>,
    /// The folder of its cgroup.
    #[serde(default)]
    pub cgroup: Option<PathBuf>,
}

impl State {
    /// Whether its processes can be seen from here: the same boot of the same machine, and the same PID namespace.
    pub fn is_here(&self) -> bool {
        let fits = |own: u64| self.pid_namespace.is_none_or(|recorded| recorded == own);
        being::boot_id().is_ok_and(|boot| boot == self.boot)
            && being::pid_namespace().is_none_or(fits)
    }

    /// Whether its processes are stopped (`usnea pause`).
    pub fn is_paused(&self) -> bool {
        self.cgroup.as_deref().is_some_and(cgroup::is_frozen)
    }
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The end of which start; 0: it never ran.
    pub run: u64,
    /// As a shell has it: 128 and the signal where one killed it.
    pub status: u8,
    /// The signal that killed it.
    #[serde(default)]
    pub signal: Option<i32>,
    /// The kernel was out of memory.
    #[serde(default)]
    pub oom: bool,
    /// Since when it ran.
    #[serde(default)]
    pub started: Option<Timestamp>,
    /// Until when.
    pub finished: Timestamp,
    /// Why, where it did not end by itself.
    #[serde(default)]
    pub reason: Option<String>,
}

/// What is there of one of the files.
#[derive(Debug)]
pub enum Found<T> {
    /// Nothing.
    Nothing,
    /// All of it.
    Whole(T),
    /// Something that cannot be understood: what a power cut may leave.
    Damaged(Error),
}

/// Looks for one of the files. Errors: it cannot be read.
pub fn look<T: DeserializeOwned>(folder: &Path, name: &str) -> Result<Found<T>> {
    let path = folder.join(name);
    let bytes = match std::fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        answer => answer.context(|| format!("cannot read {}", path.display()))?,
    };
    let read = serde_json::from_slice(&bytes).map_err(Error::new);
    Ok(match read.context(|| format!("{} is damaged", path.display())) {
        Ok(value) => Found::Whole(value),
        Err(error) => Found::Damaged(error),
    })
}

/// Reads one of the files. `None`: it is not there. Errors: it cannot be read, or is damaged.
pub fn read<T: DeserializeOwned>(folder: &Path, name: &str) -> Result<Option<T>> {
    match look(folder, name)? {
        Found::Nothing => Ok(None),
        Found::Whole(value) => Ok(Some(value)),
        Found::Damaged(error) => Err(error),
    }
}

/// The same for a file that can be done without: a damaged one counts as none.
pub fn read_if_whole<T: DeserializeOwned>(folder: &Path, name: &str) -> Result<Option<T>> {
    match look(folder, name)? {
        Found::Whole(value) => Ok(Some(value)),
        Found::Nothing => Ok(None),
        Found::Damaged(error) => {
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

/// Replaces what was asked for in a container that is there already, and waits for the disk: after a power cut there is
/// the old record or the new.
pub fn change(store: &Path, folder: &Path, record: &Record) -> Result<()> {
    let bytes = serde_json::to_vec(record).map_err(Error::new)?;
    files::replace(&store.join("tmp"), &folder.join(CONTAINER), &bytes)
}

/// Keeps room on the disk for the end: it must be possible to write that down when the disk has become full.
pub fn keep_room_for_exit(folder: &Path) -> Result<()> {
    let path = folder.join(EXIT_ROOM);
    std::fs::write(&path, [b' '; ROOM]).map_err(|error| files::cannot_write(error, &path))
}

/// Writes down the end, in the room that was kept for it, else where there is some.
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
        Exit { run, status: 3, signal: None, oom: false, started: None, finished, reason: None }
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
    fn what_a_power_cut_left_is_damaged_and_not_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let whole = serde_json::to_vec(&exit(1)).unwrap();
        assert!(matches!(look::<Exit>(folder.path(), EXIT), Ok(Found::Nothing)));
        for torn in [&b""[..], b"\0\0\0\0", &whole[..whole.len() / 2], b"[]"] {
            std::fs::write(folder.path().join(EXIT), torn).unwrap();
            assert!(matches!(look::<Exit>(folder.path(), EXIT), Ok(Found::Damaged(_))), "{torn:?}");
            let error = read::<Exit>(folder.path(), EXIT).unwrap_err().to_string();
            assert!(error.contains("exit.json is damaged"), "{error}");
            assert_eq!(read_if_whole::<Exit>(folder.path(), EXIT).unwrap(), None);
        }
        std::fs::write(folder.path().join(EXIT), whole).unwrap();
        assert!(matches!(look::<Exit>(folder.path(), EXIT), Ok(Found::Whole(_))));
    }
}
