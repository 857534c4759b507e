//! Compressed streams, told by their first bytes, and archives as files that can be read at any offset: what is
//! compressed or comes through a pipe is first written to a temporary file without a name.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek};
use std::path::Path;

use crate::error::{Context, Error, Result};
use crate::files;
use crate::image::section::Section;

/// How a stream is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all, or in a way that we do not know.
    None,
    /// RFC 1952
    Gzip,
    /// RFC 8878
    Zstd,
}

/// How many bytes tell it.
const MAGIC: usize = 6;

impl Compression {
    /// What a stream that begins with `bytes` is. Errors: compressed in a way that is not read here.
    pub fn of(bytes: &[u8]) -> Result<Self> {
        let unknown = |name: &str| {
            Err(Error::new(format!("it is compressed with {name}, which usnea does not read"))
                .hint(format!("decompress it first: {name} -d FILE")))
        };
        match bytes {
            [0x1f, 0x8b, 8, ..] => Ok(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Self::Zstd),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => unknown("xz"),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => unknown("bzip2"),
            _ => Ok(Self::None),
        }
    }

    /// The decompressed bytes of `reader`.
    pub fn decode<'a>(self, reader: impl Read + 'a) -> Result<Box<dyn Read + 'a>> {
        Ok(match self {
            Self::None => Box::new(reader),
            Self::Gzip => Box::new(flate2::read::MultiGzDecoder::new(reader)),
            Self::Zstd => Box::new(zstd::Decoder::new(reader).context(|| "zstd")?),
        })
    }
}

/// How the stream is compressed, and all of it still.
pub fn sniff<'a>(mut reader: impl Read + 'a) -> Result<(Compression, Box<dyn Read + 'a>)> {
    let mut first = Vec::new();
    reader.by_ref().take(MAGIC as u64).read_to_end(&mut first)?;
    Ok((Compression::of(&first)?, Box::new(Cursor::new(first).chain(reader))))
}

/// How a part of a file is compressed.
pub fn sniff_section(section: &Section) -> Result<Compression> {
    let mut first = [0; MAGIC];
    let length = section.peek(&mut first)?;
    Compression::of(first.get(..length).unwrap_or_default())
}

/// All of `reader` in a file without a name on the filesystem of `tmp`, at its beginning.
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

/// The archive at `path` (`-`: standard input), not compressed and readable at any offset.
pub fn open_plain(path: &Path, tmp: &Path) -> Result<File> {
    if path == Path::new("-") {
        let (compression, stream) = sniff(io::stdin())?;
        return spool(&mut compression.decode(stream)?, tmp).context(|| "standard input");
    }
    let open = || -> Result<File> { plain(File::open(path).context(|| "cannot open it")?, tmp) };
    open().context(|| path.display().to_string())
}

/// The archive in `file`, not compressed and readable at any offset.
pub fn plain(file: File, tmp: &Path) -> Result<File> {
    if !file.metadata().context(|| "cannot look at it")?.is_file() {
        let (compression, stream) = sniff(file)?;
        return spool(&mut compression.decode(stream)?, tmp);
    }
    let section = Section::whole(file.try_clone().context(|| "cannot read it")?)?;
    match sniff_section(&section)? {
        Compression::None => Ok(file),
        compression => spool(&mut compression.decode(section)?, tmp),
    }
}
