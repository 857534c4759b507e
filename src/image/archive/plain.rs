//! Archives as files that can be read at any offset. A compressed archive, or one from a pipe, is first written to an
//! unnamed temporary file.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use crate::error::{Context, Result};
use crate::fail;
use crate::files;
use crate::image::compression::{self, Compression, sniff_section};
use crate::image::file_range::FileRange;

/// Archive to read.
#[derive(Debug)]
pub enum ArchiveSource {
    /// File of this name.
    File(PathBuf),
    /// Stream of the caller, such as standard input.
    Stream(File),
}

impl ArchiveSource {
    /// Returns the archive that the name `file` stands for; `-` is `stream`. Errors: there is no stream.
    pub fn named(file: &Path, stream: Option<&File>) -> Result<Self> {
        match (file == Path::new("-"), stream) {
            (false, _) => Ok(Self::File(file.to_owned())),
            (true, Some(stream)) => {
                Ok(Self::Stream(stream.try_clone().context(|| "cannot duplicate a stream")?))
            }
            (true, None) => fail!(Invalid: "an archive called '-' needs a stream to read from"),
        }
    }

    /// Path of the file; `-` for a stream.
    pub fn path(&self) -> &Path {
        match self {
            Self::File(path) => path,
            Self::Stream(_) => Path::new("-"),
        }
    }
}

/// Name in messages.
impl fmt::Display for ArchiveSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Stream(_) => f.write_str("standard input"),
        }
    }
}

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

/// Opens the archive, uncompressed and readable at any offset.
pub fn open_plain(source: &ArchiveSource, tmp: &Path) -> Result<File> {
    let open = || match source {
        ArchiveSource::File(path) => plain(File::open(path).context(|| "cannot open it")?, tmp),
        ArchiveSource::Stream(stream) => plain_stream(stream, tmp),
    };
    open().context(|| source.to_string())
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
