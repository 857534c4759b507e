//! Folders: look-up of names, and listings that can be continued.

use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;

use rustix::io::Errno;

use super::format::{
    FolderEntryHeader, FolderHeader, FolderIndexEntry, InodeKind, InodeRef, LONGEST_NAME,
    METADATA_SIZE, MOST_BELOW_HEADER,
};
use super::image::{ListingKey, SquashfsImage};
use super::inode::{FolderContent, Inode, InodeContent};
use super::metadata::{MetadataCursor, MetadataPosition};

/// Cookies of callers: 0 for the start, 1 and 2 for `.` and `..`.
const RESERVED_COOKIES: u64 = 2;

/// Bits of a cookie for the entries below a header; the header's position in the listing is above.
const INDEX_BITS: u32 = 9;

/// Entry of a folder.
#[derive(Clone, Copy, Debug)]
pub struct ListedEntry<'a> {
    /// Name: neither empty, nor `.` or `..`, nor with a `/` or zero.
    pub name: &'a OsStr,
    /// Location of the inode.
    pub reference: InodeRef,
    /// [`Inode::number`].
    pub number: u64,
    /// Kind of file, as the folder has it.
    pub kind: InodeKind,
    /// Cookie to continue behind this entry; over 2, and fit for lseek(2).
    pub next: u64,
}

/// Name that was read last.
struct EntryName {
    bytes: [u8; LONGEST_NAME],
    size: usize,
}

/// Entry of a listing without its name.
struct EntryFields {
    reference: InodeRef,
    number: u64,
    kind: InodeKind,
}

/// Position in a listing, from header to header.
struct ListingCursor<'a> {
    cursor: MetadataCursor<'a>,
    /// Bytes of the listing before the cursor, and of all of it.
    passed: u64,
    size: u64,
    header: FolderHeader,
    /// Position of the header, and the bytes of the listing before.
    header_start: (u64, MetadataPosition),
    /// Entries below the header: before the cursor, and all.
    index: u32,
    count: u32,
}

impl EntryName {
    fn new() -> Self {
        Self { bytes: [0; LONGEST_NAME], size: 0 }
    }

    fn read(&mut self, cursor: &mut MetadataCursor<'_>, size: usize) -> Result<(), Errno> {
        self.size = size;
        cursor.read(self.bytes.get_mut(..size).ok_or(Errno::IO)?)
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.size).unwrap_or_default()
    }
}

impl<'a> ListingCursor<'a> {
    fn new(cursor: MetadataCursor<'a>, passed: u64, size: u64) -> Self {
        let header_start = (passed, cursor.position());
        let header = FolderHeader { count: 0, block: 0, number: 0 };
        Self { cursor, passed, size, header, header_start, index: 0, count: 0 }
    }

    /// Reads the next entry; `None` at the end.
    fn next(&mut self, name: &mut EntryName) -> Result<Option<EntryFields>, Errno> {
        if self.index == self.count && !self.read_header()? {
            return Ok(None);
        }
        let entry = FolderEntryHeader::parse(&self.cursor.take()?);
        let name_size = usize::from(entry.name_size) + 1;
        name.read(&mut self.cursor, name_size)?;
        self.pass(FolderEntryHeader::SIZE + name_size)?;
        self.index += 1;
        let number = i64::from(self.header.number) + i64::from(entry.number);
        Ok(Some(EntryFields {
            reference: InodeRef::new(self.header.block, entry.offset),
            number: u64::try_from(number).map_err(|_| Errno::IO)?,
            kind: InodeKind::of_entry(entry.kind).ok_or(Errno::IO)?,
        }))
    }

    /// Reads a header; false at the end of the listing.
    fn read_header(&mut self) -> Result<bool, Errno> {
        if self.passed >= self.size {
            return Ok(false);
        }
        self.header_start = (self.passed, self.cursor.position());
        self.header = FolderHeader::parse(&self.cursor.take()?);
        self.pass(FolderHeader::SIZE)?;
        if self.header.count >= MOST_BELOW_HEADER {
            return Err(Errno::IO);
        }
        (self.index, self.count) = (0, self.header.count + 1);
        Ok(true)
    }

    fn pass(&mut self, count: usize) -> Result<(), Errno> {
        self.passed += count as u64;
        match self.passed <= self.size {
            true => Ok(()),
            false => Err(Errno::IO),
        }
    }

    /// Cookie to continue here.
    fn cookie(&self) -> u64 {
        (self.header_start.0 << INDEX_BITS | u64::from(self.index)) + RESERVED_COOKIES
    }
}

