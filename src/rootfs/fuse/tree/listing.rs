//! Reading folders: one list of what all layers have, in the order of a hash of the names. So reading can go on at a
//! place in it without anything being open: nobody has to say that reading begins or ends, which would be half of all
//! requests of find(1), and the kernel may keep what it read.

use std::collections::{HashSet, VecDeque};
use std::ffi::{CStr, OsStr};
use std::hash::{DefaultHasher, Hasher};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::fs::FileType;

use super::node::{Layer, Node, UPPER};
use super::number::Real;
use super::whiteout::{PREFIX, each_entry, is_device};
use super::{Answer, Entry, Tree, lookup::Found, stat_at, xattr};

/// One entry that is told.
pub struct Item<'a> {
    /// Its name.
    pub name: &'a OsStr,
    /// Its inode number.
    pub number: u64,
    /// Where the next one begins.
    pub next: u64,
    /// The bits of S_IFMT.
    pub kind: u32,
    /// What it is, when that was asked for; the kernel has one lookup more then.
    pub entry: Option<Entry>,
}

/// Whether reading goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// There was room for it.
    Left,
    /// There was none: it was not told.
    None,
}

/// Whether entries are told with what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Names, numbers and types.
    Names,
    /// And all that stat(2) says.
    Entries,
}

pub(super) struct Listed {
    name: Box<OsStr>,
    number: u64,
    place: u32,
    /// The bits of S_IFMT.
    kind: u16,
    layer: Layer,
}

/// The lists of folders that are being read, so that each is made once, the newest last. One that is gone is made
/// anew: the order is the same.
#[derive(Default)]
pub(super) struct Lists(Mutex<VecDeque<(u64, Arc<Vec<Listed>>)>>);

/// Most lists at once.
const MOST_LISTS: usize = 32;

impl Lists {
    fn find(&self, id: u64) -> Option<Arc<Vec<Listed>>> {
        self.0.lock().iter().find(|known| known.0 == id).map(|known| known.1.clone())
    }

    pub(super) fn drop(&self, id: u64) {
        self.0.lock().retain(|known| known.0 != id);
    }

    fn keep(&self, id: u64, list: Arc<Vec<Listed>>) {
        let mut lists = self.0.lock();
        lists.retain(|known| known.0 != id);
        if lists.len() == MOST_LISTS {
            lists.pop_front();
        }
        lists.push_back((id, list));
    }
}

