//! How a layer or an archive is compressed, told by its first bytes (media types lie, in good faith most of the time),
//! and what it is without that.

use std::io::{self, BufReader, Cursor, Read};

use flate2::bufread::MultiGzDecoder;

use super::section::Section;
use crate::error::{Error, Result};

const BUFFER: usize = 128 << 10;

/// The longest of the signatures below.
const SIGNATURE: usize = 6;

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

impl Compression {
    /// What a stream that begins with `head` is. Errors: compressed in a way that is not read here.
    fn of(head: &[u8]) -> Result<Self> {
        match head {
            [0x1f, 0x8b, ..] => Ok(Self::Gzip),
            // A frame, or one to be skipped (RFC 8878, 3.1.1 and 3.1.2), with which pzstd's begin.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Self::Zstd),
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, ..] => Err(foreign("bzip2")),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Err(foreign("xz")),
            _ => Ok(Self::None),
        }
    }

    /// The uncompressed bytes of `packed`. Several gzip members and zstd frames in a row are one stream; anything else
    /// after the last one is an error.
    pub fn decode<'a>(self, packed: impl Read + 'a) -> Result<Plain<'a>> {
        let buffer = |packed| BufReader::with_capacity(BUFFER, packed);
        let stream: Box<dyn Read + 'a> = match self {
            Self::None => Box::new(packed),
            Self::Gzip => Box::new(MultiGzDecoder::new(buffer(packed))),
            Self::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(buffer(packed))?),
        };
        Ok(Plain { compression: self, stream })
    }
}

fn foreign(name: &str) -> Error {
    Error::new(format!(
        "it is compressed with {name}, which usnea does not read: only gzip and zstd"
    ))
}

/// How the stream is compressed, and all of it still.
pub fn sniff<'a>(mut packed: impl Read + 'a) -> Result<(Compression, impl Read + 'a)> {
    let mut head = Vec::with_capacity(SIGNATURE);
    packed.by_ref().take(SIGNATURE as u64).read_to_end(&mut head)?;
    Ok((Compression::of(&head)?, Cursor::new(head).chain(packed)))
}

/// How a part of a file is compressed.
pub fn sniff_section(section: &Section) -> Result<Compression> {
    let mut head = [0; SIGNATURE];
    let length = section.peek(&mut head)?;
    Compression::of(head.get(..length).unwrap_or_default())
}

/// The uncompressed bytes of `packed`, whatever it is.
pub fn open<'a>(packed: impl Read + 'a) -> Result<Plain<'a>> {
    let (compression, packed) = sniff(packed)?;
    compression.decode(packed)
}

/// An uncompressed stream. Its errors are ours: they say what is wrong with which compression.
pub struct Plain<'a> {
    compression: Compression,
    stream: Box<dyn Read + 'a>,
}

impl Plain<'_> {
    fn failed(&self, error: io::Error) -> Error {
        let name = match self.compression {
            Compression::None => return error.into(),
            Compression::Gzip => "gzip",
            Compression::Zstd => "zstd",
        };
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return Error::new(format!("its {name} stream is cut off"));
        }
        // What the source fails with is not the stream's fault.
        match error.downcast::<Error>() {
            Ok(ours) => ours,
            Err(error) => {
                Error::new(format!("its {name} stream is no good: {}", Error::from(error)))
            }
        }
    }
}

impl Read for Plain<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.stream.read(room) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                answer => return answer.map_err(|error| io::Error::other(self.failed(error))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_told_apart_from_names_that_look_alike() {
        for (head, compression) in [
            (&b""[..], Compression::None),
            (b"\x1f", Compression::None),
            (b"\x1f\x8b", Compression::Gzip),
            (b"\x28\xb5\x2f\xfd", Compression::Zstd),
            (b"\x51\x2a\x4d\x18\0\0", Compression::Zstd),
            // A tar whose first file is called so.
            (b"BZh9\0\0", Compression::None),
            (b"7zXZ\0\0", Compression::None),
        ] {
            assert_eq!(Compression::of(head).unwrap(), compression, "{head:?}");
        }
        for head in [b"BZh91A", b"\xfd7zXZ\0"] {
            assert!(Compression::of(head).is_err(), "{head:?}");
        }
    }
}
