//! `usnea logs`: the recorded output of a container.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use jiff::Timestamp;

use super::stop::ended_within;
use super::{Container, attach};
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::monitor::log::{FILE, LogChanges, LogLine, Position, Reader, Source};
use crate::monitor::record::LogDriver;

/// Selection and format of a log's lines.
#[derive(Clone, Debug, Default)]
pub struct LogRequest {
    /// True if new lines are shown too, until the container ends.
    pub follow: bool,
    /// Number of lines at the end of the log to show; `None`: all.
    pub tail: Option<usize>,
    /// Time of the oldest line.
    pub since: Option<Timestamp>,
    /// Time of the last line.
    pub until: Option<Timestamp>,
    /// True if the time is printed before each line.
    pub timestamps: bool,
    /// Text before each line.
    pub prefix: String,
    /// Text after each line.
    pub suffix: &'static str,
}

/// Writes the log to `output` and `error`. Errors: the log driver writes no file; `output` cannot be written.
pub fn logs(
    container: &Container,
    request: &LogRequest,
    output: &mut dyn Write,
    error: &mut dyn Write,
) -> Result<()> {
    match container.record.log.driver {
        LogDriver::File => {}
        LogDriver::Journald => {
            return Err(Error::conflict(format!(
                "the output of {} is in the journal",
                container.record.name
            ))
            .hint(format!("journalctl CONTAINER_ID_FULL={}", container.record.id)));
        }
        LogDriver::None | LogDriver::Passthrough => {
            fail!(Conflict: "the output of {} is not kept: its log driver is none or passthrough",
                container.record.name
            )
        }
    }
    let phrase = || format!("the log of {}", container.record.name);
    attach::catch_up(container);
    // The watch begins before the first reading, so that no line is missed in between.
    let watch = if request.follow { Some(Watch::new(container).context(phrase)?) } else { None };
    let mut reader = Reader::open(&container.folder, FILE).context(phrase)?;
    let mut printer = Printer::new(request, output, error);
    if let Some(tail) = request.tail {
        let start = Tail::find(&mut reader, tail, request).context(phrase)?;
        reader.seek(start.position);
        printer.skips = start.is_mid_line;
    }
    printer.print_all(&mut reader).context(phrase)?;
    if let Some(mut watch) = watch {
        loop {
            let goes_on = watch.wait()?;
            printer.print_all(&mut reader).context(phrase)?;
            let is_over = request.until.is_some_and(|until| Timestamp::now() > until);
            if !goes_on || is_over {
                break;
            }
        }
    }
    Ok(())
}

/// Positions of the last lines. A line that is stored in several parts counts once.
struct Tail {
    starts: VecDeque<Start>,
    most: usize,
    is_mid_line: [bool; 2],
}

/// Position at which a line begins.
struct Start {
    position: Position,
    /// True for each stream whose previous line continues after this position.
    is_mid_line: [bool; 2],
}

impl Tail {
    /// Reads the log to its end; returns the beginning of its last `most` lines.
    fn find(reader: &mut Reader, most: usize, request: &LogRequest) -> io::Result<Start> {
        let mut tail = Self { starts: VecDeque::new(), most, is_mid_line: [false; 2] };
        let first = Start { position: reader.position(), is_mid_line: [false; 2] };
        while reader.read_placed(|position, line| {
            if let Some(line) = LogLine::parse(line).filter(|line| request.shows(line)) {
                tail.add(position, &line);
            }
            Ok(())
        })? {}
        Ok(match most {
            0 => Start { position: reader.position(), is_mid_line: tail.is_mid_line },
            _ => tail.starts.pop_front().unwrap_or(first),
        })
    }

    fn add(&mut self, position: Position, line: &LogLine<'_>) {
        let slot = slot(line.source);
        if !self.is_mid_line[slot] {
            self.starts.push_back(Start { position, is_mid_line: self.is_mid_line });
        }
        if self.starts.len() > self.most {
            self.starts.pop_front();
        }
        self.is_mid_line[slot] = !line.is_whole;
    }
}

/// Index of the stream that shows lines of `source`: 0 is standard output, 1 standard error.
fn slot(source: Source) -> usize {
    match source {
        Source::Output => 0,
        Source::Error | Source::Ourselves => 1,
    }
}

impl LogRequest {
    fn shows(&self, line: &LogLine<'_>) -> bool {
        if self.since.is_none() && self.until.is_none() {
            return true;
        }
        let Some(time) = line.timestamp() else { return true };
        self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time <= until)
    }
}

struct Printer<'a> {
    request: &'a LogRequest,
    streams: [&'a mut dyn Write; 2],
    /// True for each stream whose last line is not complete yet.
    is_mid_line: [bool; 2],
    /// True for each stream whose current line is skipped.
    skips: [bool; 2],
    /// Index of the stream that was written to last.
    last: usize,
}

impl<'a> Printer<'a> {
    fn new(request: &'a LogRequest, output: &'a mut dyn Write, error: &'a mut dyn Write) -> Self {
        let streams = [output, error];
        Self { request, streams, is_mid_line: [false; 2], skips: [false; 2], last: 0 }
    }

    /// Prints all lines so far and flushes: a reader may wait for an incomplete line.
    fn print_all(&mut self, reader: &mut Reader) -> io::Result<()> {
        while reader.read(|line| self.print(line))? {
            reader.close_read();
        }
        self.streams.iter_mut().try_for_each(|stream| stream.flush())
    }

