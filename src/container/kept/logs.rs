//! `usnea logs`.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use jiff::Timestamp;

use super::Kept;
use super::stop::ended_within;
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::monitor::log::{Changes, FILE, Line, Reader, Source};
use crate::monitor::record::LogDriver;

/// What of a log is shown, and how.
#[derive(Clone, Debug, Default)]
pub struct Logs {
    /// What comes later, too, until the container ends.
    pub follow: bool,
    /// The last so many lines.
    pub tail: Option<usize>,
    /// Only what is as new.
    pub since: Option<Timestamp>,
    /// Only what is as old.
    pub until: Option<Timestamp>,
    /// With the time before each line.
    pub timestamps: bool,
    /// With this before each line.
    pub prefix: String,
}

/// Writes the log to `output` and `error`. Errors: the container's output is not kept in a file; `output` cannot be
/// written.
pub fn logs(
    kept: &Kept,
    wanted: &Logs,
    output: &mut dyn Write,
    error: &mut dyn Write,
) -> Result<()> {
    match kept.record.log.driver {
        LogDriver::File => {}
        LogDriver::Journald => {
            return Err(Error::new(format!(
                "the output of {} is in the journal",
                kept.record.name
            ))
            .hint(format!("journalctl CONTAINER_ID_FULL={}", kept.record.id)));
        }
        LogDriver::None | LogDriver::Passthrough => {
            fail!(
                "the output of {} is not kept: its log driver is none or passthrough",
                kept.record.name
            )
        }
    }
    let said = || format!("the log of {}", kept.record.name);
    // Before the first reading: nothing comes unseen in between.
    let watch = if wanted.follow { Some(Watch::new(kept).context(said)?) } else { None };
    let mut reader = Reader::open(&kept.folder, FILE).context(said)?;
    let mut printer = Printer { wanted, output, error, mid_line: [false; 2] };
    let mut last: VecDeque<Vec<u8>> = VecDeque::new();
    loop {
        let more = reader.read(|line| match wanted.tail {
            Some(tail) => {
                keep_last(&mut last, line, tail, wanted);
                Ok(())
            }
            None => printer.print(line),
        });
        if !more.context(said)? {
            break;
        }
    }
    for line in &last {
        printer.print(line).context(said)?;
    }
    if let Some(mut watch) = watch {
        loop {
            let goes_on = watch.wait()?;
            while reader.read(|line| printer.print(line)).context(said)? {}
            printer.flush().context(said)?;
            let is_over = wanted.until.is_some_and(|until| Timestamp::now() > until);
            if !goes_on || is_over {
                break;
            }
        }
    }
    printer.flush().context(said)
}

/// The last `tail` lines: a line that came in parts is one.
fn keep_last(last: &mut VecDeque<Vec<u8>>, line: &[u8], tail: usize, wanted: &Logs) {
    if !Line::parse(line).is_some_and(|line| wanted.shows(&line)) {
        return;
    }
    last.push_back(line.to_vec());
    let is_whole = |line: &Vec<u8>| Line::parse(line).is_some_and(|line| line.is_whole);
    // The last may have no end yet: it counts too.
    let open = usize::from(last.back().is_some_and(|line| !is_whole(line)));
    while !last.is_empty() && last.iter().filter(|line| is_whole(line)).count() + open > tail {
        while last.pop_front().is_some_and(|line| !is_whole(&line)) {}
    }
}

impl Logs {
    fn shows(&self, line: &Line<'_>) -> bool {
        if self.since.is_none() && self.until.is_none() {
            return true;
        }
        let Some(time) = line.timestamp() else { return true };
        self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time <= until)
    }
}

struct Printer<'a> {
    wanted: &'a Logs,
    output: &'a mut dyn Write,
    error: &'a mut dyn Write,
    /// Whether the last line of standard output and standard error is to be gone on with.
    mid_line: [bool; 2],
}

impl Printer<'_> {
    fn print(&mut self, line: &[u8]) -> io::Result<()> {
        let Some(line) = Line::parse(line) else { return Ok(()) };
        if !self.wanted.shows(&line) {
            return Ok(());
        }
        let (to, slot) = match line.source {
            Source::Output => (&mut *self.output, 0),
            Source::Error | Source::Ourselves => (&mut *self.error, 1),
        };
        if !self.mid_line[slot] {
            to.write_all(self.wanted.prefix.as_bytes())?;
            if self.wanted.timestamps {
                write!(to, "{} ", line.time)?;
            }
            if line.source == Source::Ourselves {
                to.write_all(b"usnea: ")?;
            }
        }
        to.write_all(line.bytes)?;
        if line.is_whole {
            to.write_all(b"\n")?;
        }
        self.mid_line[slot] = !line.is_whole;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()?;
        self.error.flush()
    }
}

/// Tells when a log grows, and when there will be no more of it.
struct Watch<'a> {
    kept: &'a Kept,
    changes: Changes,
    /// Who writes it: asked for once, not at each line.
    monitor: Option<OwnedFd>,
}

impl<'a> Watch<'a> {
    fn new(kept: &'a Kept) -> io::Result<Self> {
        Ok(Self { kept, changes: Changes::of(&kept.folder)?, monitor: None })
    }

    /// Waits until there may be more; whether there may be more after that.
    fn wait(&mut self) -> Result<bool> {
        let said = || format!("cannot wait for {FILE}");
        let monitor = match self.monitor.take() {
            Some(monitor) => monitor,
            None => {
                // What may come is known before it is looked for: else the last line could be missed.
                let status = self.kept.status();
                let state = status.as_ref().ok().and_then(|status| status.state());
                let Some(monitor) = state.and_then(|state| state.monitor.open()) else {
                    return Ok(false);
                };
                monitor
            }
        };
        // The monitor lives until all is written; it stays for the next start, too.
        self.changes.wait(Some(monitor.as_fd()), None).context(said)?;
        self.monitor = (!ended_within(&monitor, Some(Duration::ZERO))?).then_some(monitor);
        Ok(true)
    }
}
