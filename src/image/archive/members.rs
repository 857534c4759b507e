//! The members of a tar archive, indexed once by reading its headers alone: names and positions. Nothing is unpacked. A
//! link leads to a member of the same archive or nowhere.

use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;

use tar_core::EntryType;
use tar_core::parse::{Limits, ParseEvent, ParsedEntry, Parser};

use crate::error::{Context, Error, Result};
use crate::fail;
use crate::hint;
use crate::image::file_range::FileRange;
use crate::image::layout::LayoutFiles;

/// Most members. An archive of a thousand images with a hundred layers each has fewer.
const MOST_MEMBERS: usize = 1 << 18;
/// Most bytes of all member names.
const MOST_NAMES: usize = 32 << 20;
/// Most bytes of the headers before one member.
const MOST_HEADERS: usize = 256 << 10;
/// Most links followed to a file.
const MOST_LINKS: usize = 16;

#[derive(Clone, Debug)]
enum ArchiveMember {
    File { at: u64, size: u64 },
    Link(Vec<u8>),
}

/// An archive and the index of its members.
#[derive(Clone, Debug)]
pub struct ArchiveMembers {
    file: Arc<File>,
    members: HashMap<Vec<u8>, ArchiveMember>,
}

impl ArchiveMembers {
    /// Reads the headers of the uncompressed archive in `file`. Errors: not a tar archive, damaged, too many members or
    /// names.
    pub fn index(file: File) -> Result<Self> {
        let length = file.metadata().context(|| "cannot look at it")?.len();
        let mut index = Self { file: Arc::new(file), members: HashMap::new() };
        let mut parser = Parser::new(Limits {
            max_metadata_size: 128 << 10,
            max_path_len: Some(4096),
            max_pending_entries: 4,
            max_sparse_entries: 0,
        });
        let (mut at, mut names) = (0, 0);
        for _ in 0..MOST_MEMBERS {
            match index.next(&mut parser, at, length)? {
                Some((next, name)) => {
                    at = next;
                    names += name;
                }
                None => return Ok(index),
            }
            if names > MOST_NAMES {
                fail!("the names in it have more than {MOST_NAMES} bytes");
            }
        }
        fail!("more than {MOST_MEMBERS} members")
    }

    // Reads the member whose headers are at `at`. Returns the position of the next headers and the length of the name.
    // None: the end.
    fn next(&mut self, parser: &mut Parser, at: u64, length: u64) -> Result<Option<(u64, usize)>> {
        let broken = |error: &dyn std::fmt::Display| {
            let what = if at == 0 { "not a tar archive" } else { "a damaged tar archive" };
            Error::new(format!("{what}: at byte {at}: {error}"))
        };
        let unreadable = |error: tar_core::parse::ParseError| {
            if at > 0 {
                return broken(&error);
            }
            // The parser's message would name header fields, which other files do not have.
            log::debug!("{error}");
            Error::invalid("not a tar archive").hint(hint::ARCHIVE_OF_IMAGES)
        };
        let file = self.file.clone();
        let mut window = vec![0; 1024];
        loop {
            let have =
                FileRange::new(file.clone(), at, length.saturating_sub(at)).peek(&mut window)?;
            let headers = window.get(..have).unwrap_or_default();
            match parser.parse(headers).map_err(unreadable)? {
                // Some writers omit the zeros at the end.
                ParseEvent::NeedData { .. } if have == 0 && at > 0 => return Ok(None),
                ParseEvent::NeedData { .. } if have < window.len() => {
                    return Err(broken(&"it breaks off"));
                }
                ParseEvent::NeedData { min_bytes } => {
                    let more = min_bytes.max(window.len() * 2);
                    if window.len() == MOST_HEADERS {
                        return Err(broken(&"too large headers"));
                    }
                    window.resize(more.min(MOST_HEADERS), 0);
                }
                ParseEvent::GlobalExtensions { consumed, .. } => {
                    return Ok(Some((at + consumed as u64, 0)));
                }
                ParseEvent::SparseEntry { entry, .. } => {
                    return Err(broken(&format!("{} is a sparse file", entry.path_lossy())));
                }
                ParseEvent::End { .. } => return Ok(None),
                ParseEvent::Entry { consumed, entry } => {
                    let content = at + consumed as u64;
                    let end = content.checked_add(entry.size).filter(|end| *end <= length);
                    let end = end.ok_or_else(|| broken(&"it breaks off"))?;
                    let name = self.add(&entry, content);
                    return Ok(Some((end.next_multiple_of(512), name)));
                }
            }
        }
    }

