//! New files that have no place in the store yet.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::{leads_to, new_file};
use crate::error::Result;

/// Prefix of their names in tmp/.
pub const SPOOL: &str = "spool-";

/// A new, locked file; dropping the value removes it unless it was renamed.
#[derive(Debug)]
pub struct Spool {
    /// Path of the file in tmp/.
    pub path: PathBuf,
    /// The file, open for reading and writing.
    pub file: File,
}

impl Spool {
    /// Makes a file in the folder `tmp`.
    pub fn new(tmp: &Path) -> Result<Self> {
        let (path, file) = new_file(tmp, SPOOL, 0o644)?;
        Ok(Self { path, file })
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if leads_to(&self.path, &self.file) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