impl SquashfsImage {
    /// Looks up a name in a folder. Errors: ENOTDIR for another kind of file, ENAMETOOLONG over 255 bytes.
    pub fn lookup(&self, folder: &Inode, name: &OsStr) -> Result<Option<InodeRef>, Errno> {
        let content = folder_content(folder)?;
        let name = name.as_bytes();
        if name.len() > LONGEST_NAME {
            return Err(Errno::NAMETOOLONG);
        }
        if content.size == 0 {
            return Ok(None);
        }
        let mut listing = self.listing_before(content, |_, first| first <= name)?;
        let mut found = EntryName::new();
        while let Some(entry) = listing.next(&mut found)? {
            match found.as_bytes().cmp(name) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => return Ok(Some(entry.reference)),
                std::cmp::Ordering::Greater => break,
            }
        }
        Ok(None)
    }

    /// Lists a folder without `.` and `..`, from a cookie on: 0 to 2 for the start, else the `next` of the last entry
    /// that the caller took. The order is the image's: by name. When `visit` breaks, its entry counts as not taken.
    /// Errors: ENOTDIR for another kind of file; EIO for a name that no file can have.
    pub fn list(
        &self,
        folder: &Inode,
        from: u64,
        mut visit: impl FnMut(&ListedEntry<'_>) -> ControlFlow<()>,
    ) -> Result<(), Errno> {
        let content = folder_content(folder)?;
        let from = from.saturating_sub(RESERVED_COOKIES);
        let (passed, index) = (from >> INDEX_BITS, from & ((1 << INDEX_BITS) - 1));
        if passed >= content.size {
            return Ok(());
        }
        let mut listing = self.listing_at(folder.reference, content, passed)?;
        let mut name = EntryName::new();
        for _ in 0..index {
            if listing.next(&mut name)?.is_none() {
                return Ok(());
            }
        }
        loop {
            // Header of the entry before, with which the caller's next cookie begins.
            let (passed, position) = listing.header_start;
            let Some(entry) = listing.next(&mut name)? else { return Ok(()) };
            let EntryFields { reference, number, kind } = entry;
            let name = checked_name(name.as_bytes())?;
            let entry = ListedEntry { name, reference, number, kind, next: listing.cookie() };
            if visit(&entry).is_break() {
                self.positions.insert(ListingKey { folder: folder.reference, passed }, position);
                return Ok(());
            }
        }
    }

    /// Opens a listing at a header.
    fn listing_at(
        &self,
        folder: InodeRef,
        content: &FolderContent,
        passed: u64,
    ) -> Result<ListingCursor<'_>, Errno> {
        if let Some(position) = self.positions.get(&ListingKey { folder, passed }) {
            let cursor = self.folder_cursor(position)?;
            return Ok(ListingCursor::new(cursor, passed, content.size));
        }
        let mut listing = self.listing_before(content, |position, _| position <= passed)?;
        listing.cursor.skip(passed - listing.passed)?;
        Ok(ListingCursor::new(listing.cursor, passed, content.size))
    }

    /// Opens a listing at the last header of the index that `is_before` the place of interest; at the start without
    /// index. `is_before` takes the position in the listing and the first name behind.
    fn listing_before(
        &self,
        content: &FolderContent,
        is_before: impl Fn(u64, &[u8]) -> bool,
    ) -> Result<ListingCursor<'_>, Errno> {
        let offset = usize::from(content.offset);
        let mut best = (0, self.folder_position(content.block, offset));
        if content.index_count > 0 {
            let mut index = self.metadata.cursor(content.index, self.inodes_end())?;
            let mut name = EntryName::new();
            for _ in 0..content.index_count {
                let entry = FolderIndexEntry::parse(&index.take()?);
                let size = (entry.name_size as usize).checked_add(1).ok_or(Errno::IO)?;
                name.read(&mut index, size)?;
                let passed = u64::from(entry.position);
                if !is_before(passed, name.as_bytes()) || passed >= content.size {
                    break;
                }
                // Full blocks all the way: the offset goes on in steps of the listing.
                let offset = (offset + entry.position as usize) % METADATA_SIZE;
                best = (passed, self.folder_position(entry.block, offset));
            }
        }
        let (passed, position) = best;
        Ok(ListingCursor::new(self.folder_cursor(position)?, passed, content.size))
    }
}

fn folder_content(inode: &Inode) -> Result<&FolderContent, Errno> {
    match &inode.content {
        InodeContent::Folder(content) => Ok(content),
        _ => Err(Errno::NOTDIR),
    }
}

/// Returns a name that a file can have.
fn checked_name(name: &[u8]) -> Result<&OsStr, Errno> {
    match matches!(name, b"." | b"..") || name.iter().any(|byte| matches!(byte, 0 | b'/')) {
        true => Err(Errno::IO),
        false => Ok(OsStr::from_bytes(name)),
    }
}
