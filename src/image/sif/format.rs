//! On-disk format of SIF, version 01: header and descriptors. All numbers are little endian.
//!
//! ```text
//!  header (128 bytes) | ... | descriptors (585 bytes each) | ... | data objects
//!
//!  header:      launch line 32, magic 10, version 3, architecture 3, UUID 16, times 2 * 8, free descriptors 8,
//!               descriptors 8, their offset 8, their length 8, data offset 8, data length 8
//!  descriptor:  type 4, used 1, ID 4, group 4, link 4, offset 8, size 8, padded size 8, times 2 * 8, owner 2 * 8,
//!               name 128, extra 384
//! ```
//!
//! Source: package sif of github.com/apptainer/sif and of github.com/sylabs/sif. Texts are padded with zeros.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;

use super::SifPart;
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::hint;

/// Bytes of the header.
pub(super) const HEADER: usize = 128;
/// Bytes of a descriptor.
pub(super) const DESCRIPTOR: usize = 585;
/// Bytes of the part of a descriptor that depends on the type.
#[cfg(test)]
pub(super) const EXTRA: usize = 384;
/// Offset of that part in a descriptor.
const EXTRA_AT: usize = 201;
/// Bits that mark the number of a group of objects, also as the link of a signature.
pub(super) const GROUP_MARK: u32 = 0xf000_0000;
/// Offset of the magic.
pub(super) const MAGIC_AT: u64 = 32;
/// Text that marks a SIF file.
pub(super) const MAGIC: [u8; 10] = *b"SIF_MAGIC\0";
/// Most descriptors: the writers' default is 48, and an OCI-SIF has one for each layer.
const MOST_DESCRIPTORS: u64 = 4096;

/// Type of a data object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SifKind {
    /// Definition file that the image was built from.
    DefinitionFile,
    /// Environment variables.
    Environment,
    /// Labels, in JSON.
    Labels,
    /// File system.
    Partition,
    /// Signature of other objects.
    Signature,
    /// Index of an OCI image layout.
    OciIndex,
    /// Blob of an OCI image layout.
    OciBlob,
    /// Object that a container does not need.
    Other,
}

impl SifKind {
    fn of_number(number: i32) -> Self {
        match number {
            0x4001 => Self::DefinitionFile,
            0x4002 => Self::Environment,
            0x4003 => Self::Labels,
            0x4004 => Self::Partition,
            0x4005 => Self::Signature,
            0x400a => Self::OciIndex,
            0x400b => Self::OciBlob,
            _ => Self::Other,
        }
    }
}

/// Data object, within the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SifObject {
    /// Type.
    pub(super) kind: SifKind,
    /// Number of the object.
    pub(super) id: u32,
    /// Group of the object, with [`GROUP_MARK`].
    pub(super) group: u32,
    /// Object or group that a signature is of.
    pub(super) link: u32,
    /// Offset in the file, in bytes.
    pub(super) offset: u64,
    /// Length in bytes.
    pub(super) size: u64,
    descriptor: [u8; DESCRIPTOR],
}

/// Facts about a partition, in its descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PartitionFacts {
    /// Number of the file system's type.
    pub(super) filesystem: i32,
    /// Number of the partition's use.
    pub(super) purpose: i32,
    /// Architecture of the programs by Go's name; `None`: unknown.
    pub(super) architecture: Option<&'static str>,
}

impl SifObject {
    /// Part of the descriptor that depends on the type.
    fn extra(&self) -> &[u8] {
        &self.descriptor[EXTRA_AT..]
    }

    /// Place of the object in the file.
    pub(super) fn part(&self) -> SifPart {
        SifPart { offset: self.offset, size: self.size }
    }

    /// Part of the descriptor that signatures cover, with this number for the ID.
    pub(super) fn signed_descriptor(&self, relative_id: u32) -> Vec<u8> {
        let all = &self.descriptor;
        // Type and use; link; size; time of creation; owner, name and the part that depends on the type.
        let rest = [&all[13..17], &all[25..33], &all[41..49], &all[57..]].concat();
        [&all[..5], &relative_id.to_le_bytes(), &rest].concat()
    }

    /// True if the descriptor of a signature names this fingerprint.
    pub(super) fn names_signer(&self, fingerprint: &[u8; 20]) -> bool {
        // After the type of the hash.
        field::<20>(self.extra(), 4) == *fingerprint
    }

    /// Facts about a partition.
    pub(super) fn partition(&self) -> PartitionFacts {
        PartitionFacts {
            filesystem: i32::from_le_bytes(field(self.extra(), 0)),
            purpose: i32::from_le_bytes(field(self.extra(), 4)),
            architecture: architecture(field(self.extra(), 8)),
        }
    }

    /// Text in the descriptor of an OCI object: the digest of its content.
    pub(super) fn digest_text(&self) -> Option<&str> {
        let text = self.extra().split(|byte| *byte == 0).next()?;
        str::from_utf8(text).ok()
    }

