//! The last moments of a process of ours: its streams, its filter, its signals; then it is the command.

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};

use super::sync::{Channel, Message};
use super::trouble::{Done, On};
use super::{Command, Options, Stdin, Step, Streams, command, filter, init};
use crate::sys::signal;
use crate::sys::{fd, process, pty};

/// What the death of the process that waits for the command is to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParentsDeath {
    /// Its own.
    IsOurs,
    /// Nothing: it has been left alone, or its terminal hangs up.
    IsNothing,
}

/// All that the last steps work on.
pub struct Last<'a> {
    /// The whole plan.
    pub steps: &'a [Step],
    /// What a runtime is told beside the spec.
    pub options: &'a Options,
    /// To whoever waits.
    pub channel: &'a Channel,
    /// The standard streams, where they are not ours.
    pub streams: Option<&'a Streams>,
    /// The command's terminal.
    pub terminal: Option<&'a OwnedFd>,
    /// Whether it dies with whoever waits.
    pub parents_death: ParentsDeath,
}

impl Last<'_> {
    /// Becomes the command. `step` is what a failure is reported with.
    pub fn exec(&self, exec: &Command, step: &mut usize) -> Done<Infallible> {
        if self.parents_death == ParentsDeath::IsOurs {
            // Credentials have changed: the kernel has forgotten this (prctl(2), PR_SET_PDEATHSIG).
            process::set_parent_death_signal(libc::SIGKILL)?;
        }
        // A parent that died meanwhile is seen by its end of the channel.
        if self.channel.is_deserted() {
            process::exit_now(125);
        }
        if exec.init {
            init::stay_as_init_and_go_on_in_child(|| {
                // The filter is not for it, nor is what putting it on takes.
                if filter::let_go(self.steps).is_err() {
                    process::exit_now(125);
                }
            })?;
        }
        self.wire_streams(exec.terminal)?;
        filter::put_on(self.steps, self.channel, step)?;
        self.channel.send(&Message::Running)?;
        // Whatever the user's shell or service manager had blocked or ignored: as with docker.
        signal::reset();
        command::run_program(exec)
    }

    fn wire_streams(&self, terminal: bool) -> Done {
        if terminal {
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
