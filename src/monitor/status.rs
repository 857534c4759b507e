//! Current status of a container, computed at each call from its files and from live processes.

use std::path::Path;

use jiff::Timestamp;

use super::record::{self, EXIT, Exit, RecordFile, STATE, State};
use crate::error::{Error, Result};
use crate::files;
use crate::host::process_id;

/// Status of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Never started.
    Created,
    /// Running.
    Running(State),
    /// Running, with all processes frozen.
    Paused(State),
    /// Ended, and about to be restarted by its monitor.
    Restarting(State, Exit),
    /// Ended.
    Exited(Exit),
}

impl Status {
    /// Computes the status of the container in `folder`.
    pub fn of(folder: &Path) -> Result<Self> {
        loop {
            let exit = record::read_if_whole::<Exit>(folder, EXIT)?;
            let state = match record::look::<State>(folder, STATE)? {
                RecordFile::Whole(state) => Some(state),
                RecordFile::Nothing => None,
                RecordFile::Damaged(error) => {
                    return Ok(Self::Exited(damaged(&error, exit, folder)));
                }
            };
            let Some(state) = state else {
                return Ok(exit.map_or(Self::Created, Self::Exited));
            };
            let is_here = state.is_here();
            let exit = exit.filter(|exit| exit.run >= state.run);
            if let Some(exit) = exit {
                let waits = state.restarting && is_here && state.monitor.lives();
                return Ok(if waits { Self::Restarting(state, exit) } else { Self::Exited(exit) });
            }
            if (is_here && state.process.lives()) || (!is_here && runs_elsewhere(folder, &state)) {
                let is_paused = is_here && state.is_paused();
                return Ok(if is_paused { Self::Paused(state) } else { Self::Running(state) });
            }
            // The monitor is about to write `exit.json`, or to go on with the next start.
            if is_here && state.monitor.lives() {
                std::thread::sleep(std::time::Duration::from_millis(1));
                continue;
            }
            // The monitor may have written `exit.json` just before it ended.
            match record::read_if_whole::<Exit>(folder, EXIT)?.filter(|exit| exit.run >= state.run)
            {
                Some(exit) => return Ok(Self::Exited(exit)),
                None => return Ok(Self::Exited(unrecorded(&state, folder))),
            }
        }
    }

    /// docker's word for the status.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running(_) => "running",
            Self::Paused(_) => "paused",
            Self::Restarting(..) => "restarting",
            Self::Exited(_) => "exited",
        }
    }

    /// State of the run, if the container runs or waits for its restart.
    pub fn state(&self) -> Option<&State> {
        match self {
            Self::Running(state) | Self::Paused(state) | Self::Restarting(state, _) => Some(state),
            _ => None,
        }
    }

    /// Record of the last end.
    pub fn exit(&self) -> Option<&Exit> {
        match self {
            Self::Exited(exit) | Self::Restarting(_, exit) => Some(exit),
            _ => None,
        }
    }

    /// Host name of the machine that runs the container, if not this one (or if in another PID namespace of this one).
    pub fn elsewhere(&self) -> Option<&str> {
        self.state().filter(|state| !state.is_here()).map(|state| state.host.as_str())
    }

    /// True if the container runs, frozen or not.
    pub fn is_running(&self) -> bool {
        matches!(self, Self::Running(_) | Self::Paused(_))
    }
}

/// True if the container runs on another machine that shares the disk, or in another PID namespace. The lock of its
/// monitor is all that is visible from here. Without file locks, the container may run.
fn runs_elsewhere(folder: &Path, state: &State) -> bool {
    // A reboot of this machine ended everything. Another machine may share the host name only where the boot ID is the
    // same.
    let was_here = state.host == process_id::host_name()
        && process_id::boot_id().is_ok_and(|boot| boot != state.boot);
    !was_here && files::is_held(folder).unwrap_or(true)
}

/// Builds the end of a run whose monitor could not write it down. The time is unknown: the last known sign of the run
/// is the last write to its log.
fn unrecorded(state: &State, folder: &Path) -> Exit {
    let is_same_boot = process_id::boot_id().is_ok_and(|boot| boot == state.boot);
    let reason = match (state.is_here(), state.host == process_id::host_name()) {
        (true, _) => "its monitor was killed, and it with it".to_owned(),
        (false, true) if is_same_boot => "it ran in another PID namespace".to_owned(),
        (false, true) => "the machine was restarted".to_owned(),
        (false, false) => format!("it ran on {}", state.host),
    };
    let written = written(&folder.join(super::log::FILE));
    Exit {
        started: Some(state.started),
        finished: written.unwrap_or(state.started).max(state.started),
        ..killed(state.run, reason)
    }
}

