//! Reader of a log of lines: all files that rotation has left (`NAME.1` is the newest of them), and lines written
//! later.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::Source;

/// Line of the log, split into its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLine<'a> {
    /// Time at which the monitor read the bytes from the command, as in the log.
    pub time: &'a str,
    /// Source of the line.
    pub source: Source,
    /// Bytes of the line, without the newline.
    pub bytes: &'a [u8],
    /// False if the line continues in the next line of its source.
    pub is_whole: bool,
}

impl<'a> LogLine<'a> {
    /// Parses a line, without its newline. `None`: not a log line.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let mut parts = line.splitn(4, |byte| *byte == b' ');
        let time = std::str::from_utf8(parts.next()?).ok()?;
        let source = match parts.next()? {
            b"stdout" => Source::Output,
            b"stderr" => Source::Error,
            b"usnea" => Source::Ourselves,
            _ => return None,
        };
        let is_whole = match parts.next()? {
            b"F" => true,
            b"P" => false,
            _ => return None,
        };
        Some(Self { time, source, bytes: parts.next().unwrap_or_default(), is_whole })
    }

    /// Time at which the monitor read the line from the command.
    pub fn timestamp(&self) -> Option<Timestamp> {
        self.time.parse().ok()
    }
}

/// Reader of a log, from its oldest line on.
#[derive(Debug)]
pub struct Reader {
    folder: PathBuf,
    name: &'static str,
    /// Files of the log, the oldest first. Those before `current` were read to their end.
    files: Vec<File>,
    current: usize,
    /// Offset in the current file of the first byte of `room`.
    offset: u64,
    room: Vec<u8>,
    /// Bytes of `room` that are read, but not delivered yet.
    filled: usize,
}

/// Reader of a file from its first byte on.
struct FromStart<'a> {
    file: &'a File,
    at: u64,
}

impl io::Read for FromStart<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read_at(room, self.at)?;
        self.at += length as u64;
        Ok(length)
    }
}

/// Place of a line in the open files of a [`Reader`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    file: usize,
    offset: u64,
}

const ROOM: usize = 256 * 1024;

impl Reader {
    /// Opens all existing files of the log with this name.
    pub fn open(folder: &Path, name: &'static str) -> io::Result<Self> {
        let mut reader = Self {
            folder: folder.to_owned(),
            name,
            files: Vec::new(),
            current: 0,
            offset: 0,
            room: vec![0; ROOM],
            filled: 0,
        };
        let mut files = Vec::new();
        // The newest first: a file rotated meanwhile appears again under its next name, and is dropped there.
        let newest = reader.newest()?;
        for number in 1.. {
            match File::open(folder.join(format!("{name}.{number}"))) {
                Ok(file) => files.push(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) => return Err(error),
            }
        }
        files.splice(0..0, newest);
        let mut seen = std::collections::HashSet::new();
        files.retain(|file| file.metadata().is_ok_and(|metadata| seen.insert(metadata.ino())));
        files.reverse();
        reader.files = files;
        Ok(reader)
    }

    fn newest(&self) -> io::Result<Option<File>> {
        match File::open(self.folder.join(self.name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            answer => answer.map(Some),
        }
    }

    /// Passes the lines available now to `each`, until `each` fails. Returns true if more may follow at once.
    pub fn read(&mut self, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<bool> {
        self.read_placed(|_, line| each(line))
    }

    /// Reads like [`Reader::read`], and passes the place of each line.
    pub fn read_placed(
        &mut self,
        mut each: impl FnMut(Position, &[u8]) -> io::Result<()>,
    ) -> io::Result<bool> {
        if self.files.is_empty() {
            self.files.extend(self.newest()?);
        }
        let Some(file) = self.files.get(self.current) else { return Ok(false) };
        if self.filled == self.room.len() {
            self.room.resize(self.room.len() * 2, 0);
        }
        let unread = self.offset + self.filled as u64;
        let length = file.read_at(&mut self.room[self.filled..], unread)?;
        if length == 0 {
            return self.next_file();
        }
        let end = self.filled + length;
        let lines = self.room[..end].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let mut position = self.position();
        for line in self.room[..lines].split_inclusive(|byte| *byte == b'\n') {
            each(position, &line[..line.len() - 1])?;
            position.offset += line.len() as u64;
        }
        self.room.copy_within(lines..end, 0);
        self.filled = end - lines;
        self.offset = position.offset;
        Ok(true)
    }

    /// Returns the sources whose first line has lost its beginning, since rotation has removed the file with it. A line
    /// that does not end in the oldest file is not counted: what is left of an endless line is better than nothing.
    pub fn cut_lines(&self) -> io::Result<Vec<Source>> {
        let Some(oldest) = self.files.first() else { return Ok(Vec::new()) };
        let mut lines = BufReader::new(FromStart { file: oldest, at: 0 });
        let (mut cut, mut ended, mut line) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            line.clear();
            lines.read_until(b'\n', &mut line)?;
            let Some(parsed) = line.strip_suffix(b"\n").and_then(LogLine::parse) else { break };
            match (parsed.is_whole, cut.contains(&parsed.source)) {
                (false, false) if parsed.bytes.is_empty() && ended.is_empty() => {
                    cut.push(parsed.source);
                }
                (true, true) if !ended.contains(&parsed.source) => ended.push(parsed.source),
                _ => {}
            }
            if cut.is_empty() || cut.len() == ended.len() {
                break;
            }
        }
        Ok(ended)
    }

    /// Place of the next line to read.
    pub fn position(&self) -> Position {
        Position { file: self.current, offset: self.offset }
    }

    /// Goes back to the beginning of a line. [`Reader::close_read`] invalidates places.
    pub fn seek(&mut self, position: Position) {
        (self.current, self.offset, self.filled) = (position.file, position.offset, 0);
    }

    /// Closes the files that were read to their end: open files removed by rotation still use disk space.
    pub fn close_read(&mut self) {
        self.files.drain(..self.current);
        self.current = 0;
    }

    /// Moves from the end of a file to the next one, unless the file is the current log.
    fn next_file(&mut self) -> io::Result<bool> {
        if self.current + 1 == self.files.len() {
            let Some(newest) = self.newest()? else { return Ok(false) };
            let inode = |file: &File| file.metadata().map(|metadata| metadata.ino());
            let file = &self.files[self.current];
            if inode(file)? == inode(&newest)? {
                return Ok(false);
            }
            // Rotated: bytes written to the old file between the last read and the rotation must not be missed.
            if file.read_at(&mut [0; 1], self.offset + self.filled as u64)? > 0 {
                return Ok(true);
            }
            // Rotated twice or more since: the files between are older than the newest.
            let between = self.between(&newest)?;
            self.files.extend(between.into_iter().rev());
            self.files.push(newest);
        }
        self.seek(Position { file: self.current + 1, offset: 0 });
        Ok(true)
    }

    /// Opens the files between the current one and the newest, the newest of them first.
    fn between(&self, newest: &File) -> io::Result<Vec<File>> {
        let own = self.files[self.current].metadata()?.ino();
        let newest = newest.metadata()?.ino();
        let mut files = Vec::new();
        for number in 1.. {
            let Ok(file) = File::open(self.folder.join(format!("{}.{number}", self.name))) else {
                break;
            };
            let inode = file.metadata()?.ino();
            if inode == own {
                return Ok(files);
            }
            if inode != newest {
                files.push(file);
            }
        }
        // The current file was removed: all remaining files are newer.
        Ok(files)
    }
}
