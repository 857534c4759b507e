//! Program of a hook: gets the state on its standard input. Its run time and its quoted output are limited.

use std::ffi::{CStr, CString};
use std::io::{Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::sys::fd;
use crate::sys::process::{self, Child, Ended, Forked};
use crate::sys::signal::{self, Signals};

/// Largest number of bytes of a hook's output that an error quotes; the rest is read and discarded.
const QUOTED: usize = 1000;

/// Program to run.
#[derive(Debug)]
pub struct HookProgram {
    /// JSON path in config.json, such as `hooks.prestart[0]`.
    pub place: String,
    /// Absolute path.
    pub path: CString,
    /// `argv`
    pub arguments: Vec<CString>,
    /// `KEY=value`
    pub environment: Vec<CString>,
    /// Time limit; `None`: no limit.
    pub timeout: Option<Duration>,
}

/// Files for the output of hooks. `None`: the output is quoted in the error of a hook that fails.
#[derive(Debug, Default)]
pub struct HookOutputs {
    /// Standard output.
    pub output: Option<OwnedFd>,
    /// Standard error.
    pub error: Option<OwnedFd>,
}

/// Signals that may interrupt a hook for which the user waits.
pub struct HookInterrupt<'a> {
    /// Blocked signals.
    pub signals: &'a Signals,
    /// Signals that end the hook.
    pub ending: &'a [i32],
    /// Signals that arrived.
    pub heard: &'a mut Vec<i32>,
}

/// Outcome of hooks that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HooksEnd {
    /// All have succeeded.
    Done,
    /// A signal ended one of them.
    Interrupted,
}

impl HookProgram {
    /// Runs the program to its end with `state` on its standard input, in `folder`. A hook that exceeds its timeout is
    /// killed with its process group. Errors: the reason, with the JSON path in config.json.
    pub fn run(
        &self,
        state: &[u8],
        folder: Option<&Path>,
        outputs: &HookOutputs,
        interrupt: Option<&mut HookInterrupt<'_>>,
    ) -> Result<HooksEnd, String> {
        let place = |reason: String| {
            let path = self.path.to_string_lossy();
            format!("config.json: {}: {path}: {reason}", self.place)
        };
        let (hook, output) =
            self.start(state, folder, outputs).map_err(|error| place(error.to_string()))?;
        let watch = HookWatch { hook, output: Some(output), quoted: Vec::new() };
        watch.stay(self.timeout, interrupt).map_err(place)
    }

    fn start(
        &self,
        state: &[u8],
        folder: Option<&Path>,
        outputs: &HookOutputs,
    ) -> std::io::Result<(Child, OwnedFd)> {
        // A file, not a pipe: a hook that does not read it must not block this process.
        let memory = rustix::fs::memfd_create("state", MemfdFlags::CLOEXEC)?;
        let mut input = std::fs::File::from(memory);
        input.write_all(state)?;
        input.rewind()?;
        let (output, written) = pipe_with(PipeFlags::CLOEXEC)?;
        rustix::fs::fcntl_setfl(&output, OFlags::NONBLOCK)?;
        match process::fork()? {
            Forked::Parent(hook) => Ok((hook, output)),
            Forked::Child => {
                let error = self.exec(&input.into(), &written, folder, outputs);
                let _ = std::fs::File::from(written).write_all(error.to_string().as_bytes());
                process::exit_now(127)
            }
        }
    }

    /// Becomes the program; returns only on error.
    fn exec(
        &self,
        input: &OwnedFd,
        written: &OwnedFd,
        folder: Option<&Path>,
        outputs: &HookOutputs,
    ) -> std::io::Error {
        let prepare = || -> std::io::Result<()> {
            process::set_parent_death_signal(libc::SIGKILL)?;
            // A group of its own, which is killed as a whole.
            rustix::process::setsid()?;
            folder.map_or(Ok(()), rustix::process::chdir)?;
            // Descriptors 0 to 2 may be closed here: copies above 2 are not overwritten when the streams are installed.
            let above = |fd: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(fd, 3);
            let [input, output, error] = [
                above(input)?,
                above(outputs.output.as_ref().unwrap_or(written))?,
                above(outputs.error.as_ref().unwrap_or(written))?,
            ];
            fd::install(input.as_fd(), 0)?;
            fd::install(output.as_fd(), 1)?;
            fd::install(error.as_fd(), 2)?;
            // The hook does not inherit descriptors that are meant for the command.
            fd::close_at_exec_from(3)?;
            signal::reset();
            Ok(())
        };
        if let Err(error) = prepare() {
            return error;
        }
        let arguments: Vec<&CStr> = self.arguments.iter().map(CString::as_c_str).collect();
        let environment: Vec<&CStr> = self.environment.iter().map(CString::as_c_str).collect();
        process::exec(&self.path, &arguments, &environment)
    }
}