    fn add(&mut self, entry: &ParsedEntry<'_>, at: u64) -> usize {
        // A name that leads out of the archive is unreachable.
        let Some(name) = lexical(&[], &entry.path) else { return 0 };
        let target = entry.link_target.as_deref().unwrap_or_default();
        let member = match entry.entry_type {
            EntryType::Symlink => {
                let parent = name.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
                let to = Some(target).filter(|target| !target.starts_with(b"/"));
                match to.and_then(|to| lexical(name.get(..parent).unwrap_or_default(), to)) {
                    Some(to) => ArchiveMember::Link(to),
                    None => return 0,
                }
            }
            EntryType::Link => match lexical(&[], target) {
                Some(to) => ArchiveMember::Link(to),
                None => return 0,
            },
            kind if kind.is_file() || kind.is_contiguous() => {
                ArchiveMember::File { at, size: entry.size }
            }
            _ => return 0,
        };
        let length = name.len() + if let ArchiveMember::Link(to) = &member { to.len() } else { 0 };
        // The last member of a name wins, as in unpacking.
        self.members.insert(name, member);
        length
    }

    /// True if the archive has a member called `path`.
    pub fn has(&self, path: &str) -> bool {
        matches!(self.open(path), Ok(Some(_)))
    }
}

impl LayoutFiles for ArchiveMembers {
    fn open(&self, path: &str) -> Result<Option<FileRange>> {
        let mut name = lexical(&[], path.as_bytes()).ok_or_else(|| {
            Error::new(format!("'{}' leads out of the archive", path.escape_debug()))
        })?;
        for _ in 0..MOST_LINKS {
            match self.members.get(&name) {
                None => return Ok(None),
                Some(ArchiveMember::Link(to)) => name.clone_from(to),
                Some(ArchiveMember::File { at, size }) => {
                    return Ok(Some(FileRange::new(self.file.clone(), *at, *size)));
                }
            }
        }
        fail!("'{}': too many links", path.escape_debug())
    }
}

