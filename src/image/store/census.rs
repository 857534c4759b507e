//! Counts of a folder's content: number of nodes, bytes, disk space.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Result};

/// Bytes of a block in st_blocks, whatever the file system's own block size (stat(2)).
const BLOCK: u64 = 512;

/// Count that reveals whether a folder has lost content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Census {
    /// Number of files and folders below the folder.
    pub nodes: u64,
    /// Bytes of the regular files; a file with two names counts twice.
    pub bytes: u64,
}

/// Counts the content of `folder`. Errors: a node cannot be read.
pub fn census(folder: &Path) -> Result<Census> {
    let mut census = Census::default();
    each(folder, |metadata| {
        census.nodes += 1;
        census.bytes += if metadata.is_file() { metadata.len() } else { 0 };
    })?;
    // The folder itself is not counted.
    census.nodes = census.nodes.saturating_sub(1);
    Ok(census)
}

/// Disk space in bytes of `path`, a file or a folder with all below it. A file with two names counts once.
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
