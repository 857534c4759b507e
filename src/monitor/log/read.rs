//! Reading a log of lines, over all files that rotation has left (`NAME.1` is the newest of them), and what comes
//! later.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::Source;

/// One line of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// When it was read from the command, as it stands there.
    pub time: &'a str,
    /// Where it came from.
    pub source: Source,
    /// What was written, without the line's end.
    pub bytes: &'a [u8],
    /// Whether it ends here, or goes on in the next line of its source.
    pub is_whole: bool,
}

impl<'a> Line<'a> {
    /// Reads a line, without its end. `None`: it is none of a log.
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

    /// When it was read from the command.
    pub fn timestamp(&self) -> Option<Timestamp> {
        self.time.parse().ok()
    }
}

/// Reads a log from its oldest line on.
#[derive(Debug)]
pub struct Reader {
    folder: PathBuf,
    name: &'static str,
    file: Option<File>,
    /// Older files come first: those with higher numbers.
    older: Vec<File>,
    room: Vec<u8>,
    /// What of `room` was read and not given yet.
    filled: usize,
}

const ROOM: usize = 256 * 1024;

impl Reader {
    /// Opens all files that there are of the log with this name.
    pub fn open(folder: &Path, name: &'static str) -> io::Result<Self> {
        let mut reader = Self {
            folder: folder.to_owned(),
            name,
            file: None,
            older: Vec::new(),
            room: vec![0; ROOM],
            filled: 0,
        };
        let mut files = Vec::new();
        // The newest first: what is rotated meanwhile is met again under its next name, and is dropped there.
        let newest = reader.newest()?;
        for number in 1.. {
            match File::open(folder.join(format!("{name}.{number}"))) {
                Ok(file) => files.push(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) => return Err(error),
            }
        }
        // The newest first.
        files.splice(0..0, newest);
        let mut seen = std::collections::HashSet::new();
        files.retain(|file| file.metadata().is_ok_and(|metadata| seen.insert(metadata.ino())));
        reader.file = files.pop();
        reader.older = files;
        Ok(reader)
    }

    fn newest(&self) -> io::Result<Option<File>> {
        match File::open(self.folder.join(self.name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            answer => answer.map(Some),
        }
    }

    /// Gives `each` the lines that there are by now, until it says false. Whether more may be there at once.
    pub fn read(&mut self, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<bool> {
        if self.file.is_none() {
            self.file = self.newest()?;
        }
        let Some(file) = &mut self.file else { return Ok(false) };
        if self.filled == self.room.len() {
            self.room.resize(self.room.len() * 2, 0);
        }
        let length = file.read(&mut self.room[self.filled..])?;
        if length == 0 {
            return self.next_file();
        }
        let end = self.filled + length;
        let lines = self.room[..end].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        for line in self.room[..lines].split_inclusive(|byte| *byte == b'\n') {
            each(&line[..line.len() - 1])?;
        }
        self.room.copy_within(lines..end, 0);
        self.filled = end - lines;
        Ok(true)
    }

    /// At the end of a file: the next one, if it is not the one that is written.
    fn next_file(&mut self) -> io::Result<bool> {
        if let Some(next) = self.older.pop() {
            self.file = Some(next);
            return Ok(true);
        }
        let Some(newest) = self.newest()? else { return Ok(false) };
        let inode = |file: &File| file.metadata().map(|metadata| metadata.ino());
        let Some(file) = &mut self.file else { return Ok(false) };
        if inode(file)? == inode(&newest)? {
            return Ok(false);
        }
        // Rotated: what was written to the old one between our last look and the change must not be missed.
        let mut rest = [0; 1];
        let before = io::Seek::stream_position(file)?;
        if std::os::unix::fs::FileExt::read_at(file, &mut rest, before)? > 0 {
            return Ok(true);
        }
        // Rotated twice or more since: those between are older than the newest.
        self.older = self.between(&newest)?;
        self.file = Some(match self.older.pop() {
            Some(next) => {
                self.older.insert(0, newest);
                next
            }
            None => newest,
        });
        self.filled = 0;
        Ok(true)
    }

    /// The files that lie between the one in hand and the newest, the newest of them first.
    fn between(&self, newest: &File) -> io::Result<Vec<File>> {
        let own =
            self.file.as_ref().map(File::metadata).transpose()?.map(|metadata| metadata.ino());
        let newest = newest.metadata()?.ino();
        let mut files = Vec::new();
        for number in 1.. {
            let Ok(file) = File::open(self.folder.join(format!("{}.{number}", self.name))) else {
                break;
            };
            let inode = file.metadata()?.ino();
            if Some(inode) == own {
                return Ok(files);
            }
            if inode != newest {
                files.push(file);
            }
        }
        // Ours is gone: all that there are are newer.
        Ok(files)
    }
}
