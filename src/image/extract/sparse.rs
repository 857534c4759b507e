//! Files with holes: GNU tar's old format and its three PAX formats (tar manual, "Storing Sparse Files").

use crate::error::{Error, Result};

/// Most regions of a file, at 16 bytes each: more than any real file needs.
const MOST_REGIONS: usize = 1 << 17;

/// A part of a file between holes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Region {
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// A file with holes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SparseMap {
    /// Regions in order, without overlap, inside the file.
    pub(super) regions: Vec<Region>,
    /// Length of the file, holes included.
    pub(super) size: u64,
}

impl SparseMap {
    /// Validates the map of a file of `size` bytes, `stored` of which are in the tar. Errors: regions out of order,
    /// overlapping or outside the file, or a sum other than `stored`.
    pub(super) fn new(regions: Vec<Region>, size: u64, stored: u64) -> Result<Self> {
        let (mut end, mut sum) = (0u64, 0u64);
        for region in &regions {
            let next = region.offset.checked_add(region.length).filter(|next| *next <= size);
            end = next.filter(|_| region.offset >= end).ok_or_else(malformed)?;
            sum = sum.checked_add(region.length).ok_or_else(malformed)?;
        }
        if sum == stored { Ok(Self { regions, size }) } else { Err(malformed()) }
    }
}

/// The error for any invalid map.
pub(super) fn malformed() -> Error {
    Error::new("its map of holes is malformed")
}

/// Adds a region. Errors: too many.
pub(super) fn push(map: &mut Vec<Region>, region: Region) -> Result<()> {
    if map.len() >= MOST_REGIONS {
        return Err(Error::new(format!("has more than {MOST_REGIONS} regions between holes")));
    }
    map.push(region);
    Ok(())
}

/// Parses the map of format 0.1: `offset,length,offset,length`. `None`: malformed.
pub(super) fn with_commas(value: &[u8]) -> Result<Option<Vec<Region>>> {
    let mut map = Vec::new();
    if value.is_empty() {
        return Ok(Some(map));
    }
    let mut numbers = value.split(|byte| *byte == b',').map(decimal);
    while let Some(offset) = numbers.next() {
        let (Some(offset), Some(Some(length))) = (offset, numbers.next()) else { return Ok(None) };
        push(&mut map, Region { offset, length })?;
    }
    Ok(Some(map))
}

fn decimal(text: &[u8]) -> Option<u64> {
    super::number::decimal(text)
}

/// Parses the map of format 1.0, which precedes the content: a count and that many pairs, one number on each line.
#[derive(Default)]
pub(super) struct SparseLines {
    line: Vec<u8>,
    count: Option<u64>,
    offset: Option<u64>,
    map: Vec<Region>,
}

impl SparseLines {
    /// Parses a block of the map; true if the map is complete.
    pub(super) fn block(&mut self, block: &[u8]) -> Result<bool> {
        for byte in block {
            if self.is_complete() {
                break;
            }
            match byte {
                b'\n' => self.end_of_line()?,
                // A number of 64 bits has at most 20 digits.
                b'0'..=b'9' if self.line.len() < 20 => self.line.push(*byte),
                _ => return Err(malformed()),
            }
        }
        Ok(self.is_complete())
    }

    fn is_complete(&self) -> bool {
        self.count == Some(self.map.len() as u64)
    }

    fn end_of_line(&mut self) -> Result<()> {
        let digits = std::mem::take(&mut self.line);
        let number = decimal(&digits).ok_or_else(malformed)?;
        match (self.count, self.offset.take()) {
            (None, _) => self.count = Some(number),
            (Some(_), None) => self.offset = Some(number),
            (Some(_), Some(offset)) => push(&mut self.map, Region { offset, length: number })?,
        }
        Ok(())
    }

    /// Returns the parsed map.
    pub(super) fn into_map(self) -> Vec<Region> {
        self.map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(offset: u64, length: u64) -> Region {
        Region { offset, length }
    }

    #[test]
    fn a_map_is_in_order_and_inside_the_file() {
        let good = vec![region(0, 5), region(5, 5), region(20, 0), region(20, 10), region(30, 0)];
        assert!(SparseMap::new(good.clone(), 30, 20).is_ok());
        assert!(SparseMap::new(good.clone(), 29, 20).is_err());
        assert!(SparseMap::new(good, 30, 19).is_err());
        assert!(SparseMap::new(vec![region(5, 5), region(0, 5)], 30, 10).is_err());
        assert!(SparseMap::new(vec![region(0, 5), region(4, 5)], 30, 10).is_err());
        assert!(SparseMap::new(vec![region(u64::MAX, 5)], u64::MAX, 5).is_err());
        assert!(SparseMap::new(vec![], u64::MAX, 0).is_ok());
    }

    #[test]
    fn the_map_of_format_1_0_goes_over_blocks() {
        let mut lines = SparseLines::default();
        assert!(!lines.block(b"2\n0\n51").unwrap());
        assert!(lines.block(b"2\n1024\n7\n\0\0rest").unwrap());
        assert_eq!(lines.into_map(), [region(0, 512), region(1024, 7)]);
        for wrong in [&b"\n"[..], b"x", b"1\n-1\n", b"111111111111111111111\n", b"1\n\0"] {
            assert!(SparseLines::default().block(wrong).is_err(), "{}", wrong.escape_ascii());
        }
        assert!(SparseLines::default().block(b"0\n").unwrap());
    }
}
