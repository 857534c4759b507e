//! Last steps of usnea's process before exec: standard streams, filter and signals.

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};

use crate::engine::command::{filter, init, program};
use crate::engine::messages::{ChildChannel, ChildMessage};
use crate::engine::plan::LaunchOptions;
use crate::engine::plan::process::{ExecCommand, Reaper};
use crate::engine::plan::step::Step;
use crate::engine::step_error::{OnObject, StepResult};
use crate::engine::streams::{CommandStreams, Stdin};
use crate::sys::fd::AtExec;
use crate::sys::signal;
use crate::sys::{fd, process, pty};

/// Effect on the command when the process that waits for the command dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnParentDeath {
    /// The command is killed too (PR_SET_PDEATHSIG).
    Kill,
    /// No signal: the command is detached, or its terminal sends the hangup.
    Ignore,
    /// No parent any more: that process has ended its part of the launch, and receives no message.
    Detached,
}

/// Input of the last steps before exec.
pub struct LastSteps<'a> {
    /// Steps of the whole plan.
    pub steps: &'a [Step],
    /// Options of the launch that config.json cannot express.
    pub options: &'a LaunchOptions,
    /// Channel to the process that waits for the command.
    pub channel: &'a ChildChannel,
    /// Standard streams to install; `None`: those of this process.
    pub streams: Option<&'a CommandStreams>,
    /// The command's terminal, if any.
    pub terminal: Option<&'a OwnedFd>,
    /// Effect of the death of the process that waits.
    pub parents_death: OnParentDeath,
}

impl LastSteps<'_> {
    /// Becomes the command. Keeps `step` at the step that a failure is reported with.
    pub fn exec(&self, exec: &ExecCommand, step: &mut usize) -> StepResult<Infallible> {
        // After the change of credentials, which clears this signal (prctl(2), PR_SET_PDEATHSIG).
        process::set_parent_death_signal(match self.parents_death {
            OnParentDeath::Kill => libc::SIGKILL,
            OnParentDeath::Ignore | OnParentDeath::Detached => 0,
        })?;
        let has_left = self.parents_death == OnParentDeath::Detached;
        // The channel's end shows a parent that died meanwhile.
        if !has_left && self.channel.is_deserted() {
            process::exit_now(125);
        }
        if exec.reaper == Reaper::Usnea {
            init::fork_init(|| {
                // Init needs neither the filter nor the capability that installing it takes.
                if filter::drop_extra_capability(self.steps).is_err() {
                    process::exit_now(125);
                }
            })?;
        }
        self.wire_streams(exec)?;
        for number in self.options.passed() {
            fd::set_at_exec(number, AtExec::Keep).on(|| format!("descriptor {number}"))?;
        }
        // The command's PID is known now: that of this process, also as a child of init.
        let sockets = self.options.sockets.as_ref();
        let environment =
            sockets.map(|sockets| sockets.environment(&exec.environment, std::process::id()));
        self.filter_and_announce(step)?;
        program::run_program(exec, environment.as_ref().unwrap_or(&exec.environment))
    }

    /// Installs the filter, and reports that the command runs.
    fn filter_and_announce(&self, step: &mut usize) -> StepResult {
        let has_left = self.parents_death == OnParentDeath::Detached;
        let announce = || {
            let sent = match has_left {
                true => Ok(()),
                false => self.channel.send(&ChildMessage::Running),
            };
            // The user's shell or service manager may have blocked or ignored signals: reset, as docker does.
            signal::reset();
            sent
        };
        if !filter::has_listener(self.steps) {
            // From the filter on, this process makes no call but execve(2), which every command needs.
            announce()?;
            return filter::install_filter(self.steps, self.channel, step);
        }
        if !has_left {
            // The filter's own calls are done before signals are the command's. Without a parent the filter is there
            // already (`Step::HoldAtFifo`).
            filter::install_filter(self.steps, self.channel, step)?;
        }
        Ok(announce()?)
    }

    fn wire_streams(&self, exec: &ExecCommand) -> StepResult {
        if exec.terminal {
            let terminal = self.terminal.ok_or(io::Error::from_raw_os_error(libc::ENXIO))?;
            pty::make_controlling(terminal.as_fd())?;
            return (0..=2).try_for_each(|number| Ok(fd::install(terminal.as_fd(), number)?));
        }
        if let Some(streams) = self.streams {
            fd::install(streams.output.as_fd(), 1)?;
            fd::install(streams.error.as_fd(), 2)?;
            if let Some(input) = &streams.input {
                return Ok(fd::install(input.as_fd(), 0)?);
            }
        }
        if self.options.stdin == Stdin::Null {
            let null =
                rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                    .on(|| "/dev/null")?;
            fd::install(null.as_fd(), 0)?;
        }
        Ok(())
    }
}