    /// Reads the object. Errors: more than `limit` bytes.
    pub(super) fn read(&self, file: &File, limit: u64) -> Result<Vec<u8>> {
        if self.size > limit {
            fail!(Invalid: "an object of {} bytes, more than {limit}", self.size);
        }
        let mut bytes = vec![0; usize::try_from(self.size).unwrap_or(0)];
        file.read_exact_at(&mut bytes, self.offset).map_err(explain)?;
        Ok(bytes)
    }
}

/// Contents of a SIF file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SifTable {
    header: [u8; HEADER],
    /// Architecture of the primary partition by Go's name; `None`: unknown.
    pub(super) architecture: Option<&'static str>,
    /// Data objects, in the order of their descriptors.
    pub(super) objects: Vec<SifObject>,
}

impl SifTable {
    /// Reads header and descriptors. Errors: another format or version; numbers beyond the end of the file.
    pub(super) fn read(file: &File) -> Result<Self> {
        let length = file.metadata()?.len();
        let mut header = [0; HEADER];
        file.read_exact_at(&mut header, 0).map_err(explain)?;
        if field(&header, 32) != MAGIC {
            fail!(Invalid: "not a SIF file");
        }
        let version: [u8; 3] = field(&header, 42);
        if version != *b"01\0" {
            let version = version.escape_ascii();
            fail!(Invalid: "SIF of version '{version}' is not known, only of version 01");
        }
        let (count, start) = (number(&header, 88)?, number(&header, 96)?);
        if count > MOST_DESCRIPTORS {
            fail!(Invalid: "{count} descriptors, more than {MOST_DESCRIPTORS}");
        }
        let size = count * DESCRIPTOR as u64;
        within(start, size, length).context(|| "the descriptors")?;
        let mut table = vec![0; usize::try_from(size).unwrap_or(0)];
        file.read_exact_at(&mut table, start).map_err(explain)?;
        let objects = table.chunks_exact(DESCRIPTOR).filter_map(|bytes| object(bytes, length));
        Ok(Self {
            header,
            architecture: architecture(field(&header, 45)),
            objects: objects.collect::<Result<_>>()?,
        })
    }

    /// Part of the header that signatures cover: launch line, magic, version, UUID.
    pub(super) fn signed_header(&self) -> Vec<u8> {
        [&self.header[..45], &self.header[48..64]].concat()
    }

    /// Objects of a type.
    pub(super) fn of(&self, kind: SifKind) -> impl Iterator<Item = &SifObject> {
        self.objects.iter().filter(move |object| object.kind == kind)
    }
}

/// Parses a descriptor. `None`: an unused one.
fn object(bytes: &[u8], length: u64) -> Option<Result<SifObject>> {
    if field(bytes, 4) == [0] {
        return None;
    }
    let id = u32::from_le_bytes(field(bytes, 5));
    let parse = || -> Result<SifObject> {
        let (offset, size) = (number(bytes, 17)?, number(bytes, 25)?);
        within(offset, size, length)?;
        Ok(SifObject {
            kind: SifKind::of_number(i32::from_le_bytes(field(bytes, 0))),
            id,
            group: u32::from_le_bytes(field(bytes, 9)),
            link: u32::from_le_bytes(field(bytes, 13)),
            offset,
            size,
            descriptor: field(bytes, 0),
        })
    };
    Some(parse().context(|| format!("data object {id}")))
}

/// Returns `N` bytes of a record; zeros beyond its end.
fn field<const N: usize>(record: &[u8], at: usize) -> [u8; N] {
    record.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

/// Reads an offset, a length or a count. Errors: a negative one.
fn number(record: &[u8], at: usize) -> Result<u64> {
    let number = i64::from_le_bytes(field(record, at));
    u64::try_from(number)
        .map_err(|_| Error::invalid(format!("a negative length or offset: {number}")))
}

/// Checks that a part is in a file of `length` bytes.
fn within(offset: u64, size: u64, length: u64) -> Result<()> {
    match offset.checked_add(size) {
        Some(end) if end <= length => Ok(()),
        Some(end) => {
            let error = format!("it ends at byte {end} of a file of {length} bytes");
            Err(Error::invalid(error).hint(hint::COPY_AGAIN))
        }
        None => fail!(Invalid: "it ends beyond all numbers"),
    }
}

/// Error of a read from the file.
pub(super) fn explain(error: std::io::Error) -> Error {
    match error.kind() {
        ErrorKind::UnexpectedEof => Error::invalid("not a SIF file: it is too short"),
        _ => error.into(),
    }
}

/// Go's name of an architecture's code.
fn architecture(code: [u8; 3]) -> Option<&'static str> {
    Some(match &code {
        b"01\0" => "386",
        b"02\0" => "amd64",
        b"03\0" => "arm",
        b"04\0" => "arm64",
        b"05\0" => "ppc64",
        b"06\0" => "ppc64le",
        b"07\0" => "mips",
        b"08\0" => "mipsle",
        b"09\0" => "mips64",
        b"10\0" => "mips64le",
        b"11\0" => "s390x",
        b"12\0" => "riscv64",
        _ => return None,
    })
}
