//! PID file: the number of a process, for whoever started the runtime.

use std::path::Path;

use crate::error::Result;
use crate::files;
use crate::sys::inode;

/// Writes the number of a process; a reader sees the whole number or no file. Errors: the folder is gone.
pub fn write(path: &Path, pid: i32) -> Result<()> {
    files::replace_quickly(path, pid.to_string().as_bytes())?;
    // As runc's: other users may read it.
    let file = std::fs::File::open(path).map_err(|error| files::cannot_write(error, path))?;
    inode::change_mode(&file, 0o644).map_err(|error| files::cannot_write(error.into(), path))
}