impl Tree {
    /// Tells the entries of a folder from the place `offset` on until there is no more room.
    pub fn read_folder(
        &self,
        id: u64,
        offset: u64,
        detail: Detail,
        tell: &mut dyn FnMut(Item<'_>) -> Room,
    ) -> Answer<()> {
        let _still = self.moves.read();
        let node = self.node(id)?;
        // From the beginning it is a new look (rewinddir(3)).
        let known = if offset == 0 { None } else { self.lists.find(id) };
        let list = known.map_or_else(|| self.list(&node).map(Arc::new), Ok)?;
        let start = list.partition_point(|listed| u64::from(listed.place) < offset);
        if start == list.len() {
            // Told to the end, which the kernel knows only by an answer without names.
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
            if tell(Item { name: &listed.name, number, next, kind, entry }) == Room::None {
                if let Some(entry) = entry {
                    self.forget(entry.attributes.number, 1);
                }
                break;
            }
        }
        self.lists.keep(id, list);
        Ok(())
    }

    /// What a listed name is now; nothing when it is no more, or cannot be told.
    fn entry_of(&self, node: &Arc<Node>, listed: &Listed) -> Answer<Option<Entry>> {
        if matches!(listed.name.as_bytes(), b"." | b"..") {
            return Ok(None);
        }
        if u32::from(listed.kind) == libc::S_IFDIR {
            return Ok(match self.search(node, &listed.name, 0) {
                Ok(Some(found)) => self.enter(node, &listed.name, found).ok(),
                _ => None,
            });
        }
        let folder = self.folder_fd(node, listed.layer)?;
        let Ok(stat) = stat_at(&folder, &listed.name) else { return Ok(None) };
        if stat.st_mode & libc::S_IFMT != u32::from(listed.kind)
            || self.is_whiteout(node, listed.layer, folder.as_fd(), &listed.name, &stat)?
        {
            return Ok(None); // replaced since
        }
        if listed.layer != UPPER && self.is_above(node, listed)? {
            return Ok(None); // copied up or removed since
        }
        let found = Found::file(stat, listed.layer);
        Ok(self.enter(node, &listed.name, found).ok())
    }

    /// Whether a layer above the one where a name was found has it by now: only the upper one changes.
    fn is_above(&self, node: &Arc<Node>, listed: &Listed) -> Answer<bool> {
        if node.layers().first() != Some(&UPPER) {
            return Ok(false);
        }
        let upper = self.folder_fd(node, UPPER)?;
        Ok(stat_at(&upper, &listed.name).is_ok()
            || self.is_whited_out_by_name(node, UPPER, upper.as_fd(), &listed.name)?)
    }

    /// What all layers have in a folder, after `.` and `..`.
    pub(super) fn list(&self, node: &Arc<Node>) -> Answer<Vec<Listed>> {
        let mut list = vec![self.itself(node, "."), self.itself(node, "..")];
        if node.is_gone() {
            return Ok(list);
        }
        let layers = node.layers();
        let mut seen: HashSet<Box<[u8]>> = HashSet::new();
        for layer in &layers {
            self.list_layer(node, *layer, layers.len() > 1, &mut seen, &mut list)?;
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

    /// `.` and `..` have no place in a layer; the kernel knows what they are.
    fn itself(&self, node: &Arc<Node>, name: &str) -> Listed {
        let parent = node.place.read().parent.clone();
        let number = match (name, parent) {
            ("..", Some(parent)) => parent.id,
            _ => node.id,
        };
        let (name, kind) = (OsStr::new(name).into(), libc::S_IFDIR as u16);
        Listed { name, number, place: 0, kind, layer: node.layer() }
    }

    fn list_layer(
        &self,
        node: &Arc<Node>,
        layer: Layer,
        merged: bool,
        seen: &mut HashSet<Box<[u8]>>,
        list: &mut Vec<Listed>,
    ) -> Answer<()> {
        let folder = self.folder_fd(node, layer)?;
        let dev = rustix::fs::fstat(&folder)?.st_dev;
        let odd = self.odd(node, layer, folder.as_fd())?;
        let mut hidden: Vec<Box<[u8]>> = Vec::new();
        each_entry(&*folder, |name, ino, file_type| {
            let bytes = name.to_bytes();
            if odd.names && bytes.starts_with(PREFIX) {
                hidden.push(bytes[PREFIX.len()..].into());
                return;
            }
            if merged && seen.contains(bytes) {
                return;
            }
            let suspect = match file_type {
                FileType::CharacterDevice | FileType::Unknown => true,
                FileType::RegularFile => odd.attributes,
                _ => false,
            };
            let kind = if suspect { really(&folder, name) } else { Some(bits(file_type)) };
            if merged {
                seen.insert(bytes.into());
            }
            if let Some(kind) = kind {
                let number = self.numbers.of(Real { dev, ino });
                let (name, place) = (OsStr::from_bytes(bytes).into(), place_of(bytes));
                list.push(Listed { name, number, place, kind: kind as u16, layer });
            }
        })?;
        // Whiteouts by name say nothing of their own layer.
        seen.extend(hidden);
        Ok(())
    }
}

/// Where a name is in the list of its folder, but for a few that others of the same hash push on: from 2 up to 2^30, so
/// that programs of 32 bits have room for it too.
fn place_of(name: &[u8]) -> u32 {
    let mut hasher = DefaultHasher::new();
    hasher.write(name);
    2 + (hasher.finish() >> 34) as u32
}

/// The bits of S_IFMT of what may be a whiteout; `None` when it is one, or is gone.
fn really(folder: impl AsFd, name: &CStr) -> Option<u32> {
    let name = OsStr::from_bytes(name.to_bytes());
    let stat = stat_at(&folder, name).ok()?;
    let kind = stat.st_mode & libc::S_IFMT;
    let empty = kind == libc::S_IFREG && stat.st_size == 0;
    let by_attribute =
        || empty && xattr::overlay_at(&super::access::below(&folder, name), "whiteout");
    (!is_device(&stat) && !by_attribute()).then_some(kind)
}

fn bits(file_type: FileType) -> u32 {
    file_type.as_raw_mode() & libc::S_IFMT
}