/// Running hook.
struct HookWatch {
    hook: Child,
    /// Read end of the hook's output; `None`: all its writers have ended.
    output: Option<OwnedFd>,
    /// Beginning of the output.
    quoted: Vec<u8>,
}

impl HookWatch {
    /// Waits for the end of the hook.
    fn stay(
        mut self,
        timeout: Option<Duration>,
        mut interrupt: Option<&mut HookInterrupt<'_>>,
    ) -> Result<HooksEnd, String> {
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                self.kill();
                let seconds = timeout.unwrap_or_default().as_secs();
                return Err(format!("did not end within its timeout of {seconds} s"));
            }
            let ready = self.wait_for_event(left, interrupt.as_deref());
            let ready = ready.map_err(|error| {
                self.kill();
                error.to_string()
            })?;
            if ready.output {
                self.read_output();
            }
            if ready.signal
                && let Some(interrupt) = interrupt.as_deref_mut()
            {
                while let Ok(Some(signal)) = interrupt.signals.next() {
                    interrupt.heard.push(signal);
                }
                if interrupt.heard.iter().any(|signal| interrupt.ending.contains(signal)) {
                    self.kill();
                    return Ok(HooksEnd::Interrupted);
                }
            }
            if ready.end {
                break;
            }
        }
        // Reads the rest of the output without waiting for its end: children of the hook may keep the pipe open.
        self.read_output();
        match self.hook.wait() {
            Ok(Ended::Exited(0)) => Ok(HooksEnd::Done),
            Ok(Ended::Exited(status)) => Err(self.with_output(format!("exit status {status}"))),
            Ok(Ended::Killed(signal)) => {
                Err(self.with_output(format!("killed by signal {signal}")))
            }
            Err(error) => Err(error.to_string()),
        }
    }

    fn wait_for_event(
        &self,
        left: Option<Duration>,
        interrupt: Option<&HookInterrupt<'_>>,
    ) -> std::io::Result<HookEvents> {
        let mut fds = vec![PollFd::new(&self.hook.pidfd, PollFlags::IN)];
        fds.extend(self.output.as_ref().map(|output| PollFd::new(output, PollFlags::IN)));
        let signals = interrupt.map(|interrupt| interrupt.signals.as_fd());
        fds.extend(signals.map(|signals| PollFd::from_borrowed_fd(signals, PollFlags::IN)));
        // Rounded up: the deadline has passed when the poll ends.
        let left = left.map(|left| Timespec {
            tv_sec: left.as_secs() as i64,
            tv_nsec: left.subsec_nanos().into(),
        });
        match poll(&mut fds, left.as_ref()) {
            Err(rustix::io::Errno::INTR) => return Ok(HookEvents::default()),
            answer => answer?,
        };
        let is_ready = |index: usize| fds.get(index).is_some_and(|fd| !fd.revents().is_empty());
        let outputs = usize::from(self.output.is_some());
        Ok(HookEvents {
            end: is_ready(0),
            output: outputs == 1 && is_ready(1),
            signal: is_ready(1 + outputs),
        })
    }

    /// Reads what the pipe holds; keeps its beginning.
    fn read_output(&mut self) {
        let mut room = [0; 16384];
        // Bounded: a hook that writes without end must not keep this process from checking the deadline.
        for _ in 0..16 {
            let Some(output) = &self.output else { return };
            match rustix::io::read(output, &mut room) {
                Ok(0) => self.output = None,
                Ok(length) => {
                    let left = QUOTED.saturating_sub(self.quoted.len());
                    self.quoted.extend(&room[..length.min(left)]);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }

    fn with_output(&self, end: String) -> String {
        let text = String::from_utf8_lossy(&self.quoted);
        let lines: Vec<&str> =
            text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        match lines.is_empty() {
            true => end,
            false => format!("{end}: {}", lines.join("; ")),
        }
    }

    /// Kills the hook with its process group, and reaps it.
    fn kill(&self) {
        let _ = process::signal_child(-self.hook.pid, libc::SIGKILL);
        let _ = self.hook.signal(libc::SIGKILL);
        let _ = self.hook.wait();
    }
}

/// Events of a running hook.
#[derive(Default)]
struct HookEvents {
    /// The hook has ended.
    end: bool,
    /// The pipe of its output has bytes, or is closed.
    output: bool,
    /// A signal arrived.
    signal: bool,
}
