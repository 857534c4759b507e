//! Launch of a command, and the wait until the command has ended.

use std::os::fd::OwnedFd;

use super::dying;
use super::failure::KILLED_FOR_MEMORY;
use super::processes::end_all;
use super::stages::{Launched, Released};
use super::{HELPER_DIED, launch};
use crate::cgroup;
use crate::engine::plan::Plan;
use crate::engine::plan::sockets::ListenSockets;
use crate::engine::session::detach_keys::DetachKeys;
use crate::engine::session::stream_relay::StreamRelay;
use crate::engine::session::supervise::{CommandSession, NetworkRequests, SessionEnd};
use crate::engine::streams::{self, CallerStreams, LaunchStreams, Stdin};
use crate::error::{Context, Error, Result};
use crate::hook_point::HookPoint;
use crate::net::{HelperWatch, RunningNetwork};
use crate::readiness::Notifier;
use crate::sys::process::{Child, Ended};
use crate::sys::signal::Signals;

/// Carries out a plan, and waits until the command has ended. `streams`: those of the caller. The command inherits
/// them, or its terminal is relayed to them. Calls `running` once the command has run for some time
/// ([`CommandSession::settled`]); never for a command that ends earlier. The caller must block `signals` before it
/// makes anything that needs cleaning up.
pub fn run(
    plan: &Plan,
    streams: CallerStreams<'_>,
    signals: &Signals,
    running: impl FnOnce(&Launched) -> Option<Box<dyn NetworkRequests>>,
) -> Result<Ended> {
    let (command, relay) = match plan.has_terminal() {
        true => (None, StreamRelay::default()),
        false => streams::of_caller(streams, plan.options.stdin)
            .map(|(streams, relay)| (Some(streams), relay))
            .context(|| "cannot wire the standard streams")?,
    };
    let mut notifier = Notifier::of(plan.options.notify.as_ref())?;
    let launched = launch(plan, LaunchStreams { command, caller: Some(streams) }, signals);
    plan.options.sockets.iter().for_each(ListenSockets::close);
    // Failures of these hooks are warnings. A hangup ends a run as usual: the next read of the signals sees it.
    let hooks = |point, pid| plan.hooks.run(point, pid, None, None);
    let mut launched = match launched {
        Ok(launched) => launched,
        Err(error) => {
            hooks(HookPoint::Poststop, None)?;
            return Err(error);
        }
    };
    notifier.iter_mut().for_each(Notifier::has_started);
    hooks(HookPoint::Poststart, Some(launched.command.pid))?;
    let terminal = launched.terminal.take();
    let early_signals = std::mem::take(&mut launched.early_signals);
    let membership = std::mem::take(&mut launched.membership);
    let mut network = RunningNetwork { membership, names: None, helper: launched.helper.take() };
    // A running command must not end because its names cannot be served.
    network.serve_names().unwrap_or_else(|error| log::warn!("{error}"));
    network.helper.iter_mut().for_each(HelperWatch::begin);
    let session = CommandSession {
        process: &launched.command,
        terminal,
        relay,
        caller: streams,
        stdin: plan.options.stdin,
        keys: DetachKeys::none(),
        early_signals,
        network: Some(&mut network),
        notifier,
        keeper: launched.base.as_ref(),
        settled: Some(Box::new(|| running(&launched))),
    };
    let ended = stay_to_end(session, signals);
    launched.helper = network.helper.take();
    // The networks are left first: other containers must no longer find the one that has ended.
    drop(network);
    end_rest(launched, ended.as_ref().ok());
    plan.hooks.run(HookPoint::Poststop, None, None, None)?;
    ended
}

/// Waits until the command of a container with a lifetime of its own has ended. `terminal`: the master of its terminal,
/// which is relayed to the caller's streams. The caller has blocked `signals`, which are forwarded.
pub fn attend(
    released: Released,
    terminal: Option<OwnedFd>,
    streams: CallerStreams<'_>,
    signals: &Signals,
) -> Result<Ended> {
    let session = session(&released.command, released.early_signals, terminal, streams);
    stay_to_end(session, signals)
}

/// As [`attend`], for a container that ends with this process. Ends all that the command has left running.
pub fn attend_to_end(
    mut launched: Launched,
    terminal: Option<OwnedFd>,
    streams: CallerStreams<'_>,
    signals: &Signals,
) -> Result<Ended> {
    let early_signals = std::mem::take(&mut launched.early_signals);
    let keeper = launched.base.as_ref();
    let session =
        CommandSession { keeper, ..session(&launched.command, early_signals, terminal, streams) };
    let ended = stay_to_end(session, signals);
    end_rest(launched, ended.as_ref().ok());
    ended
}

fn stay_to_end(session: CommandSession<'_>, signals: &Signals) -> Result<Ended> {
    match session.stay(signals)? {
        SessionEnd::Ended(ended) => Ok(ended),
        SessionEnd::Detached(_) => Err(Error::new("a command without detach keys was detached")),
    }
}

fn session<'a>(
    process: &'a Child,
    early_signals: Vec<i32>,
    terminal: Option<OwnedFd>,
    caller: CallerStreams<'a>,
) -> CommandSession<'a> {
    CommandSession {
        process,
        terminal,
        relay: StreamRelay::default(),
        caller,
        stdin: Stdin::Ours,
        keys: DetachKeys::none(),
        early_signals,
        network: None,
        notifier: None,
        keeper: None,
        settled: None,
    }
}

/// Ends usnea's processes beside a command, and the processes that the command left running. `ended`: the command's
/// end, if known.
fn end_rest(launched: Launched, ended: Option<&Ended>) {
    if let Some(supervisor) = &launched.supervisor {
        let _ = supervisor.signal(libc::SIGKILL);
    }
    if let Some(helper) = launched.helper.and_then(HelperWatch::into_child) {
        let has_died = helper.has_ended();
        let _ = helper.signal(libc::SIGKILL);
        // Waits for a helper with published ports: they must be free when the run has ended. Other helpers are reaped
        // later, since the kernel needs 20 ms and more to remove the interface of a killed one.
        match launched.publishes {
            true => drop(helper.wait()),
            false => dying::leave(helper),
        }
        if has_died {
            log::warn!("{HELPER_DIED}");
        }
    }
    if ended.is_none() || !launched.owns_pid_namespace {
        let all = [Some(&launched.command), launched.base.as_ref()];
        end_all(&all, &launched.preexisting_children);
    }
    if let Some(cgroup) = launched.cgroup {
        if cgroup::oom_kills(cgroup.folder()) > 0 {
            log::warn!("{KILLED_FOR_MEMORY}");
        }
        cgroup.remove();
    }
    // The keeper has noticed the end too and exits by itself. Waiting for it would only take time.
}
