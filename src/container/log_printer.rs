//! Printer of log lines: those that were asked for, each stream to its own.

use std::io::{self, Write};

use jiff::Timestamp;

use crate::monitor::log::{LogLine, Source};

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

/// Index of the stream that shows lines of `source`: 0 is standard output, 1 standard error.
pub(super) fn slot(source: Source) -> usize {
    match source {
        Source::Output => 0,
        Source::Error | Source::Ourselves => 1,
    }
}

impl LogRequest {
    /// True if the line is in the span of time.
    pub(super) fn shows(&self, line: &LogLine<'_>) -> bool {
        if self.since.is_none() && self.until.is_none() {
            return true;
        }
        let Some(time) = line.timestamp() else { return true };
        self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time <= until)
    }
}

/// Printer of the lines of one log.
pub(super) struct LogPrinter<'a> {
    pub(super) request: &'a LogRequest,
    streams: [&'a mut dyn Write; 2],
    /// True for each stream whose last line is not complete yet.
    is_mid_line: [bool; 2],
    /// True for each stream whose current line is skipped.
    pub(super) skips: [bool; 2],
    /// Index of the stream that was written to last.
    last: usize,
}

impl<'a> LogPrinter<'a> {
    pub(super) fn new(
        request: &'a LogRequest,
        output: &'a mut dyn Write,
        error: &'a mut dyn Write,
    ) -> Self {
        let streams = [output, error];
        Self { request, streams, is_mid_line: [false; 2], skips: [false; 2], last: 0 }
    }

    /// Passes all bytes on: a reader may wait for them.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.streams.iter_mut().try_for_each(|stream| stream.flush())
    }

    /// Prints a line, if it was asked for.
    pub(super) fn print(&mut self, line: &LogLine<'_>) -> io::Result<()> {
        if !self.request.shows(line) {
            return Ok(());
        }
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
