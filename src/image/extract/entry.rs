//! Entries of a tar stream in order: header, extensions, attributes, then the content in pieces.

use std::io::BufRead;

use rustix::fs::Timespec;
use tar_core::{EntryType, HEADER_SIZE, Header};

use super::number;
use super::pax::Pax;
use super::sparse::{self, Region, SparseMap};
use crate::error::{Context, Error, Result};

/// Longest extension header in bytes (Go's archive/tar: maxSpecialFileSize).
const LONGEST_EXTENSION: u64 = 1 << 20;

/// Kind of file that an entry creates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EntryKind {
    File,
    HardLink,
    Symlink,
    Folder,
    Pipe,
    Block(u32, u32),
    Character(u32, u32),
}

/// An entry with all its headers merged.
pub(super) struct TarEntry {
    pub(super) kind: EntryKind,
    pub(super) name: Vec<u8>,
    /// Target of a hard or symbolic link.
    pub(super) link: Vec<u8>,
    /// Permissions, setuid, setgid, sticky: at most 07777.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: Timespec,
    /// Bytes of content in the stream.
    pub(super) stored: u64,
    pub(super) sparse: Option<SparseMap>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl TarEntry {
    /// Length of the file, holes included.
    pub(super) fn size(&self) -> u64 {
        self.sparse.as_ref().map_or(self.stored, |sparse| sparse.size)
    }
}

/// Headers that apply to the next entry.
#[derive(Default)]
struct Extensions {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    pax: Option<Pax>,
}

/// Reads a tar stream.
pub(super) struct TarEntries<S> {
    stream: S,
    // Unread content and padding of the current entry.
    left: u64,
    padding: u64,
}

impl<S: BufRead> TarEntries<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, left: 0, padding: 0 }
    }

    /// Reads the next entry; skips the unread rest of the current one. `None`: the end.
    pub(super) fn next(&mut self) -> Result<Option<TarEntry>> {
        self.skip_rest()?;
        let mut extensions = Extensions::default();
        let mut is_first = true;
        while let Some(block) = self.header()? {
            let header = Header::from_bytes(&block);
            header.verify_checksum().map_err(|_| Error::new("a header is not one of tar's"))?;
            match header.entry_type() {
                EntryType::XGlobalHeader => self.pass_over(header)?,
                EntryType::XHeader => {
                    let records = self.extension(header)?;
                    // The last of two headers of one kind counts, as in Go.
                    extensions.pax = Some(Pax::parse(&records)?);
                }
                EntryType::GnuLongName => {
                    extensions.name = Some(until_nul(&self.extension(header)?));
                }
                EntryType::GnuLongLink => {
                    extensions.link = Some(until_nul(&self.extension(header)?));
                }
                _ => return self.entry(header, extensions).map(Some),
            }
            is_first &= header.entry_type().is_pax_global_extensions();
        }
        if is_first { Ok(None) } else { Err(Error::new("ends with a header of no entry")) }
    }

    /// Returns a piece of the current content; empty at its end. The caller reports used bytes to [`TarEntries::consume`].
    pub(super) fn content(&mut self) -> Result<&[u8]> {
        if self.left == 0 {
            return Ok(&[]);
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let bytes = self.stream.fill_buf()?;
        match bytes.get(..most.min(bytes.len())) {
            Some(bytes) if !bytes.is_empty() => Ok(bytes),
            _ => Err(cut_off()),
        }
    }

    /// Marks `length` bytes of the content as used.
    pub(super) fn consume(&mut self, length: usize) {
        self.left = self.left.saturating_sub(length as u64);
        self.stream.consume(length);
    }

    /// Reads the rest of the stream after the last entry.
    pub(super) fn drain(&mut self) -> Result<()> {
        loop {
            let length = self.stream.fill_buf()?.len();
            if length == 0 {
                return Ok(());
            }
            self.stream.consume(length);
        }
    }

    fn skip_rest(&mut self) -> Result<()> {
        self.left = self.left.saturating_add(self.padding);
        self.padding = 0;
        while self.left > 0 {
            let length = self.content()?.len();
            self.consume(length);
        }
        Ok(())
    }

    /// Reads the next block that is not zero. `None`: two zero blocks, or the end of the stream, where many writers
    /// stop.
    fn header(&mut self) -> Result<Option<[u8; HEADER_SIZE]>> {
        let Some(block) = self.block()? else { return Ok(None) };
        if block != [0; HEADER_SIZE] {
            return Ok(Some(block));
        }
        match self.block()? {
            Some(second) if second != [0; HEADER_SIZE] => {
                Err(Error::new("a single empty block among its headers"))
            }
            _ => Ok(None),
        }
    }

    fn block(&mut self) -> Result<Option<[u8; HEADER_SIZE]>> {
        if self.stream.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let mut block = [0; HEADER_SIZE];
        match self.stream.read_exact(&mut block) {
            Ok(()) => Ok(Some(block)),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Err(cut_off()),
            Err(error) => Err(error.into()),
        }
    }

    fn starts(&mut self, size: u64) {
        self.left = size;
        self.padding = (HEADER_SIZE as u64 - size % HEADER_SIZE as u64) % HEADER_SIZE as u64;
    }

    fn pass_over(&mut self, header: &Header) -> Result<()> {
        let size = number::unsigned(&header.as_ustar().size)?;
        self.starts(size);
        self.skip_rest()
    }

    /// Reads the content of an extension header.
    fn extension(&mut self, header: &Header) -> Result<Vec<u8>> {
        let size = number::unsigned(&header.as_ustar().size)?;
        if size > LONGEST_EXTENSION {
            return Err(Error::new(format!("an extended header of {size} bytes")));
        }
        self.starts(size);
        let mut content = Vec::new();
        loop {
            let bytes = self.content()?;
            let length = bytes.len();
            if length == 0 {
                break;
            }
            content.extend_from_slice(bytes);
            self.consume(length);
        }
        self.skip_rest()?;
        Ok(content)
    }

    fn entry(&mut self, header: &Header, extensions: Extensions) -> Result<TarEntry> {
        let mut pax = extensions.pax.unwrap_or_default();
        // GNU's long name takes precedence over a PAX path, as in Go.
        let sparse_name = pax.sparse.name.take();
        let long = extensions.name.or(sparse_name).or_else(|| pax.path.take());
        let name = long.filter(|name| !name.is_empty()).unwrap_or_else(|| short_name(header));
        self.complete(header, pax, extensions.link, &name)
            .map(|entry| TarEntry { name: name.clone(), ..entry })
            .context(|| super::path::printable(&name))
    }

    fn complete(
        &mut self,
        header: &Header,
        pax: Pax,
        long_link: Option<Vec<u8>>,
        name: &[u8],
    ) -> Result<TarEntry> {
        let fields = header.as_ustar();
        let kind = kind(header, name)?;
        let id = |pax: Option<i64>, field| pax.map_or_else(|| number::field(field), Ok);
        let (uid, gid) = (id(pax.uid, &fields.uid), id(pax.gid, &fields.gid));
        let size = pax.size.map_or_else(|| number::unsigned(&fields.size), Ok);
        let mtime = pax.mtime.map_or_else(
            || Ok::<_, Error>(Timespec { tv_sec: number::field(&fields.mtime)?, tv_nsec: 0 }),
            Ok,
        )?;
        let link = long_link.or(pax.link).unwrap_or_else(|| header.link_name_bytes().to_vec());
        let mut entry = TarEntry {
            kind,
            name: Vec::new(),
            link,
            mode: u32::try_from(number::unsigned(&fields.mode)? & 0o7777).unwrap_or_default(),
            uid: uid.and_then(number::id).context(|| "owner")?,
            gid: gid.and_then(number::id).context(|| "group")?,
            mtime,
            stored: 0,
            sparse: None,
            xattrs: pax.xattrs,
        };
        // Other kinds have no content, whatever size their header has (Go's archive/tar: isHeaderOnly).
        if kind == EntryKind::File {
            entry.sparse = self.start_content(header, pax.sparse, size?)?;
            entry.stored = self.left;
        }
        Ok(entry)
    }

    /// Advances to the content, past any map of holes.
    fn start_content(
        &mut self,
        header: &Header,
        pax: super::pax::PaxSparse,
        size: u64,
    ) -> Result<Option<SparseMap>> {
        let mut length = pax.size;
        self.starts(size);
        let map = match (pax.major, pax.minor, pax.map) {
            (Some(1), Some(0), _) => Some(self.map_before_content()?),
            (None | Some(0), None | Some(0 | 1), Some(map)) => Some(map),
            (None, None, None) if header.entry_type().is_gnu_sparse() => {
                length = Some(number::unsigned(&header.as_gnu().realsize)?);
                Some(self.map_of_gnu(header)?)
            }
            (None, None, None) => None,
            _ => return Err(sparse::malformed()),
        };
        let Some(map) = map else { return Ok(None) };
        let length = length.ok_or_else(sparse::malformed)?;
        SparseMap::new(map, length, self.left).map(Some)
    }

    /// Reads the map of PAX format 1.0: lines in the content's first blocks.
    fn map_before_content(&mut self) -> Result<Vec<Region>> {
        let mut lines = sparse::SparseLines::default();
        loop {
            let block = (self.left >= HEADER_SIZE as u64).then(|| self.block()).transpose()?;
            let block = block.flatten().ok_or_else(sparse::malformed)?;
            self.left -= HEADER_SIZE as u64;
            if lines.block(&block)? {
                return Ok(lines.into_map());
            }
        }
    }

    /// Reads the map of GNU's old format: four regions in the header, 21 in each extension block.
    fn map_of_gnu(&mut self, header: &Header) -> Result<Vec<Region>> {
        let gnu = header.try_as_gnu().ok_or_else(sparse::malformed)?;
        let mut map = Vec::new();
        for region in &gnu.sparse {
            add_region(&mut map, &region.offset, &region.numbytes)?;
        }
        let mut goes_on = gnu.isextended != [0];
        while goes_on {
            let block = self.block()?.ok_or_else(cut_off)?;
            let (regions, rest) = block.split_at(21 * 24);
            for region in regions.chunks_exact(24) {
                let (offset, length) = region.split_at(12);
                add_region(&mut map, offset, length)?;
            }
            goes_on = rest.first() != Some(&0);
        }
        Ok(map)
    }
}

