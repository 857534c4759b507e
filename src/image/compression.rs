//! Compression of layers and archives: detected by the first bytes (media types are often wrong, mostly in good faith),
//! and decoding.

use std::io::{self, BufReader, Cursor, Read};

use flate2::bufread::MultiGzDecoder;

use super::file_range::FileRange;
use super::manifest::media;
use crate::error::{Error, Result};

const BUFFER: usize = 128 << 10;

/// Memory limit for an xz stream, in bytes: the writer chooses the size of the dictionary. `xz -9` needs 65 MiB.
const XZ_MEMORY: u64 = 256 << 20;

/// Length of the longest signature below.
const SIGNATURE: usize = 6;

/// Compression of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// None, or an unknown format.
    None,
    /// Gzip (RFC 1952).
    Gzip,
    /// Zstandard (RFC 8878).
    Zstd,
    /// The .xz file format.
    Xz,
    /// The bzip2 format.
    Bzip2,
}

impl Compression {
    /// Detects the compression of a stream that begins with `head`.
    fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            // A frame, or a skippable frame (RFC 8878, 3.1.1 and 3.1.2), with which pzstd's streams begin.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            // A block, or the end of an empty stream.
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, ..]
            | [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72, ..] => Self::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            _ => Self::None,
        }
    }

    /// Media type of such a layer in an OCI manifest. `None`: no such type, so the layer must be compressed anew.
    pub fn oci_layer(self) -> Option<&'static str> {
        match self {
            Self::None => Some(media::OCI_LAYER),
            Self::Gzip => Some(media::OCI_LAYER_GZIP),
            Self::Zstd => Some(media::OCI_LAYER_ZSTD),
            Self::Xz | Self::Bzip2 => None,
        }
    }

    /// Media type of such a layer in a docker manifest.
    pub fn docker_layer(self) -> Option<&'static str> {
        match self {
            Self::None => Some(media::DOCKER_LAYER),
            Self::Gzip => Some(media::DOCKER_LAYER_GZIP),
            Self::Zstd | Self::Xz | Self::Bzip2 => None,
        }
    }

    /// Decodes `packed`. Several gzip members, zstd frames, xz or bzip2 streams in a row are one stream; any other
    /// bytes after the last are an error.
    pub fn decode<'a>(self, packed: impl Read + 'a) -> Result<Plain<'a>> {
        let buffer = |packed| BufReader::with_capacity(BUFFER, packed);
        let stream: Box<dyn Read + 'a> = match self {
            Self::None => Box::new(packed),
            Self::Gzip => Box::new(MultiGzDecoder::new(buffer(packed))),
            Self::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(buffer(packed))?),
            Self::Xz => {
                let flags = liblzma::stream::CONCATENATED;
                let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, flags);
                let stream = stream.map_err(io::Error::from)?;
                Box::new(liblzma::bufread::XzDecoder::new_stream(buffer(packed), stream))
            }
            Self::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(buffer(packed))),
        };
        Ok(Plain { compression: self, stream })
    }
}

/// Detects the compression of a stream. Also returns the whole stream, first bytes included.
pub fn sniff<'a>(mut packed: impl Read + 'a) -> Result<(Compression, impl Read + 'a)> {
    let mut head = Vec::with_capacity(SIGNATURE);
    packed.by_ref().take(SIGNATURE as u64).read_to_end(&mut head)?;
    Ok((Compression::of(&head), Cursor::new(head).chain(packed)))
}

/// Detects the compression of a part of a file.
pub fn sniff_section(range: &FileRange) -> Result<Compression> {
    let mut head = [0; SIGNATURE];
    let length = range.peek(&mut head)?;
    Ok(Compression::of(head.get(..length).unwrap_or_default()))
}

/// Decodes `packed`, whatever its compression.
pub fn open<'a>(packed: impl Read + 'a) -> Result<Plain<'a>> {
    let (compression, packed) = sniff(packed)?;
    compression.decode(packed)
}

/// An uncompressed stream. Its errors are ours: they name the compression and the problem.
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
            Compression::Xz => "xz",
            Compression::Bzip2 => "bzip2",
        };
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return Error::new(format!("its {name} stream is cut off"));
        }
        // An error of the source is not the compression's fault.
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
    fn signatures_are_distinguished_from_names_that_look_alike() {
        for (head, compression) in [
            (&b""[..], Compression::None),
            (b"\x1f", Compression::None),
            (b"\x1f\x8b", Compression::Gzip),
            (b"\x28\xb5\x2f\xfd", Compression::Zstd),
            (b"\x51\x2a\x4d\x18\0\0", Compression::Zstd),
            // A tar whose first file has such a name.
            (b"BZh9\0\0", Compression::None),
            (b"7zXZ\0\0", Compression::None),
            (b"BZh91A", Compression::Bzip2),
            (b"BZh9\x17\x72", Compression::Bzip2),
            (b"\xfd7zXZ\0", Compression::Xz),
        ] {
            assert_eq!(Compression::of(head), compression, "{head:?}");
        }
    }

    #[test]
    fn several_streams_in_a_row_are_one_and_what_is_cut_off_is_an_error() {
        let tar: Vec<u8> = (0..200_000u32).flat_map(|one| (one / 7).to_le_bytes()).collect();
        let xz = |bytes: &[u8]| {
            let mut all = Vec::new();
            liblzma::read::XzEncoder::new(bytes, 1).read_to_end(&mut all).unwrap();
            all
        };
        let bzip2 = |bytes: &[u8]| {
            let mut all = Vec::new();
            bzip2::read::BzEncoder::new(bytes, bzip2::Compression::fast())
                .read_to_end(&mut all)
                .unwrap();
            all
        };
        let (one, two) = tar.split_at(300_001);
        for packed in [[xz(one), xz(two)].concat(), [bzip2(one), bzip2(two)].concat()] {
            let mut plain = Vec::new();
            open(&packed[..]).unwrap().read_to_end(&mut plain).unwrap();
            assert!(plain == tar);
            let cut = open(&packed[..packed.len() - 9]).unwrap().read_to_end(&mut plain);
            let error = Error::from(cut.unwrap_err()).to_string();
            assert!(error.contains("stream is cut off"), "{error}");
            let mut damaged = packed.clone();
            let middle = damaged.len() / 2;
            damaged[middle] ^= 0x10;
            assert!(open(&damaged[..]).unwrap().read_to_end(&mut plain).is_err());
        }
    }
}
