//! Metadata blocks: inodes, listings and tables, compressed by 8 KiB.

use zstd::bulk::Compressor;

use super::area::FileArea;
use super::workers::LEVEL;
use crate::error::{Context, Error, Result};
use crate::layer::squashfs::format::{InodeRef, METADATA_SIZE, MetadataHeader};

/// Metadata blocks of one table, collected in memory in their compressed form.
pub(super) struct MetadataWriter {
    raw: Vec<u8>,
    packed: Vec<u8>,
    room: Vec<u8>,
    starts: Vec<u64>,
    compressor: Compressor<'static>,
}

/// Complete metadata blocks.
pub(super) struct MetadataBlocks {
    /// Blocks with their headers.
    pub(super) bytes: Vec<u8>,
    /// Offset of each block in `bytes`.
    starts: Vec<u64>,
}

impl MetadataWriter {
    /// Starts an empty table.
    pub(super) fn new() -> Result<Self> {
        let compressor = Compressor::new(LEVEL).context(|| "cannot start the compression")?;
        Ok(Self {
            raw: Vec::with_capacity(METADATA_SIZE),
            packed: Vec::new(),
            room: Vec::with_capacity(zstd::compress_bound(METADATA_SIZE)),
            starts: Vec::new(),
            compressor,
        })
    }

    /// Position of the next byte: block and offset. Errors: a table of more than 4 GiB.
    pub(super) fn position(&self) -> Result<InodeRef> {
        let block = u32::try_from(self.packed.len());
        let block = block.map_err(|_| Error::new("a table is larger than squashfs can hold"))?;
        // Below 8192: a full block is written at once.
        Ok(InodeRef::new(block, u16::try_from(self.raw.len()).unwrap_or(0)))
    }

    /// Adds bytes, which may go over several blocks.
    pub(super) fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let length = bytes.len().min(METADATA_SIZE - self.raw.len());
            let (first, rest) = bytes.split_at(length);
            self.raw.extend_from_slice(first);
            bytes = rest;
            if self.raw.len() == METADATA_SIZE {
                self.end_block()?;
            }
        }
        Ok(())
    }

    fn end_block(&mut self) -> Result<()> {
        if self.raw.is_empty() {
            return Ok(());
        }
        self.starts.push(self.packed.len() as u64);
        self.room.clear();
        let packed = self.compressor.compress_to_buffer(&self.raw, &mut self.room);
        packed.context(|| "cannot compress a table")?;
        let (make, bytes): (fn(u16) -> MetadataHeader, _) = match self.room.len() < self.raw.len() {
            true => (MetadataHeader::compressed, &self.room),
            false => (MetadataHeader::uncompressed, &self.raw),
        };
        let header = make(u16::try_from(bytes.len()).unwrap_or(0));
        self.packed.extend_from_slice(&header.0.to_le_bytes());
        self.packed.extend_from_slice(bytes);
        self.raw.clear();
        Ok(())
    }

    /// Ends the table.
    pub(super) fn finish(mut self) -> Result<MetadataBlocks> {
        self.end_block()?;
        Ok(MetadataBlocks { bytes: self.packed, starts: self.starts })
    }
}

impl MetadataBlocks {
    /// Writes the blocks; returns the list of their positions in the file, for the table's index.
    pub(super) fn write(&self, area: &mut FileArea<'_>) -> Result<Vec<u8>> {
        let start = area.position();
        area.write(&self.bytes)?;
        Ok(self.starts.iter().flat_map(|block| (start + block).to_le_bytes()).collect())
    }
}

/// Writes a table of records in metadata blocks, and behind these the list of the blocks. Returns the list's position.
pub(super) fn write_table(
    area: &mut FileArea<'_>,
    records: impl Iterator<Item: AsRef<[u8]>>,
) -> Result<u64> {
    let mut table = MetadataWriter::new()?;
    for record in records {
        table.write(record.as_ref())?;
    }
    let list = table.finish()?.write(area)?;
    let start = area.position();
    area.write(&list)?;
    Ok(start)
}
