//! Whether the FUSE device is there for us.

use std::fs::File;
use std::os::unix::fs::MetadataExt;

use crate::error::{Context, Result};
use crate::fail;
use crate::host::hint::Hint;

/// Opens it. Errors: it is missing, closed to us, or something else by its name.
pub fn open() -> Result<File> {
    let device = File::options()
        .read(true)
        .write(true)
        .open("/dev/fuse")
        .context(|| "cannot open /dev/fuse")?;
    // Sandboxes put an empty file or /dev/null in its place.
    let number = device.metadata()?.rdev();
    if number != rustix::fs::makedev(10, 229) {
        fail!("/dev/fuse is not the FUSE device (10:229)");
    }
    Ok(device)
}

/// Whether a server of ours could serve. Errors: why not, and what to do.
pub fn usable() -> Result<()> {
    open().map(drop).map_err(|error| error.hint(Hint::Fuse))
}
