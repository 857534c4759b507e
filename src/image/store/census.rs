//! What is in a folder: how many, how large, how much of the disk.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Result};

/// Bytes of a block, whatever the file system's own are (stat(2), st_blocks).
const BLOCK: u64 = 512;

/// What tells whether a folder still holds what it held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Census {
    /// Everything below it.
    pub nodes: u64,
    /// Bytes of the regular files, a file with two names twice.
    pub bytes: u64,
}

/// Counts what is below `folder`. Errors: something cannot be looked at.
pub fn census(folder: &Path) -> Result<Census> {
    let mut census = Census::default();
    each(folder, |metadata| {
        census.nodes += 1;
        census.bytes += if metadata.is_file() { metadata.len() } else { 0 };
    })?;
    // The folder itself.
    census.nodes = census.nodes.saturating_sub(1);
    Ok(census)
}

/// The part of the disk that `path`, a file or a folder with all below it, takes, in bytes: a file with two names once.
pub fn disk_use(path: &Path) -> Result<u64> {
    let mut counted = HashSet::new();
    let mut blocks = 0;
    each(path, |metadata| {
        let is_first = metadata.nlink() == 1 || counted.insert((metadata.dev(), metadata.ino()));
        blocks += if metadata.is_dir() || is_first { metadata.blocks() } else { 0 };
    })?;
    Ok(blocks * BLOCK)
}

fn each(path: &Path, mut tell: impl FnMut(&std::fs::Metadata)) -> Result<()> {
    let failed = |error: walkdir::Error| {
        let shown = error.path().unwrap_or(path).display().to_string();
        let cause = error.into_io_error().map_or_else(|| Error::new("a loop"), Error::from);
        Err::<(), _>(cause).context(|| format!("cannot look at {shown}"))
    };
    for entry in walkdir::WalkDir::new(path) {
        match entry.and_then(|entry| entry.metadata()) {
            Ok(metadata) => tell(&metadata),
            Err(error) => failed(error)?,
        }
    }
    Ok(())
}
