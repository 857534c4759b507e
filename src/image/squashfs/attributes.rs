//! Tables of owners and extended attributes. Files with the same attributes share one entry.

use std::collections::HashMap;

use sha2::{Digest as _, Sha256};

use super::area::FileArea;
use super::metadata::{MetadataBlocks, MetadataWriter};
use super::workers::Sum;
use crate::error::{Context, Error, Result};
use crate::layer::squashfs::format::{
    NO_TABLE, NO_XATTRS, XATTR_PREFIXES, XattrListEntry, XattrName, XattrTableHeader,
};

/// Table of user and group IDs.
#[derive(Default)]
pub(super) struct NewIds {
    ids: Vec<u32>,
    known: HashMap<u32, u16>,
}

impl NewIds {
    /// Returns the index of an ID. Errors: more than 65 535 IDs.
    pub(super) fn index(&mut self, id: u32) -> Result<u16> {
        if let Some(known) = self.known.get(&id) {
            return Ok(*known);
        }
        let next = u16::try_from(self.ids.len()).ok().filter(|next| *next < u16::MAX);
        let next = next.ok_or_else(|| {
            Error::new("its files have more than 65535 owners, which squashfs cannot hold")
        })?;
        self.ids.push(id);
        self.known.insert(id, next);
        Ok(next)
    }

    /// Number of IDs.
    pub(super) fn count(&self) -> u16 {
        u16::try_from(self.ids.len()).unwrap_or(u16::MAX)
    }

    /// Entries of the table.
    pub(super) fn records(&self) -> impl Iterator<Item = [u8; 4]> {
        self.ids.iter().map(|id| id.to_le_bytes())
    }
}

/// Table of extended attributes.
pub(super) struct NewXattrs {
    pairs: MetadataWriter,
    lists: MetadataWriter,
    // Lists by the digest of their pairs.
    known: HashMap<Sum, u32>,
    count: u32,
}

impl NewXattrs {
    /// Starts an empty table.
    pub(super) fn new() -> Result<Self> {
        let (pairs, lists) = (MetadataWriter::new()?, MetadataWriter::new()?);
        Ok(Self { pairs, lists, known: HashMap::new(), count: 0 })
    }

    /// Returns the index of a file's attributes. Errors: a name without a form in squashfs, too many attributes.
    pub(super) fn index(&mut self, xattrs: &[(String, Vec<u8>)]) -> Result<u32> {
        if xattrs.is_empty() {
            return Ok(NO_XATTRS);
        }
        let mut pairs = Vec::new();
        for (name, value) in xattrs {
            add_pair(&mut pairs, name, value).context(|| format!("attribute {name}"))?;
        }
        let sum: Sum = Sha256::digest(&pairs).into();
        if let Some(known) = self.known.get(&sum) {
            return Ok(*known);
        }
        let entry = XattrListEntry {
            position: self.pairs.position()?.raw(),
            count: u32::try_from(xattrs.len()).map_err(|_| too_many())?,
            size: u32::try_from(pairs.len()).map_err(|_| too_many())?,
        };
        let index = self.count;
        self.count = index.checked_add(1).filter(|next| *next < NO_XATTRS).ok_or_else(too_many)?;
        self.pairs.write(&pairs)?;
        self.lists.write(&entry.to_bytes())?;
        self.known.insert(sum, index);
        Ok(index)
    }

    /// Writes the table; returns the position of its header. Nothing may follow: the kernel takes the end of the file
    /// system for the end of this table.
    pub(super) fn write(self, area: &mut FileArea<'_>) -> Result<u64> {
        if self.count == 0 {
            return Ok(NO_TABLE);
        }
        let (pairs, lists): (MetadataBlocks, MetadataBlocks) =
            (self.pairs.finish()?, self.lists.finish()?);
        let start = area.position();
        pairs.write(area)?;
        let index = lists.write(area)?;
        let position = area.position();
        let header = XattrTableHeader { start, count: self.count, unused: 0 };
        area.write(&header.to_bytes())?;
        area.write(&index)?;
        Ok(position)
    }
}

fn too_many() -> Error {
    Error::new("more extended attributes than squashfs can hold")
}

fn add_pair(pairs: &mut Vec<u8>, name: &str, value: &[u8]) -> Result<()> {
    let prefixes = (0..).zip(XATTR_PREFIXES);
    let parts = prefixes
        .filter_map(|(prefix, text)| Some((prefix, name.strip_prefix(text)?)))
        .next()
        .ok_or_else(|| Error::new("squashfs has no form for its name"))?;
    let (prefix, rest) = parts;
    let header = XattrName { prefix, size: u16::try_from(rest.len()).map_err(|_| too_many())? };
    pairs.extend_from_slice(&header.to_bytes());
    pairs.extend_from_slice(rest.as_bytes());
    let length = u32::try_from(value.len()).map_err(|_| too_many())?;
    pairs.extend_from_slice(&length.to_le_bytes());
    pairs.extend_from_slice(value);
    Ok(())
}
