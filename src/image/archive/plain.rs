//! Archives as files that can be read at any offset. A compressed archive, or one from a pipe, is first written to an
//! unnamed temporary file.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;

use crate::error::{Context, Result};
use crate::files;
use crate::image::compression::{self, Compression, sniff_section};
use crate::image::file_range::FileRange;

/// Writes all of `reader` to an unnamed file on the filesystem of `tmp`; returns the file at its beginning.
pub fn spool(reader: &mut dyn Read, tmp: &Path) -> Result<File> {
    let mut file = tempfile::tempfile_in(tmp).map_err(|error| files::cannot_write(error, tmp))?;
    let mut room = vec![0; 256 * 1024];
    loop {
        let length = match reader.read(&mut room) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error).context(|| "cannot read it"),
        };
        let written = io::Write::write_all(&mut file, room.get(..length).unwrap_or_default());
        written.map_err(|error| files::cannot_write(error, tmp))?;
    }
    file.rewind().context(|| "a temporary file")?;
    Ok(file)
}

/// Opens the archive at `path` (`-`: standard input), uncompressed and readable at any offset.
pub fn open_plain(path: &Path, tmp: &Path) -> Result<File> {
    if path == Path::new("-") {
        return plain_stream(io::stdin(), tmp).context(|| "standard input");
    }
    let open = || -> Result<File> { plain(File::open(path).context(|| "cannot open it")?, tmp) };
    open().context(|| path.display().to_string())
}

/// Returns the archive in `file`, uncompressed and readable at any offset.
pub fn plain(file: File, tmp: &Path) -> Result<File> {
    if !file.metadata().context(|| "cannot look at it")?.is_file() {
        return plain_stream(file, tmp);
    }
    let section = FileRange::whole(file.try_clone().context(|| "cannot read it")?)?;
    match sniff_section(&section)? {
        Compression::None => Ok(file),
        compression => spool(&mut compression.decode(section)?, tmp),
    }
}

fn plain_stream(stream: impl Read, tmp: &Path) -> Result<File> {
    spool(&mut compression::open(stream)?, tmp)
}
