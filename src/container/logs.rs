//! `usnea logs`: the recorded output of a container.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use jiff::Timestamp;

use super::log_printer::{LogPrinter, LogRequest, slot};
use super::stop::ended_within;
use super::{Container, attach, journal_log};
use crate::error::{Context, Result};
use crate::fail;
use crate::monitor::log::{FILE, LogChanges, LogLine, Position, Reader};
use crate::monitor::record::LogDriver;

/// Writes the log to `output` and `error`. Errors: the log driver keeps no log, or the journal cannot be read; `output`
/// cannot be written.
pub fn logs(
    container: &Container,
    request: &LogRequest,
    output: &mut dyn Write,
    error: &mut dyn Write,
) -> Result<()> {
    match container.record.log.driver {
        LogDriver::File => {}
        LogDriver::Journald => {
            attach::catch_up(container);
            let mut printer = LogPrinter::new(request, output, error);
            return journal_log::print(container, &mut printer);
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
    let mut printer = LogPrinter::new(request, output, error);
    go_to_start(&mut printer, &mut reader).context(phrase)?;
    print_all(&mut printer, &mut reader).context(phrase)?;
    if let Some(mut watch) = watch {
        loop {
            let goes_on = watch.wait()?;
            print_all(&mut printer, &mut reader).context(phrase)?;
            let is_over = request.until.is_some_and(|until| Timestamp::now() > until);
            if !goes_on || is_over {
                break;
            }
        }
    }
    Ok(())
}

/// Goes to the first line that is shown. A line whose beginning was removed by rotation is not.
fn go_to_start(printer: &mut LogPrinter<'_>, reader: &mut Reader) -> io::Result<()> {
    for source in reader.cut_lines()? {
        printer.skips[slot(source)] = true;
    }
    if let Some(tail) = printer.request.tail {
        let start = Tail::find(reader, tail, printer)?;
        reader.seek(start.position);
        printer.skips = start.is_mid_line;
    }
    Ok(())
}

/// Prints all lines so far and flushes: a reader may wait for an incomplete line.
fn print_all(printer: &mut LogPrinter<'_>, reader: &mut Reader) -> io::Result<()> {
    while reader.read(|line| LogLine::parse(line).map_or(Ok(()), |line| printer.print(&line)))? {
        reader.close_read();
    }
    printer.flush()
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
    fn find(reader: &mut Reader, most: usize, printer: &LogPrinter<'_>) -> io::Result<Start> {
        let (request, is_mid_line) = (printer.request, printer.skips);
        let mut tail = Self { starts: VecDeque::new(), most, is_mid_line };
        let first = Start { position: reader.position(), is_mid_line };
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
    use crate::monitor::log::{LogWriter, Source};
    use crate::monitor::record::LogSettings;

    /// Returns the output of the last `most` lines of the log in `folder`, for each stream.
    fn tail_of(folder: &std::path::Path, most: usize) -> [String; 2] {
        shown(folder, Some(most))
    }

    fn shown(folder: &std::path::Path, tail: Option<usize>) -> [String; 2] {
        let request = LogRequest { tail, ..LogRequest::default() };
        let (mut output, mut error) = (Vec::new(), Vec::new());
        let mut reader = Reader::open(folder, FILE).unwrap();
        let mut printer = LogPrinter::new(&request, &mut output, &mut error);
        go_to_start(&mut printer, &mut reader).unwrap();
        print_all(&mut printer, &mut reader).unwrap();
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

    #[test]
    fn a_line_that_rotation_has_cut_is_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let limits =
            LogSettings { max_size: Some(400), max_file: Some(2), ..LogSettings::default() };
        let mut writer = LogWriter::open(folder.path(), &limits);
        let mut was_cut = false;
        for number in 0..60 {
            for (source, name) in [(Source::Output, "out"), (Source::Error, "err")] {
                writer.write(
                    source,
                    format!("begin {name} {number} ").as_bytes(),
                    Timestamp::now(),
                );
            }
            for (source, name) in [(Source::Output, "out"), (Source::Error, "err")] {
                writer.write(source, format!("end {name}\n").as_bytes(), Timestamp::now());
                let oldest =
                    ["log.1", "log"].map(|name| std::fs::read_to_string(folder.path().join(name)));
                let oldest = oldest.into_iter().find_map(Result::ok).unwrap();
                was_cut |= oldest.lines().next().unwrap().ends_with(" P ");
                for tail in [None, Some(3), Some(1000)] {
                    for (text, name) in shown(folder.path(), tail).iter().zip(["out", "err"]) {
                        for line in text.lines() {
                            assert!(line.starts_with(&format!("begin {name} ")), "{text}");
                        }
                    }
                }
            }
        }
        assert!(was_cut);
        // An endless line: its end is better than nothing.
        (0..60).for_each(|_| writer.write(Source::Output, b"more ", Timestamp::now()));
        assert!(shown(folder.path(), None)[0].starts_with("more "));
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