    fn print(&mut self, line: &[u8]) -> io::Result<()> {
        let Some(line) = LogLine::parse(line).filter(|line| self.request.shows(line)) else {
            return Ok(());
        };
        let slot = slot(line.source);
        if self.skips[slot] {
            self.skips[slot] = !line.is_whole;
            return Ok(());
        }
        // Both streams may be the same file or pipe: lines must appear there in the order of their writing.
        if self.last != slot {
            self.streams[self.last].flush()?;
            self.last = slot;
        }
        let to = &mut self.streams[slot];
        if !self.is_mid_line[slot] {
            to.write_all(self.request.prefix.as_bytes())?;
            if self.request.timestamps {
                write!(to, "{} ", line.time)?;
            }
            if line.source == Source::Ourselves {
                to.write_all(b"usnea: ")?;
            }
        }
        to.write_all(line.bytes)?;
        if line.is_whole {
            to.write_all(self.request.suffix.as_bytes())?;
            to.write_all(b"\n")?;
        }
        self.is_mid_line[slot] = !line.is_whole;
        Ok(())
    }
}

/// Watch that reports when a log grows, and when it is complete.
struct Watch<'a> {
    container: &'a Container,
    changes: LogChanges,
    /// pidfd of the monitor that writes the log, looked up once.
    monitor: Option<OwnedFd>,
}

impl<'a> Watch<'a> {
    fn new(container: &'a Container) -> io::Result<Self> {
        Ok(Self { container, changes: LogChanges::of(&container.folder)?, monitor: None })
    }

    /// Waits for the next change; returns true if more may come after it.
    fn wait(&mut self) -> Result<bool> {
        let phrase = || format!("cannot wait for {FILE}");
        let monitor = match self.monitor.take() {
            Some(monitor) => monitor,
            None => {
                // The state is read before new lines are: otherwise the last line could be missed.
                let status = self.container.status();
                let state = status.as_ref().ok().and_then(|status| status.state());
                let Some(monitor) = state.and_then(|state| state.monitor.open()) else {
                    return Ok(false);
                };
                monitor
            }
        };
        // The monitor runs until all output is written, also over restarts of the container.
        self.changes.wait(Some(monitor.as_fd()), None).context(phrase)?;
        self.monitor = (!ended_within(&monitor, Some(Duration::ZERO))?).then_some(monitor);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::monitor::log::LogWriter;
    use crate::monitor::record::LogSettings;

    /// Returns the output of the last `most` lines of the log in `folder`, for each stream.
    fn tail_of(folder: &std::path::Path, most: usize) -> [String; 2] {
        let request = LogRequest { tail: Some(most), ..LogRequest::default() };
        let (mut output, mut error) = (Vec::new(), Vec::new());
        let mut reader = Reader::open(folder, FILE).unwrap();
        let start = Tail::find(&mut reader, most, &request).unwrap();
        reader.seek(start.position);
        let mut printer = Printer::new(&request, &mut output, &mut error);
        printer.skips = start.is_mid_line;
        printer.print_all(&mut reader).unwrap();
        [output, error].map(|bytes| String::from_utf8(bytes).unwrap())
    }

    /// Lines in the order of their beginnings: the stream and the text.
    fn lines_of(chunks: &[(bool, String)]) -> Vec<(bool, String)> {
        let mut lines: Vec<(bool, String)> = Vec::new();
        let mut open = [None; 2];
        for (is_error, chunk) in chunks {
            for part in chunk.split_inclusive('\n') {
                let slot = usize::from(*is_error);
                let at = *open[slot].get_or_insert_with(|| {
                    lines.push((*is_error, String::new()));
                    lines.len() - 1
                });
                lines[at].1 += part;
                if part.ends_with('\n') {
                    open[slot] = None;
                }
            }
        }
        lines
    }

    proptest! {
        #[test]
        fn a_tail_is_the_last_lines_whole(
            chunks in proptest::collection::vec((any::<bool>(), "[ab\n]{1,6}"), 0..30),
            most in 0usize..12,
            size in prop_oneof![Just(None), Just(Some(400u64))],
        ) {
            let folder = tempfile::tempdir().unwrap();
            let limits = LogSettings { max_size: size, max_file: Some(100), ..LogSettings::default() };
            let mut writer = LogWriter::open(folder.path(), &limits);
            for (is_error, chunk) in &chunks {
                let source = if *is_error { Source::Error } else { Source::Output };
                writer.write(source, chunk.as_bytes(), Timestamp::now());
            }
            let lines = lines_of(&chunks);
            let last = &lines[lines.len().saturating_sub(most)..];
            let expected = [false, true].map(|stream| {
                let own = last.iter().filter(|(is_error, _)| *is_error == stream);
                own.map(|(_, text)| text.as_str()).collect::<String>()
            });
            prop_assert_eq!(tail_of(folder.path(), most), expected);
        }
    }

    /// Each line must not search all remembered lines: that would take hours.
    #[test]
    fn a_long_tail_of_many_lines_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = LogWriter::open(folder.path(), &LogSettings::default());
        let lines: String = (0..300_000).map(|number| format!("{number}\n")).collect();
        writer.write(Source::Output, lines.as_bytes(), Timestamp::now());
        let [output, _] = tail_of(folder.path(), 100_000);
        assert!(output.starts_with("200000\n") && output.ends_with("\n299999\n"));
    }
}
