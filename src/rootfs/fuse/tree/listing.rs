//! Reading folders: one list of all layers' entries, in the order of a hash of the names. Reading can continue at any
//! place of that order without an open handle. The kernel therefore sends no request when reading begins or ends, which
//! would be half of all requests of find(1), and may cache the entries.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::hash::{DefaultHasher, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use rustix::fs::FileType;

use super::layers::FsResult;
use super::lists::ListedName;
use super::lookup::NameLookup;
use super::lookup::NodeEntry;
use super::node::{LayerIndex, Node, UPPER};
use super::number::RealFile;
use super::overlay::OverlayTree;
use crate::layer::whiteout::WhiteoutName;
use crate::layer::{LayerFolder, LowerFolder, LowerName, WhiteoutForms};

/// Listed entry of a folder.
pub struct Item<'a> {
    /// Name of the entry.
    pub name: &'a OsStr,
    /// Inode number.
    pub number: u64,
    /// Place of the next entry.
    pub next: u64,
    /// Bits of S_IFMT.
    pub kind: u32,
    /// Attributes, if requested; counts as a lookup by the kernel.
    pub entry: Option<NodeEntry>,
}

/// Space left in the kernel's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyRoom {
    /// The entry fitted.
    Left,
    /// The entry did not fit, and was not sent.
    None,
}

/// Detail of listed entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Names, numbers and types.
    Names,
    /// Attributes of stat(2) too.
    Entries,
}

