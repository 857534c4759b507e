//! Reader of a log in the systemd journal, through journalctl(1). A static program cannot use libsystemd, and the
//! format of the files is journald's own.

use std::collections::VecDeque;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use jiff::{Timestamp, ToSpan};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Container;
use super::journal_entry::{ExportParser, JournalEntry};
use super::log_printer::{LogPrinter, LogRequest, slot};
use crate::error::{Context, Error, Result};
use crate::host::program;
use crate::monitor::journal::fields;
use crate::monitor::record::{self, EXIT, Exit, JournalMark};

/// Longest wait for the last entries of a container that has just ended: journald may drop entries (RateLimitBurst=).
const SETTLING: Duration = Duration::from_secs(2);
/// Pause between two readings during that wait.
const PAUSE: Duration = Duration::from_millis(20);

/// Prints the log of a container.
pub(super) fn print(container: &Container, printer: &mut LogPrinter<'_>) -> Result<()> {
    let phrase = || format!("the log of {} in the journal", container.record.name);
    let request = printer.request;
    let mut journal = JournalReader::new(container, request);
    let mut tail = LineTail { most: request.tail, ..LineTail::default() };
    let settled = Instant::now() + SETTLING;
    loop {
        journal.read_stored(|entry| tail.add(entry, printer)).context(phrase)?;
        if journal.has_all() || Instant::now() > settled {
            break;
        }
        std::thread::sleep(PAUSE);
    }
    tail.print(printer).context(phrase)?;
    if request.follow {
        journal.follow(printer).context(phrase)?;
    }
    Ok(())
}

/// The last lines, each as a whole. Without a limit of their number, lines are printed at once instead.
#[derive(Default)]
struct LineTail {
    most: Option<usize>,
    lines: VecDeque<JournalEntry>,
    /// True for each stream whose current line was dropped.
    drops: [bool; 2],
}

impl LineTail {
    fn add(&mut self, entry: JournalEntry, printer: &mut LogPrinter<'_>) -> Result<()> {
        let Some(most) = self.most else { return Ok(printer.print(&entry.line())?) };
        if !printer.request.shows(&entry.line()) {
            return Ok(());
        }
        let slot_of = |entry: &JournalEntry| slot(entry.source);
        let index = slot_of(&entry);
        if self.drops[index] {
            self.drops[index] = !entry.is_whole;
            return Ok(());
        }
        let begun = self.lines.iter_mut().rev().find(|line| slot_of(line) == index);
        match begun.filter(|line| !line.is_whole) {
            Some(line) => {
                line.bytes.extend(&entry.bytes);
                line.is_whole = entry.is_whole;
            }
            None => self.lines.push_back(entry),
        }
        while self.lines.len() > most {
            let dropped = self.lines.pop_front();
            dropped.iter().for_each(|line| self.drops[slot_of(line)] = !line.is_whole);
        }
        Ok(())
    }

    fn print(self, printer: &mut LogPrinter<'_>) -> Result<()> {
        self.lines.iter().try_for_each(|line| printer.print(&line.line()))?;
        printer.skips = self.drops;
        Ok(printer.flush()?)
    }
}

/// Reader of a container's entries.
struct JournalReader<'a> {
    container: &'a Container,
    request: &'a LogRequest,
    /// Journal cursor of the last entry that was read.
    cursor: Option<String>,
    /// Last entry that was read, if usnea wrote it.
    last: Option<JournalMark>,
}

impl<'a> JournalReader<'a> {
    fn new(container: &'a Container, request: &'a LogRequest) -> Self {
        Self { container, request, cursor: None, last: None }
    }

    /// Passes the entries of the journal after those that were read to `each`.
    fn read_stored(&mut self, mut each: impl FnMut(JournalEntry) -> Result<()>) -> Result<()> {
        let mut child = self.journalctl(&[])?;
        let mut output = child.stdout.take().ok_or_else(|| Error::new("no pipe"))?;
        let mut parser = ExportParser::default();
        let read = loop {
            match self.read_some(&mut output, &mut parser, &mut each) {
                Ok(0) => break Ok(()),
                Ok(_) => {}
                Err(error) => break Err(error),
            }
        };
        drop(output);
        if read.is_err() {
            let _ = child.kill();
        }
        ended(child).and(read)
    }

    /// Reads once; returns the number of bytes, 0 at the end.
    fn read_some(
        &mut self,
        output: &mut ChildStdout,
        parser: &mut ExportParser,
        each: &mut impl FnMut(JournalEntry) -> Result<()>,
    ) -> Result<usize> {
        let mut room = [0; 64 * 1024];
        let length = output.read(&mut room)?;
        parser.feed(&room[..length], |entry| {
            self.cursor = Some(entry.cursor.clone());
            self.last.clone_from(&entry.mark);
            each(entry)
        })?;
        Ok(length)
    }

