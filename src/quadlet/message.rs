//! Messages about files: problems, because of which no unit is made, and warnings.

use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceLine {
    /// The file.
    pub file: Rc<Path>,
    /// Number of the line, from 1.
    pub number: usize,
}

/// Message about a file, or about one of its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileMessage {
    /// Line that the message is about.
    pub place: Option<SourceLine>,
    /// File that the message is about as a whole.
    pub file: Option<PathBuf>,
    /// The text.
    pub text: String,
}

/// Reason why no unit is made from a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileProblem(pub FileMessage);

impl FileProblem {
    /// Problem of a file as a whole.
    pub fn of(file: &Path, text: impl fmt::Display) -> Self {
        Self(FileMessage { place: None, file: Some(file.to_owned()), text: text.to_string() })
    }
}

impl FileMessage {
    /// Path of the file that the problem is about.
    pub fn path(&self) -> Option<&Path> {
        self.place.as_ref().map(|place| &*place.file).or(self.file.as_deref())
    }
}

impl SourceLine {
    /// Returns a problem at this line.
    pub fn problem(&self, text: impl Into<String>) -> FileProblem {
        FileProblem(FileMessage { file: None, place: Some(self.clone()), text: text.into() })
    }
}

impl fmt::Display for FileMessage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.place, &self.file) {
            (Some(SourceLine { file, number }), _) => {
                write!(formatter, "{}:{number}: {}", file.display(), self.text)
            }
            (None, Some(file)) => write!(formatter, "{}: {}", file.display(), self.text),
            (None, None) => formatter.write_str(&self.text),
        }
    }
}

impl fmt::Display for FileProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}
