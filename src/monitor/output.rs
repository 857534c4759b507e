//! Where the command's output is kept: a file, the journal, or nowhere.

use std::path::Path;

use jiff::Timestamp;

use super::journal::Journal;
use super::log::{Source, Writer};
use super::record::{LogDriver, Record};

/// The log of one container.
#[derive(Debug)]
pub enum Log {
    /// A file.
    File(Writer),
    /// The journal.
    Journal(Journal),
    /// Nowhere.
    Nowhere,
}

impl Log {
    /// Goes on with the container's log, or begins it.
    pub fn open(folder: &Path, record: &Record) -> Self {
        match record.log.driver {
            LogDriver::File => Self::File(Writer::open(folder, &record.log)),
            LogDriver::Journald => Self::Journal(Journal::open(record)),
            LogDriver::None | LogDriver::Passthrough => Self::Nowhere,
        }
    }

    /// Keeps what came from `source`.
    pub fn write(&mut self, source: Source, bytes: &[u8]) {
        match self {
            Self::File(writer) => writer.write(source, bytes, Timestamp::now()),
            Self::Journal(journal) => journal.write(source, bytes),
            Self::Nowhere => {}
        }
    }

    /// A word of our own.
    pub fn say(&mut self, text: &str) {
        self.write(Source::Ourselves, format!("{text}\n").as_bytes());
    }

    /// No more comes.
    pub fn finish(&mut self) {
        match self {
            Self::File(writer) => writer.finish(Timestamp::now()),
            Self::Journal(journal) => journal.finish(),
            Self::Nowhere => {}
        }
    }
}
