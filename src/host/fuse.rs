//! The FUSE device: whether the caller may use it.

use std::fs::File;
use std::os::unix::fs::MetadataExt;

use crate::error::{Context, Result};
use crate::fail;
use crate::host::hint::Hint;

/// Opens /dev/fuse. Errors: the device is missing, closed to the caller, or another file under that name.
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

/// Checks that a FUSE server of usnea's could serve. Errors: the reason, with a hint.
pub fn usable() -> Result<()> {
    open().map(drop).map_err(|error| error.hint(Hint::Fuse))
}
