//! Writer of the log. Writing never waits for a reader and never fails: lost bytes are counted, and the count is logged
//! once the disk has room. The file consists of whole lines at any time: a line cut short by a full disk is removed.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::{FILE, Source};
use crate::monitor::record::LogSettings;

/// Largest overhead of a line in bytes: time, source and `F` or `P`, plus the newline of an unfinished line.
const LONGEST_HEAD: usize = "2026-11-24T23:28:18.123456789Z stdout F ".len() + 1;

/// Writer of a log file.
#[derive(Debug)]
pub struct LogWriter {
    path: PathBuf,
    pub(super) file: Option<File>,
    /// Size of the file in bytes: whole lines alone.
    length: u64,
    max_size: Option<u64>,
    max_file: u32,
    lost: u64,
    why: String,
    batch: Vec<u8>,
    /// Sources whose last line is unfinished.
    unfinished: Vec<Source>,
}

impl LogWriter {
    /// Opens the log in `folder` for appending, creating a missing one.
    pub fn open(folder: &Path, settings: &LogSettings) -> Self {
        let mut writer = Self {
            path: folder.join(FILE),
            file: None,
            length: 0,
            max_size: settings.max_size,
            max_file: settings.max_file.unwrap_or(1).max(1),
            lost: 0,
            why: String::new(),
            batch: Vec::new(),
            unfinished: Vec::new(),
        };
        if let Err(error) = writer.reopen() {
            writer.lose(0, &error);
        }
        writer
    }

    fn reopen(&mut self) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file = options.read(true).append(true).create(true).mode(0o600).open(&self.path)?;
        self.length = file.metadata()?.len();
        // Killed within a write: the torn line ends here.
        if self.length > 0 && !ends_line(&file, self.length)? {
            file.write_all(b"\n")?;
            self.length += 1;
        }
        self.file = Some(file);
        Ok(())
    }

    /// Writes bytes that came from `source`: whole lines, and at most one unfinished line at the end.
    pub fn write(&mut self, source: Source, bytes: &[u8], now: Timestamp) {
        if bytes.is_empty() {
            return;
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let piece = self.piece(rest);
            self.write_piece(source, &rest[..piece], now);
            rest = &rest[piece..];
        }
    }

    /// Number of bytes that fit one file: short lines grow to many times their length in the log.
    fn piece(&self, bytes: &[u8]) -> usize {
        let Some(max) = self.max_size else { return bytes.len() };
        let mut taken = 0;
        // Heads of the lines that the last rotation has cut.
        let mut written = (LONGEST_HEAD * self.unfinished.len()) as u64;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            written += (LONGEST_HEAD + line.len()) as u64;
            if taken > 0 && written > max {
                break;
            }
            taken += line.len();
        }
        taken
    }

    /// Writes whole lines and at most one unfinished line, all of them or none.
    fn write_piece(&mut self, source: Source, bytes: &[u8], now: Timestamp) {
        let mut batch = std::mem::take(&mut self.batch);
        batch.clear();
        // The message about lost bytes must come before later output. Written alone, the message would take the last
        // free space again and again, and spread one loss over many lines.
        self.format_loss(&mut batch, now);
        format(&mut batch, source, bytes, now);
        match self.append(&batch, now) {
            Ok(()) => {
                self.lost = 0;
                self.unfinished.retain(|other| *other != source);
                if !bytes.ends_with(b"\n") {
                    self.unfinished.push(source);
                }
            }
            Err(error) => self.lose(bytes.len() as u64, &error),
        }
        self.batch = batch;
    }

    fn format_loss(&self, batch: &mut Vec<u8>, now: Timestamp) {
        if self.lost > 0 {
            let text = format!("{} bytes were lost: {}\n", self.lost, self.why);
            format(batch, Source::Ourselves, text.as_bytes(), now);
        }
    }

    fn lose(&mut self, bytes: u64, error: &io::Error) {
        self.lost += bytes;
        self.why = crate::error::Error::from(io::Error::from(error.kind())).to_string();
        if let Some(number) = error.raw_os_error() {
            self.why = crate::error::Error::from(io::Error::from_raw_os_error(number)).to_string();
        }
    }

    /// Appends all of `lines`, or none.
    fn append(&mut self, lines: &[u8], now: Timestamp) -> io::Result<()> {
        let is_full = |max| self.length > 0 && self.length + lines.len() as u64 > max;
        if self.max_size.is_some_and(is_full) {
            self.rotate()?;
            self.note_unfinished(now)?;
        }
        if self.file.is_none() {
            self.reopen()?;
        }
        let Some(file) = &mut self.file else { return Err(io::ErrorKind::NotFound.into()) };
        match file.write_all(lines) {
            Ok(()) => {
                self.length += lines.len() as u64;
                Ok(())
            }
            Err(error) => {
                let _ = file.set_len(self.length);
                Err(error)
            }
        }
    }

    /// Begins a new file with an empty part of each unfinished line: once the files before are removed, a reader knows
    /// from that part that the beginning of the line is lost ([`super::Reader::cut_lines`]).
    fn note_unfinished(&mut self, now: Timestamp) -> io::Result<()> {
        let part = |source: &Source| format!("{now:.9} {} P \n", source.word());
        let parts: String = self.unfinished.iter().map(part).collect();
        let Some(file) = &mut self.file else { return Ok(()) };
        file.write_all(parts.as_bytes()).inspect_err(|_| drop(file.set_len(self.length)))?;
        self.length += parts.len() as u64;
        Ok(())
    }

    /// Rotates: `log` becomes `log.1`, `log.1` becomes `log.2`, and the last is removed.
    fn rotate(&mut self) -> io::Result<()> {
        let name = |number: u32| match number {
            0 => self.path.clone(),
            number => self.path.with_extension(number.to_string()),
        };
        let last = name(self.max_file - 1);
        match std::fs::remove_file(&last) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        for number in (0..self.max_file - 1).rev() {
            match std::fs::rename(name(number), name(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.file = None;
        self.reopen()
    }

    /// Reports lost bytes a last time, at the end of the output.
    pub fn finish(&mut self, now: Timestamp) {
        let mut line = Vec::new();
        self.format_loss(&mut line, now);
        if !line.is_empty() && self.append(&line, now).is_ok() {
            self.lost = 0;
        }
    }
}

fn ends_line(file: &File, length: u64) -> io::Result<bool> {
    let mut last = [0];
    std::os::unix::fs::FileExt::read_exact_at(file, &mut last, length - 1)?;
    Ok(last == *b"\n")
}

fn format(to: &mut Vec<u8>, source: Source, bytes: &[u8], now: Timestamp) {
    let head = format!("{now:.9} {} ", source.word());
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        to.extend(head.as_bytes());
        let is_whole = line.ends_with(b"\n");
        to.extend(if is_whole { b"F " } else { b"P " });
        to.extend(line);
        if !is_whole {
            to.push(b'\n');
        }
    }
}