/// The path `path` relative to the folder `from`, without `.`, `..` and doubled slashes. `None`: the path leads out.
fn lexical(from: &[u8], path: &[u8]) -> Option<Vec<u8>> {
    let mut parts: Vec<&[u8]> = from.split(|byte| *byte == b'/').collect();
    parts.retain(|part| !part.is_empty());
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()?),
            name => parts.push(name),
        }
    }
    Some(parts.join(&b'/'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tar_core::builder::EntryBuilder;

    use super::*;

    fn member(path: &str, kind: EntryType, target: &str, content: &[u8]) -> Vec<u8> {
        let mut entry = EntryBuilder::new_ustar();
        entry.path(path).link_name(target).entry_type(kind).mode(0o644).unwrap();
        entry.size(content.len() as u64).unwrap().uid(0).unwrap().gid(0).unwrap().mtime(0).unwrap();
        let mut bytes = entry.finish_bytes();
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    }

    fn index(bytes: &[u8]) -> Result<ArchiveMembers> {
        ArchiveMembers::index(super::super::plain::spool(&mut &*bytes, &std::env::temp_dir())?)
    }

    fn content(members: &ArchiveMembers, path: &str) -> String {
        let bytes = members.open(path).unwrap().expect(path).read_small(100).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn members_are_found_by_any_spelling_of_their_names() {
        let long = format!("{}/x", "d".repeat(200));
        let bytes = [
            member("./a//b", EntryType::Regular, "", b"old"),
            member("a/b", EntryType::Regular, "", b"new"),
            member(&long, EntryType::Regular, "", b"long"),
            member("a", EntryType::Directory, "", b""),
            member("c/link", EntryType::Symlink, "../a/./b", b""),
            member("hard", EntryType::Link, "c/link", b""),
            vec![0; 1024],
        ]
        .concat();
        let members = index(&bytes).unwrap();
        assert_eq!(content(&members, "a/b"), "new");
        assert_eq!(content(&members, "/c/../a/b"), "new");
        assert_eq!(content(&members, &long), "long");
        assert_eq!(content(&members, "c/link"), "new");
        assert_eq!(content(&members, "hard"), "new");
        assert!(members.open("a").unwrap().is_none());
        assert!(members.open("../a/b").is_err());
        // Without the zeros at the end too.
        assert_eq!(content(&index(&bytes[..bytes.len() - 1024]).unwrap(), "hard"), "new");
    }

    #[test]
    fn links_lead_to_members_or_nowhere() {
        let bytes = [
            member("a", EntryType::Symlink, "b", b""),
            member("b", EntryType::Symlink, "a", b""),
            member("self", EntryType::Link, "self", b""),
            member("out", EntryType::Symlink, "../etc/passwd", b""),
            member("abs", EntryType::Symlink, "/etc/passwd", b""),
            member("../up", EntryType::Regular, "", b"x"),
            member("gone", EntryType::Symlink, "nothing", b""),
        ]
        .concat();
        let members = index(&bytes).unwrap();
        for cycle in ["a", "b", "self"] {
            assert!(members.open(cycle).unwrap_err().to_string().ends_with("too many links"));
        }
        for nothing in ["out", "abs", "up", "gone"] {
            assert!(members.open(nothing).unwrap().is_none(), "{nothing}");
        }
    }

    #[test]
    fn archives_that_break_off_or_are_none_are_refused() {
        let bytes = member("a", EntryType::Regular, "", &[1; 3000]);
        for length in [1, 511, 512, 1000, 3511] {
            assert!(index(&bytes[..length]).is_err(), "{length}");
        }
        assert!(index(&bytes[..3512]).is_ok(), "only its padding is missing");
        assert!(index(b"").unwrap_err().to_string().contains("not a tar archive"));
        assert!(index(&[b'x'; 2048]).unwrap_err().to_string().contains("not a tar archive"));
        let mut huge = member("a", EntryType::Regular, "", b"");
        huge[124..136].copy_from_slice(&[0x80, 0, 0, 0, 0x7f, 255, 255, 255, 255, 255, 255, 255]);
        let sum: u32 = huge[..512]
            .iter()
            .enumerate()
            .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) })
            .sum();
        huge[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        assert!(index(&huge).unwrap_err().to_string().contains("breaks off"));
    }

    #[test]
    fn bombs_of_members_and_headers_are_refused() {
        let mut entry = EntryBuilder::new_ustar();
        entry.path("x").mode(0o644).unwrap().size(0).unwrap().entry_type(EntryType::Regular);
        let many = entry.finish_bytes().repeat(MOST_MEMBERS + 1);
        assert!(index(&many).unwrap_err().to_string().contains("members"));
        entry.add_pax("comment", vec![b'x'; 200_000]);
        assert!(index(&entry.finish_bytes()).is_err());
        // A sparse map whose count never ends.
        let mut entry = EntryBuilder::new_ustar();
        entry.path("x").mode(0o644).unwrap().size(1 << 20).unwrap().entry_type(EntryType::Regular);
        entry.add_pax("GNU.sparse.major", "1").add_pax("GNU.sparse.minor", "0");
        entry.add_pax("GNU.sparse.realsize", "1").add_pax("GNU.sparse.name", "x");
        let endless = [entry.finish_bytes(), vec![b'1'; 1 << 20]].concat();
        assert!(index(&endless).unwrap_err().to_string().contains("too large headers"));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..3000),
                          damage in proptest::collection::vec((0usize..4000, any::<u8>()), 0..12)) {
            let _ = index(&bytes);
            let mut whole = [member("a", EntryType::Regular, "", b"abc"), member(&"l".repeat(150), EntryType::Symlink, "a", b"")].concat();
            for (at, byte) in damage {
                let length = whole.len();
                whole[at % length] = byte;
            }
            whole.append(&mut bytes);
            if let Ok(members) = index(&whole) {
                let _ = members.open("a").map(|found| found.map(|found| found.read_small(4096)));
            }
        }
    }
}
