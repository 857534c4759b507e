//! OCI part of a squashfs file: the image's configuration, manifest and names, behind the file system. Other programs
//! that read squashfs do not see it.
//!
//! ```text
//!  offset  bytes
//!  0       8      magic, "USNEAOCI"
//!  8       4      version: 1
//!  12      4      length N of the document
//!  16      32     SHA-256 of the document
//!  48      N      document: JSON
//!          up to  zeros, to a multiple of 4096
//! ```
//!
//! Offsets count from the first multiple of 4096 bytes at or behind the end of the file system (`bytes_used` of the
//! superblock), from the start of the squashfs. Numbers are little endian. The document has `configuration` and
//! `manifest`, each the text of the image's own document, byte for byte, and `names`, a list of references. The manifest
//! describes the layers that were merged; the file does not contain them. Unknown fields are ignored. A reader refuses
//! another version.

use std::fs::File;
use std::os::unix::fs::FileExt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::{Context, Error, Result};
use crate::fail;
use crate::image::manifest::LARGEST;

const TRAILER_MAGIC: [u8; 8] = *b"USNEAOCI";
const VERSION: u32 = 1;
const HEADER: usize = 48;

/// Most bytes of a document: the configuration and the manifest, with every byte escaped.
const MOST: u64 = 16 * LARGEST;

/// OCI part of a squashfs file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct ImageTrailer {
    /// Configuration of the image (image spec, config.md), as the image has it.
    pub configuration: String,
    /// Manifest of the image, as the image has it.
    pub manifest: String,
    /// Names of the image.
    #[serde(default)]
    pub names: Vec<String>,
}

impl ImageTrailer {
    /// Encodes the part, without the zeros at its end. Errors: a document that no reader would accept.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let document = serde_json::to_vec(self).map_err(Error::new)?;
        let length = u32::try_from(document.len()).ok();
        let length = length.filter(|length| u64::from(*length) <= MOST);
        let length = length.ok_or_else(|| Error::new("the image's configuration is too large"))?;
        let mut bytes = Vec::from(TRAILER_MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&Sha256::digest(&document));
        bytes.extend_from_slice(&document);
        Ok(bytes)
    }

    /// Reads the part at `offset` of a file. `None`: there is none. Errors: a damaged part, or one of another version.
    pub fn read(file: &File, offset: u64) -> Result<Option<Self>> {
        let mut header = [0; HEADER];
        match file.read_exact_at(&mut header, offset) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
            answer => answer?,
        }
        let mut fields = header.as_slice();
        if take(&mut fields) != Some(TRAILER_MAGIC) {
            return Ok(None);
        }
        let numbers = (take(&mut fields).map(u32::from_le_bytes), take(&mut fields));
        let (Some(version), Some(length)) = numbers else { return Err(damaged()) };
        if version != VERSION {
            fail!("its image configuration has version {version}, and {VERSION} alone is known");
        }
        let length = u32::from_le_bytes(length);
        if u64::from(length) > MOST {
            return Err(damaged());
        }
        let mut document = vec![0; usize::try_from(length).map_err(|_| damaged())?];
        let start = offset.checked_add(HEADER as u64).ok_or_else(damaged)?;
        file.read_exact_at(&mut document, start).map_err(|_| damaged())?;
        if take(&mut fields) != Some(<[u8; 32]>::from(Sha256::digest(&document))) {
            return Err(damaged());
        }
        serde_json::from_slice(&document).map_err(Error::new).context(|| "its image configuration")
    }
}

fn take<const N: usize>(fields: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = fields.split_first_chunk()?;
    *fields = rest;
    Some(*first)
}

fn damaged() -> Error {
    Error::new("its image configuration is damaged")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::layer::squashfs::format::END_ALIGNMENT;

    fn trailer() -> ImageTrailer {
        ImageTrailer {
            configuration: "{\"os\":\"linux\"}".to_owned(),
            manifest: "{\n \"schemaVersion\": 2}".to_owned(),
            names: vec!["localhost/x:1".to_owned()],
        }
    }

    fn read(bytes: &[u8]) -> Result<Option<ImageTrailer>> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[&[0; 4096][..], bytes].concat()).unwrap();
        ImageTrailer::read(&file, END_ALIGNMENT)
    }

    #[test]
    fn the_part_is_read_as_it_was_written() {
        let bytes = trailer().to_bytes().unwrap();
        assert_eq!(read(&bytes).unwrap(), Some(trailer()));
        assert_eq!(read(&[&bytes[..], &[0; 99]].concat()).unwrap(), Some(trailer()));
    }

    #[test]
    fn a_file_without_the_part_is_no_error() {
        assert_eq!(read(b"").unwrap(), None);
        assert_eq!(read(&[0; 4096]).unwrap(), None);
    }

    #[test]
    fn every_damaged_byte_is_found() {
        let bytes = trailer().to_bytes().unwrap();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            let read = read(&damaged);
            assert!(read.is_err() || at < 8 && read.unwrap().is_none(), "byte {at}");
        }
        for length in HEADER..bytes.len() {
            assert!(read(&bytes[..length]).is_err(), "cut to {length}");
        }
    }
}
