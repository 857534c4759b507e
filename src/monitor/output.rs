//! Destination of the command's output: a file, the journal, or nowhere.

use std::path::Path;

use jiff::Timestamp;

use super::journal::Journal;
use super::log::{LogWriter, Source};
use super::record::{JournalMark, LogDriver, Record};

/// Log of one container.
#[derive(Debug)]
pub enum Log {
    /// A log file in the container's folder.
    File(LogWriter),
    /// The systemd journal.
    Journal(Journal),
    /// No log.
    Nowhere,
}

impl Log {
    /// Opens the container's log for appending, creating a missing one.
    pub fn open(folder: &Path, record: &Record) -> Self {
        match record.log.driver {
            LogDriver::File => Self::File(LogWriter::open(folder, &record.log)),
            LogDriver::Journald => Self::Journal(Journal::open(record)),
            LogDriver::None | LogDriver::Passthrough => Self::Nowhere,
        }
    }

    /// Logs bytes that came from `source`.
    pub fn write(&mut self, source: Source, bytes: &[u8]) {
        match self {
            Self::File(writer) => writer.write(source, bytes, Timestamp::now()),
            Self::Journal(journal) => journal.write(source, bytes),
            Self::Nowhere => {}
        }
    }

    /// Logs a message of the monitor itself.
    pub fn say(&mut self, text: &str) {
        self.write(Source::Ourselves, format!("{text}\n").as_bytes());
    }

    /// Completes the log: no more output comes. Returns the last entry in the journal, if the log is there.
    pub fn finish(&mut self) -> Option<JournalMark> {
        match self {
            Self::File(writer) => {
                writer.finish(Timestamp::now());
                None
            }
            Self::Journal(journal) => journal.finish(),
            Self::Nowhere => None,
        }
    }
}
