//! `usnea exec`: runs another command in a running container. `usnea events` shows its start and its end, except the
//! end of a detached command: no process waits for that.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use oci_spec::runtime::Spec;

use super::descriptors::{PreservedDescriptors, passed_sockets};
use super::exec_sessions::ExecSession;
use super::stop::ended_within;
use super::{Container, not_running};
use super::{exec_user, secrets};
use crate::engine::{
    self, CallerStreams, DetachKeys, ExecPlan, Finish, LaunchOptions, ListenSockets,
    RunningContainer, Stdin,
};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::host::process_id::ProcessId;
use crate::monitor::{Status, events};
use crate::object_id::random_id;
use crate::security::{self, Privileges};
use crate::spec::{self, EntryOptions};
use crate::sys::signal::Signals;
use crate::sys::title;

/// Command to run in a container.
#[derive(Debug)]
pub struct ExecRequest {
    /// Command and its arguments.
    pub command: Vec<String>,
    /// User, folder and environment of the command.
    pub options: EntryOptions,
    /// Privileges of the command.
    pub privileges: Privileges,
    /// True if the command gets a terminal of its own.
    pub terminal: bool,
    /// Standard input of the command.
    pub stdin: Stdin,
    /// Number of descriptors from 3 on that the command inherits.
    pub preserve_fds: u32,
    /// Numbers of further descriptors that the command inherits.
    pub preserve_fd: Vec<u32>,
    /// Sockets of socket activation; `None`: this process has none for the command.
    pub sockets: Option<ListenSockets>,
    /// Key sequence that detaches from its terminal; `None`: that of the container.
    pub keys: Option<DetachKeys>,
    /// Moment at which this call returns: at the command's end, or at its start.
    pub finish: Finish,
    /// Readers of the command's events.
    pub audience: Audience,
}

/// Readers of a command's events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// All readers of the events.
    All,
    /// No events are recorded: health checks would fill the events file.
    Nobody,
}

/// Runs the command; returns its exit status, or 0 when detached. Errors: the container does not run; the command
/// cannot be run.
pub fn exec(container: &Container, request: ExecRequest, streams: CallerStreams<'_>) -> Result<u8> {
    let preserved =
        PreservedDescriptors { count: request.preserve_fds, named: &request.preserve_fd };
    let sockets = passed_sockets(request.sockets.as_ref(), preserved)?;
    title::name_container(&container.record.name);
    let signals = Signals::block(&engine::forwarded()).context(|| "cannot block signals")?;
    let spec = container.spec()?;
    let (running, first) = running(container, &spec)?;
    let or_ended = |error: Error| unless_ended(error, &first, &container.record.name);
    let asked = request.options.user.is_some();
    let mut options = request.options;
    options.user = options.user.or_else(|| exec_user::recorded_user(container, &spec));
    let who = match exec_user::who(&running, &spec, container, &options) {
        // /etc/passwd no longer has the container's own user: the IDs of the container's start are used.
        Err(error) if !asked => {
            log::debug!("{error}");
            options.user = None;
            None
        }
        who => who.map_err(or_ended)?,
    };
    let mut process = spec::entry(&spec, &options, who.as_ref(), &request.command)?;
    process.set_terminal(Some(request.terminal));
    if who.is_some() || request.privileges == Privileges::All {
        security::confine_entry(&mut process, &spec, request.privileges)?;
    }
    let own_keys = container.record.detach_keys.as_ref().and_then(|keys| keys.parse().ok());
    let secrets = secrets::of_container(container)?;
    let entry = ExecPlan {
        steps: engine::plan_exec(&spec, &process, running, &secrets.variables)?,
        options: LaunchOptions {
            stdin: request.stdin,
            preserve_fds: request.preserve_fds,
            preserve_fd: request.preserve_fd,
            sockets,
            container: container.identity(),
            ..LaunchOptions::default()
        },
        keys: request.keys.or(own_keys).unwrap_or_default(),
        finish: request.finish,
    };
    let status = match request.audience {
        Audience::Nobody => engine::exec(&entry, streams, &signals, |_| ()),
        Audience::All => {
            let words = request.command.join(" ");
            exec_with_events(container, &words, &entry, streams, &signals)
        }
    };
    status.map_err(or_ended).map(Option::unwrap_or_default)
}

/// Runs the command with events, and with a record while it runs.
fn exec_with_events(
    container: &Container,
    words: &str,
    entry: &ExecPlan,
    streams: CallerStreams<'_>,
    signals: &Signals,
) -> Result<Option<u8>> {
    let id = random_id()?;
    let log_event = |action: &str, more: &[(&str, String)]| {
        let more = [&[("execID", id.clone())], more].concat();
        events::of_container(&container.store, &container.record, action, &more);
    };
    log_event(&format!("exec_create: {words}"), &[]);
    log_event(&format!("exec_start: {words}"), &[]);
    let mut session = None;
    let status = engine::exec(entry, streams, signals, |command| {
        let process = ProcessId::of_pidfd(command.pidfd.as_fd());
        session = process.and_then(|process| ExecSession::record(container, &id, process));
    });
    let ended = match &status {
        Ok(status) => *status,
        Err(error) => Some(error.status()),
    };
    if let Some(ended) = ended {
        session.into_iter().for_each(ExecSession::end);
        log_event("exec_die", &[("exitCode", ended.to_string())]);
    }
    status
}

/// Returns the container, and the pidfd of its first process.
fn running(container: &Container, spec: &Spec) -> Result<(RunningContainer, OwnedFd)> {
    let name = &container.record.name;
    let status = container.status_here()?;
    let Status::Running(state) = &status else {
        return Err(not_running(container, &status, "start"));
    };
    let process = state.process.open();
    let process =
        process.ok_or_else(|| Error::not_running(format!("container {name} has ended")))?;
    let pidfd = process.try_clone().context(|| "cannot duplicate a descriptor")?;
    match RunningContainer::of(process, state.process.pid, spec, state.cgroup.clone()) {
        Ok(running) => Ok((running, pidfd)),
        Err(error) => {
            let error = error.within(format!("container {name}"));
            Err(unless_ended(error, &pidfd, name))
        }
    }
}

/// Returns `error`, or the error of a container that has ended meanwhile: then `error` is a consequence. The failure of
/// the command itself (126, 127) stays.
fn unless_ended(error: Error, first: &OwnedFd, name: &str) -> Error {
    /// An ending process has no namespaces for some milliseconds before its pidfd tells the end.
    const ENDING: Duration = Duration::from_millis(200);
    let is_of_command = matches!(error.status(), 126 | 127);
    let has_ended = error.kind() == ErrorKind::NotRunning
        || !is_of_command && ended_within(first, Some(ENDING)).unwrap_or(false);
    match has_ended {
        true => Error::not_running(format!("container {name} has ended")),
        false => error,
    }
}