impl OverlayTree {
    /// Sends the entries of a folder from the place `offset` on until the buffer is full.
    pub fn read_folder(
        &self,
        id: u64,
        offset: u64,
        detail: Detail,
        visit: &mut dyn FnMut(Item<'_>) -> ReplyRoom,
    ) -> FsResult<()> {
        let _moves = self.moves.read();
        let node = self.node(id)?;
        // Reading from the beginning lists the folder again (rewinddir(3)).
        let known = if offset == 0 { None } else { self.lists.find(id) };
        let list = known.map_or_else(|| self.list(&node).map(Arc::new), Ok)?;
        let start = list.partition_point(|listed| u64::from(listed.place) < offset);
        if start == list.len() {
            // Complete: the kernel knows the end only by an answer without names.
            self.lists.drop(id);
            return Ok(());
        }
        for listed in &list[start..] {
            let entry = match detail {
                Detail::Entries => self.entry_of(&node, listed)?,
                Detail::Names => None,
            };
            let number = entry.map_or(listed.number, |entry| entry.attributes.number);
            let (next, kind) = (u64::from(listed.place) + 1, u32::from(listed.kind));
            if visit(Item { name: &listed.name, number, next, kind, entry }) == ReplyRoom::None {
                if let Some(entry) = entry {
                    self.forget(entry.attributes.number, 1);
                }
                break;
            }
        }
        self.lists.keep(id, list);
        Ok(())
    }

    /// Returns the present entry of a listed name; `None` if the name is gone, or its attributes cannot be read.
    fn entry_of(&self, node: &Arc<Node>, listed: &ListedName) -> FsResult<Option<NodeEntry>> {
        if matches!(listed.name.as_bytes(), b"." | b"..") {
            return Ok(None);
        }
        if u32::from(listed.kind) == libc::S_IFDIR {
            return Ok(match self.search(node, &listed.name, 0) {
                Ok(Some(found)) => self.enter(node, &listed.name, found).ok(),
                _ => None,
            });
        }
        let folder = self.layer_folder(node, listed.layer)?;
        let Ok(found) = folder.find_listed(&listed.name, listed.location) else {
            return Ok(None);
        };
        if found.stat.st_mode & libc::S_IFMT != u32::from(listed.kind)
            || self.is_whiteout(node, listed.layer, &folder, &listed.name, &found.stat)?
        {
            return Ok(None); // replaced since
        }
        if listed.layer != UPPER && self.is_above(node, listed)? {
            return Ok(None); // copied up or removed since
        }
        let found = NameLookup::file(found, listed.layer);
        Ok(self.enter(node, &listed.name, found).ok())
    }

    /// True if a layer above the listed one now has the name: only the upper layer changes.
    fn is_above(&self, node: &Arc<Node>, listed: &ListedName) -> FsResult<bool> {
        if node.layers().first() != Some(&UPPER) {
            return Ok(false);
        }
        let upper = self.upper_folder(node)?;
        Ok(upper.stat(&listed.name).is_ok()
            || self.is_hidden_by_name(node, UPPER, &upper, &listed.name)?)
    }

    /// Lists the entries of all layers in a folder, after `.` and `..`.
    pub(super) fn list(&self, node: &Arc<Node>) -> FsResult<Vec<ListedName>> {
        let mut list = vec![self.dot_entry(node, "."), self.dot_entry(node, "..")];
        if node.is_removed() {
            return Ok(list);
        }
        let layers = node.layers();
        let mut seen: HashSet<Box<[u8]>> = HashSet::new();
        for layer in &layers {
            // In a folder of one layer no name can be there twice.
            let seen = (layers.len() > 1).then_some(&mut seen);
            self.list_layer(node, *layer, seen, &mut list)?;
        }
        list[2..]
            .sort_unstable_by(|one, other| (one.place, &one.name).cmp(&(other.place, &other.name)));
        let mut free = 0;
        for listed in &mut list {
            listed.place = listed.place.max(free);
            free = listed.place + 1;
        }
        Ok(list)
    }

    /// `.` and `..` have no place in a layer; the kernel knows their attributes.
    fn dot_entry(&self, node: &Arc<Node>, name: &str) -> ListedName {
        let parent = node.place.read().parent.clone();
        let number = match (name, parent) {
            ("..", Some(parent)) => parent.id,
            _ => node.id,
        };
        let (name, kind) = (OsStr::new(name).into(), libc::S_IFDIR as u16);
        ListedName { name, number, place: 0, kind, layer: node.layer(), location: None }
    }

    fn list_layer(
        &self,
        node: &Arc<Node>,
        layer: LayerIndex,
        mut seen: Option<&mut HashSet<Box<[u8]>>>,
        list: &mut Vec<ListedName>,
    ) -> FsResult<()> {
        let folder = self.layer_folder(node, layer)?;
        let dev = folder.own_stat()?.st_dev;
        let forms = self.forms_in(node, layer, &folder)?;
        let mut hidden: Vec<Box<[u8]>> = Vec::new();
        folder.for_each_name(|LowerName { name, number: ino, kind: file_type, location }| {
            let bytes = name.as_bytes();
            match WhiteoutName::parse(name) {
                WhiteoutName::File => {}
                _ if !forms.names => {}
                WhiteoutName::Whiteout(removed) => return hidden.push(removed.as_bytes().into()),
                _ => return,
            }
            if seen.as_ref().is_some_and(|seen| seen.contains(bytes)) {
                return;
            }
            let suspect = match file_type {
                FileType::CharacterDevice | FileType::Unknown => true,
                FileType::RegularFile => forms.attributes,
                _ => false,
            };
            let kind = if suspect {
                kind_unless_whiteout(&folder, forms, name)
            } else {
                Some(bits(file_type))
            };
            if let Some(seen) = &mut seen {
                seen.insert(bytes.into());
            }
            if let Some(kind) = kind {
                let number = self.numbers.of(RealFile { dev, ino });
                let (name, place, kind) = (name.into(), place_of(bytes), kind as u16);
                list.push(ListedName { name, number, place, kind, layer, location });
            }
        })?;
        // A whiteout by name does not hide a file of its own layer.
        if let Some(seen) = seen {
            seen.extend(hidden);
        }
        Ok(())
    }
}

/// Returns the place of a name in the list of its folder. A few names move on, past others of the same hash. Places are
/// from 2 up to 2^30: programs of 32 bits have room for them too.
fn place_of(name: &[u8]) -> u32 {
    let mut hasher = DefaultHasher::new();
    hasher.write(name);
    2 + (hasher.finish() >> 34) as u32
}

/// Returns the bits of S_IFMT of a possible whiteout; `None` for a whiteout or a missing file.
fn kind_unless_whiteout(folder: &LowerFolder, forms: WhiteoutForms, name: &OsStr) -> Option<u32> {
    let stat = folder.stat(name).ok()?;
    (!forms.is_whiteout(folder, name, &stat)).then_some(stat.st_mode & libc::S_IFMT)
}

fn bits(file_type: FileType) -> u32 {
    file_type.as_raw_mode() & libc::S_IFMT
}
