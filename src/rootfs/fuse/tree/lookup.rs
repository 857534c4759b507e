//! Lookup of a name in a folder: the topmost layer with that name decides, and folders of several layers are merged.

use std::ffi::{OsStr, OsString};
use std::sync::Arc;

use rustix::fs::Stat;
use rustix::io::Errno;

use super::access::FileReach;
use super::attributes::FileAttributes;
use super::layers::FsResult;
use super::node::{LayerIndex, Node, NodeOrigin, NodePlace, Nodes, UPPER};
use super::number::RealFile;
use super::overlay::OverlayTree;
use crate::layer::squashfs::StoredFile;
use crate::layer::{Below, FoundFile, LowerFolder};

/// Node that the kernel learns of, with one lookup more.
#[derive(Clone, Copy, Debug)]
pub struct NodeEntry {
    /// Generation: tells apart two files that used the same number one after the other.
    pub generation: u32,
    /// Attributes of the file, with its number.
    pub attributes: FileAttributes,
}

/// File found under a name.
pub(super) struct NameLookup {
    /// Attributes of the topmost file, from stat(2).
    pub stat: Stat,
    /// Layer of the topmost file.
    pub layer: LayerIndex,
    /// All layers of a folder.
    pub layers: Vec<LayerIndex>,
    /// File in its image, if the topmost layer is one.
    stored: Option<StoredFile>,
    /// Folders that were opened on the way.
    opened: Vec<(LayerIndex, LowerFolder)>,
}

impl NameLookup {
    /// Makes the result for a file that was found in a layer.
    pub fn file(found: FoundFile, layer: LayerIndex) -> Self {
        let FoundFile { stat, stored } = found;
        Self { stat, layer, layers: Vec::new(), stored, opened: Vec::new() }
    }
}

impl OverlayTree {
    /// Looks a name up. `None`: no file of that name.
    pub fn look_up(&self, parent: u64, name: &OsStr) -> FsResult<Option<NodeEntry>> {
        let _moves = self.moves.read();
        let parent = self.node(parent)?;
        match self.search(&parent, name, 0)? {
            Some(found) => self.enter(&parent, name, found).map(Some),
            None => Ok(None),
        }
    }

    /// Finds `name` in the layers of `parent`, without the first `skipped` layers.
    pub(super) fn search(
        &self,
        parent: &Arc<Node>,
        name: &OsStr,
        skipped: usize,
    ) -> FsResult<Option<NameLookup>> {
        if parent.folder.is_none() {
            return Err(Errno::NOTDIR);
        }
        if parent.is_removed() || self.is_mark(name) {
            return Ok(None);
        }
        let mut found: Option<NameLookup> = None;
        for layer in parent.layers().into_iter().skip(skipped) {
            let folder = self.layer_folder(parent, layer)?;
            let here = match folder.find(name) {
                Ok(here) => here,
                Err(Errno::NOENT) => {
                    if self.is_hidden_by_name(parent, layer, &folder, name)? {
                        break;
                    }
                    continue;
                }
                Err(error) => return Err(error),
            };
            if self.is_whiteout(parent, layer, &folder, name, &here.stat)? {
                break;
            }
            if here.stat.st_mode & libc::S_IFMT != libc::S_IFDIR {
                // The first file found is the result; a later one ends a folder's layers.
                found.get_or_insert_with(|| NameLookup::file(here, layer));
                break;
            }
            let inner = match usize::from(layer) + 1 < self.layers.len() {
                true => Some(self.retry_with_fewer_open(|| folder.open_found(name, &here))?),
                false => None,
            };
            let found = found.get_or_insert_with(|| NameLookup::file(here, layer));
            found.layers.push(layer);
            if let Some(inner) = inner {
                let below = self.below_of(layer, &inner)?;
                found.opened.push((layer, inner));
                // A folder beside the whiteout of its own name was made after the whiteout.
                if below == Below::Hidden || self.is_hidden_by_name(parent, layer, &folder, name)? {
                    break;
                }
            }
        }
        Ok(found)
    }

    /// Makes a found file known to the kernel.
    pub(super) fn enter(
        &self,
        parent: &Arc<Node>,
        name: &OsStr,
        found: NameLookup,
    ) -> FsResult<NodeEntry> {
        let NameLookup { stat, layer, layers, stored, opened } = found;
        let location = stored.as_ref().map(StoredFile::location);
        let reach = match stored {
            Some(stored) => FileReach::Stored(stored),
            None => FileReach::of_name(&self.layer_folder(parent, layer)?, name)?,
        };
        let origin = NodeOrigin { layer, layers, location };
        let node = self.known(parent, name, &stat, origin);
        for (layer, opened) in opened {
            self.keep_open(&node, layer, opened);
        }
        let shown = match layer == node.layer() {
            true => self.shown(&node, &stat, &reach, layer),
            // Copied up under another of its names.
            false => self.attributes_of(&node),
        };
        match shown {
            Ok(attributes) => Ok(NodeEntry { generation: node.generation, attributes }),
            Err(error) => {
                self.forget(node.id, 1);
                Err(error)
            }
        }
    }

    /// Returns the node of a file on disk, with one lookup more.
    pub(super) fn known(
        &self,
        parent: &Arc<Node>,
        name: &OsStr,
        stat: &Stat,
        origin: NodeOrigin,
    ) -> Arc<Node> {
        let id = self.numbers.of(RealFile { dev: stat.st_dev, ino: stat.st_ino });
        let kind = stat.st_mode & libc::S_IFMT;
        let make = || match origin.layer != UPPER && self.is_copied_under_another_name(stat) {
            true => {
                let origin = NodeOrigin { layer: UPPER, ..origin };
                Node::new(id, kind, Self::linked_place(parent, name), origin)
            }
            false => Node::new(id, kind, NodePlace::of(parent, name), origin),
        };
        let (node, known) = self.nodes.look_up(id, kind, make);
        if known && stat.st_nlink > 1 && kind != libc::S_IFDIR {
            note_name(&node, parent, name);
        }
        node
    }
}

/// Notes another name of a known file: it leads to the file if the first name is removed.
pub(super) fn note_name(node: &Arc<Node>, parent: &Arc<Node>, name: &OsStr) {
    let same = |place: &NodePlace| {
        place.is(parent, name)
            || place.rare.as_ref().is_some_and(|rare| {
                rare.names.iter().any(|(folder, other)| folder.id == parent.id && other == name)
            })
    };
    if same(&node.place.read()) {
        return;
    }
    let mut place = node.place.write();
    if !same(&place) {
        Nodes::keep(parent);
        place.rare().names.push((parent.clone(), OsString::from(name)));
    }
}
