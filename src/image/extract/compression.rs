//! How a layer is compressed, told by its first bytes: media types lie, in good faith most of the time.

use std::io::{self, BufReader, Cursor, Read};

use flate2::bufread::MultiGzDecoder;

use crate::error::{Context, Error, Result};

const BUFFER: usize = 128 << 10;

/// The longest of the signatures below.
const SIGNATURE: usize = 6;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    fn of(head: &[u8]) -> Result<Self> {
        match head {
            [0x1f, 0x8b, ..] => Ok(Self::Gzip),
            // A frame, or one to be skipped (RFC 8878, 3.1.1 and 3.1.2), with which pzstd's begin.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Self::Zstd),
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41] => Err(foreign("bzip2")),
            [0xfd, b'7', b'z', b'X', b'Z', 0] => Err(foreign("xz")),
            _ => Ok(Self::None),
        }
    }
}

fn foreign(name: &str) -> Error {
    Error::new(format!("compressed with {name}: layers are plain, gzip or zstd"))
}

/// The uncompressed stream of a layer.
pub(super) struct Plain<'a> {
    compression: Compression,
    stream: Box<dyn Read + 'a>,
}

/// Looks at the first bytes of `packed`, and reads it as what they say. Several gzip members and zstd frames in a row
/// are one stream; anything else after the last one is an error.
pub(super) fn open<'a>(mut packed: impl Read + 'a) -> Result<Plain<'a>> {
    let mut head = Vec::with_capacity(SIGNATURE);
    packed.by_ref().take(SIGNATURE as u64).read_to_end(&mut head).map_err(cause)?;
    let compression = Compression::of(&head)?;
    let whole = Cursor::new(head).chain(packed);
    let stream: Box<dyn Read + 'a> = match compression {
        Compression::None => Box::new(whole),
        Compression::Gzip => Box::new(MultiGzDecoder::new(BufReader::with_capacity(BUFFER, whole))),
        Compression::Zstd => {
            let buffer = BufReader::with_capacity(BUFFER, whole);
            Box::new(zstd::stream::read::Decoder::with_buffer(buffer)?)
        }
    };
    Ok(Plain { compression, stream })
}

impl Plain<'_> {
    /// Reads some of it; 0: it is over.
    pub(super) fn read(&mut self, room: &mut [u8]) -> Result<usize> {
        loop {
            match self.stream.read(room) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                answer => return answer.map_err(|error| self.failed(error)),
            }
        }
    }

    fn failed(&self, error: io::Error) -> Error {
        let is_cut = error.kind() == io::ErrorKind::UnexpectedEof;
        match self.compression {
            Compression::Gzip if is_cut => Error::new("its gzip stream is cut off"),
            Compression::Zstd if is_cut => Error::new("its zstd stream is cut off"),
            Compression::None => cause(error),
            _ if error.get_ref().is_some_and(|inner| inner.is::<Error>()) => cause(error),
            Compression::Gzip => wrong("gzip", error),
            Compression::Zstd => wrong("zstd", error),
        }
    }
}

fn wrong(name: &str, error: io::Error) -> Error {
    match Err::<(), _>(error).context(|| format!("its {name} stream is no good")) {
        Err(error) => error,
        Ok(()) => super::stream::stopped(),
    }
}

/// An error of ours that came through a reader keeps its hint.
fn cause(error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(ours) => ours,
        Err(error) => error.into(),
    }
}