fn add_region(map: &mut Vec<Region>, offset: &[u8], length: &[u8]) -> Result<()> {
    // Unused slots are zero.
    if offset.first() == Some(&0) || length.first() == Some(&0) {
        return Ok(());
    }
    let region = Region { offset: number::unsigned(offset)?, length: number::unsigned(length)? };
    sparse::push(map, region)
}

fn cut_off() -> Error {
    Error::new("the tar stream is cut off")
}

fn until_nul(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().take_while(|byte| *byte != 0).collect()
}

fn short_name(header: &Header) -> Vec<u8> {
    match header.prefix() {
        Some(prefix) if !prefix.is_empty() => [prefix, b"/", header.path_bytes()].concat(),
        _ => header.path_bytes().to_vec(),
    }
}

fn kind(header: &Header, name: &[u8]) -> Result<EntryKind> {
    let fields = header.as_ustar();
    let device = || {
        let part = |field| {
            u32::try_from(number::unsigned(field)?).map_err(|_| Error::new("no such device"))
        };
        Ok::<_, Error>((part(&fields.dev_major)?, part(&fields.dev_minor)?))
    };
    Ok(match header.entry_type() {
        // Before POSIX, a trailing slash in the name marked a folder.
        EntryType::Regular if fields.typeflag == [0] && name.ends_with(b"/") => EntryKind::Folder,
        EntryType::Regular | EntryType::Continuous | EntryType::GnuSparse => EntryKind::File,
        EntryType::Link => EntryKind::HardLink,
        EntryType::Symlink => EntryKind::Symlink,
        EntryType::Directory => EntryKind::Folder,
        EntryType::Fifo => EntryKind::Pipe,
        EntryType::Block => device().map(|(major, minor)| EntryKind::Block(major, minor))?,
        EntryType::Char => device().map(|(major, minor)| EntryKind::Character(major, minor))?,
        other => {
            let byte = [other.to_byte()];
            return Err(Error::new(format!(
                "entries of type '{}' are not known",
                byte.escape_ascii()
            )));
        }
    })
}