/// Builds the end of a run whose state is unreadable: only a power cut causes that.
fn damaged(error: &Error, last: Option<Exit>, folder: &Path) -> Exit {
    let run = last.map_or(0, |exit| exit.run);
    let written = written(&folder.join(STATE));
    let reason = format!("the machine was restarted: {error}");
    Exit { finished: written.unwrap_or(Timestamp::UNIX_EPOCH), ..killed(run, reason) }
}

fn killed(run: u64, reason: String) -> Exit {
    Exit {
        run,
        status: 137,
        signal: Some(libc::SIGKILL),
        oom: false,
        started: None,
        finished: Timestamp::UNIX_EPOCH,
        reason: Some(reason),
        journal: None,
    }
}

fn written(path: &Path) -> Option<Timestamp> {
    Timestamp::try_from(path.metadata().and_then(|metadata| metadata.modified()).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::process_id::ProcessId;

    fn state(process: ProcessId, monitor: ProcessId) -> State {
        State {
            run: 1,
            process,
            monitor,
            boot: process_id::boot_id().unwrap(),
            host: process_id::host_name(),
            pid_namespace: process_id::pid_namespace(),
            started: Timestamp::now(),
            restarts: 0,
            restarting: false,
            socket: None,
            trouble: None,
            offline: None,
            cgroup: None,
        }
    }

    fn status(state: &State) -> Status {
        let folder = tempfile::tempdir().unwrap();
        record::write(folder.path(), STATE, state).unwrap();
        Status::of(folder.path()).unwrap()
    }

    #[test]
    fn a_number_that_was_used_again_is_another_process() {
        let own = ProcessId::ourselves().unwrap();
        let gone = ProcessId { start: own.start + 1, ..own };
        assert!(status(&state(own, own)).is_running());
        let Status::Exited(exit) = status(&state(gone, gone)) else { panic!() };
        assert_eq!(
            (exit.status, exit.reason.as_deref()),
            (137, Some("its monitor was killed, and it with it"))
        );
    }

    #[test]
    fn a_restart_of_the_machine_ends_everything() {
        let own = ProcessId::ourselves().unwrap();
        let Status::Exited(exit) = status(&State { boot: "another".into(), ..state(own, own) })
        else {
            panic!()
        };
        assert_eq!(exit.reason.as_deref(), Some("the machine was restarted"));
        let elsewhere =
            State { boot: "another".into(), host: "elsewhere".into(), ..state(own, own) };
        let Status::Exited(exit) = status(&elsewhere) else { panic!() };
        assert_eq!(exit.reason.as_deref(), Some("it ran on elsewhere"));
    }

    #[test]
    fn a_container_locked_by_another_machine_runs_there() {
        let own = ProcessId::ourselves().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let here = state(own, own);
        let elsewhere = State { boot: "another".into(), host: "elsewhere".into(), ..here.clone() };
        // As for a container that shares the store.
        let inside = State { pid_namespace: Some(1), ..here };
        for (state, host) in
            [(elsewhere, "elsewhere".to_owned()), (inside, process_id::host_name())]
        {
            record::write(folder.path(), STATE, &state).unwrap();
            assert_eq!(Status::of(folder.path()).unwrap().word(), "exited", "{host}");
            let lock = files::hold(folder.path(), files::Lock::Exclusive).unwrap();
            let status = Status::of(folder.path()).unwrap();
            assert!(status.is_running());
            assert_eq!(status.elsewhere(), Some(host.as_str()));
            drop(lock);
        }
    }

    #[test]
    fn an_exit_record_torn_by_a_power_cut_counts_as_an_end() {
        let own = ProcessId::ourselves().unwrap();
        let folder = tempfile::tempdir().unwrap();
        record::write(folder.path(), STATE, &state(own, own)).unwrap();
        std::fs::write(folder.path().join(EXIT), "").unwrap();
        assert!(Status::of(folder.path()).unwrap().is_running());
        std::fs::write(folder.path().join(STATE), "{\"run\":").unwrap();
        let Status::Exited(exit) = Status::of(folder.path()).unwrap() else { panic!() };
        assert_eq!((exit.run, exit.status), (0, 137));
        assert!(exit.reason.unwrap().contains("state.json is damaged"));
        assert!(exit.finished > Timestamp::UNIX_EPOCH);
    }

    #[test]
    fn an_end_counts_for_its_own_start_alone() {
        let own = ProcessId::ourselves().unwrap();
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Status::of(folder.path()).unwrap(), Status::Created);
        let exit = |run| Exit {
            run,
            status: 3,
            signal: None,
            oom: false,
            started: None,
            finished: Timestamp::now(),
            reason: None,
            journal: None,
        };
        record::write(folder.path(), EXIT, &exit(1)).unwrap();
        record::write(folder.path(), STATE, &State { run: 2, ..state(own, own) }).unwrap();
        assert!(Status::of(folder.path()).unwrap().is_running());
        record::write(folder.path(), EXIT, &exit(2)).unwrap();
        assert_eq!(Status::of(folder.path()).unwrap().word(), "exited");
    }
}