    /// Prints entries as they arrive, until the container has ended or the end of the requested time has passed.
    fn follow(&mut self, printer: &mut LogPrinter<'_>) -> Result<()> {
        let mut child = self.journalctl(&["--follow", "--no-tail"])?;
        let mut output = child.stdout.take().ok_or_else(|| Error::new("no pipe"))?;
        let followed = self.follow_output(&mut output, printer);
        drop(output);
        let _ = child.kill();
        let _ = child.wait();
        followed
    }

    fn follow_output(
        &mut self,
        output: &mut ChildStdout,
        printer: &mut LogPrinter<'_>,
    ) -> Result<()> {
        let mut parser = ExportParser::default();
        // The time of the end, as far as it is known.
        let mut ended = None;
        loop {
            let monitor = match ended {
                Some(_) => None,
                None => self.monitor(),
            };
            if monitor.is_none() {
                ended.get_or_insert_with(Instant::now);
                if self.has_all() {
                    return Ok(());
                }
            }
            let until = self.request.until.map(|until| {
                Duration::try_from(until.duration_since(Timestamp::now())).unwrap_or_default()
            });
            let settles = ended.map(|ended| SETTLING.saturating_sub(ended.elapsed()));
            let limit = [until, settles].into_iter().flatten().min();
            let mut fds = vec![PollFd::new(output, PollFlags::IN)];
            fds.extend(monitor.iter().map(|monitor| PollFd::new(monitor, PollFlags::IN)));
            let woken = poll(&mut fds, limit.map(timespec).as_ref());
            let has_output = !fds[0].revents().is_empty();
            match woken {
                Err(rustix::io::Errno::INTR) => continue,
                answer => answer?,
            };
            if has_output {
                let mut each = |entry: JournalEntry| Ok(printer.print(&entry.line())?);
                if self.read_some(output, &mut parser, &mut each)? == 0 {
                    return Err(Error::new("journalctl has ended"));
                }
                printer.flush()?;
            } else if limit.is_some_and(|limit| limit.is_zero()) {
                return Ok(());
            }
        }
    }

    /// Opens the monitor of the running container, or of one that is being started again.
    fn monitor(&self) -> Option<OwnedFd> {
        let status = self.container.status().ok()?;
        let monitor = status.state()?.monitor.open()?;
        // The descriptor of an ended process is readable at once, which is no event to wait for.
        let mut fds = [PollFd::new(&monitor, PollFlags::IN)];
        let is_over = poll(&mut fds, Some(&timespec(Duration::ZERO))).is_ok_and(|woken| woken > 0);
        (!is_over).then_some(monitor)
    }

    /// False if the container has just ended, and entries of its last run are missing.
    fn has_all(&self) -> bool {
        // Entries outside of the asked time are not read, the last may be one of them.
        if self.request.since.is_some() || self.request.until.is_some() {
            return true;
        }
        let exit = record::read::<Exit>(&self.container.folder, EXIT).ok().flatten();
        let Some(exit) = exit.filter(|exit| is_recent(exit.finished)) else { return true };
        exit.journal.is_none() || self.last == exit.journal
    }

    fn journalctl(&self, flags: &[&str]) -> Result<Child> {
        let path = program::find("journalctl", |path| path.exists()).ok_or_else(|| {
            Error::not_found("journalctl, which reads the journal, is not installed")
        })?;
        let mut command = Command::new(path);
        command.args(["--quiet", "--no-pager", "--output=export"]).args(flags);
        if let Some(cursor) = &self.cursor {
            command.arg(format!("--after-cursor={cursor}"));
        }
        // journald's own time of an entry is a little later than the sender's, which the printer compares.
        if let Some(since) = self.request.since.filter(|_| self.cursor.is_none()) {
            command.arg(format!("--since=@{}", since.as_second()));
        }
        if let Some(until) = self.request.until {
            command.arg(format!("--until=@{}", until.as_second() + 2));
        }
        command.arg(format!("{}={}", fields::ID, self.container.record.id));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().context(|| "cannot start journalctl")
    }
}

/// True if the end is so recent that entries may still arrive.
fn is_recent(finished: Timestamp) -> bool {
    finished.checked_add(5.seconds()).is_ok_and(|settled| settled > Timestamp::now())
}

fn timespec(time: Duration) -> Timespec {
    Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() }
}

/// Waits for the end of journalctl. Errors: a failure, with its message.
fn ended(child: Child) -> Result<()> {
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    let complaint = complaint.lines().next().unwrap_or("no message");
    Err(Error::new(format!("journalctl failed: {complaint}")).hint(
        "members of the groups systemd-journal and adm may read it; with Storage=persistent in journald.conf each user has an own journal",
    ))
}
