//! Merges a stack of layers' folders into the tree that overlayfs would show, without mounting it.
//!
//! A folder of the tree is a list of layers that contribute to it. Each layer's folder is opened anew by its path,
//! inside the layer's root and without following links. So few descriptors are open, however deep the tree and many the
//! layers.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::image_owners::MountedImageOwners;
use super::node::{self, FoundNode, LastLink, LayerNode, NodeRules};
use rustix::io::Errno;

use crate::error::{Context, Result};
use crate::ids::{BaseIds, FileIds, IdMaps};
use crate::image::owners::{FileType, Owners};
use crate::layer::squashfs::ImageFile;
use crate::layer::whiteout::{WhiteoutName, Whiteouts};
use crate::layer::{Below, DiskFolder, Layer, LayerEntry, LayerFolder};
use crate::sys::inode;

/// A layer's folder, and settings for reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerSource {
    /// Path of the folder.
    pub path: PathBuf,
    /// Maps that a copy of the image's files was made with, to be undone. `None`: the IDs are the image's.
    pub shown: Option<IdMaps<FileIds, BaseIds>>,
    /// Meaning of names `.wh.NAME`: whiteouts (image spec, layer.md) or plain files.
    pub whiteouts: Whiteouts,
    /// Form of the owners in this folder; `None`: as in the other layers.
    pub owners: Option<Owners>,
    /// Paths of empty files that only serve as mount points; such files are left out.
    pub places: &'static [&'static str],
    /// True if a container has written the folder: unprivileged processes there can have set attributes.
    pub is_written: bool,
    /// Image that is mounted on the folder: owners are those in the image, also where the mount cannot show them.
    pub image: Option<ImageFile>,
}

impl From<PathBuf> for LayerSource {
    fn from(path: PathBuf) -> Self {
        Self {
            path,
            shown: None,
            whiteouts: Whiteouts::Overlay,
            owners: None,
            places: &[],
            is_written: false,
            image: None,
        }
    }
}

/// The opened layers, topmost first.
pub struct LayerTree {
    roots: Vec<TreeRoot>,
}

struct TreeRoot {
    folder: DiskFolder,
    /// The folder as a layer; `None`: a whole tree, without marks.
    layer: Option<Layer>,
    shown: Option<IdMaps<FileIds, BaseIds>>,
    owners: Owners,
    places: &'static [&'static str],
    is_written: bool,
    image: Option<MountedImageOwners>,
}

impl TreeRoot {
    fn open(folder: &LayerSource, others: &Owners) -> Result<Self> {
        let LayerSource { path, shown, whiteouts, owners, places, is_written, image } = folder;
        let root = File::open(path).context(|| format!("cannot open {}", path.display()))?;
        let folder = DiskFolder::from(OwnedFd::from(root));
        let layer = Some(Layer { root: folder.clone(), whiteouts: *whiteouts });
        let owners = owners.as_ref().unwrap_or(others).clone();
        let image = image.as_ref().map(MountedImageOwners::open).transpose()?;
        let (shown, is_written) = (shown.clone(), *is_written);
        Ok(Self { folder, layer, shown, owners, places, is_written, image })
    }

    fn rules(&self) -> NodeRules<'_> {
        NodeRules {
            owners: &self.owners,
            shown: self.shown.as_ref(),
            layer: self.layer.as_ref(),
            is_written: self.is_written,
        }
    }

    fn is_mark(&self, name: &OsStr) -> bool {
        self.layer.as_ref().is_some_and(|layer| layer.is_mark(name))
    }

    /// Returns the meaning of a name in a folder.
    fn entry(&self, folder: &DiskFolder, name: &OsStr) -> Result<LayerEntry, Errno> {
        let entry = match &self.layer {
            Some(layer) => layer.entry(folder, name),
            None => folder.stat(name).and_then(|stat| {
                match stat.st_mode & libc::S_IFMT == libc::S_IFDIR {
                    true => Ok(LayerEntry::Folder(folder.open_folder(name)?, Below::Seen)),
                    false => Ok(LayerEntry::File(stat)),
                }
            }),
        };
        match entry {
            // Removed or replaced meanwhile, by a container.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(LayerEntry::Missing),
            answer => answer,
        }
    }
}

/// A folder of the merged tree.
#[derive(Clone, Debug)]
pub struct TreeFolder {
    /// Path from the root on; empty for the root.
    pub path: PathBuf,
    layers: Vec<usize>,
}

/// An entry of a folder of the tree.
#[derive(Clone, Debug)]
pub struct TreeEntry {
    /// Name of the entry.
    pub name: OsString,
    /// The entry as a folder; `None`: not a folder.
    pub folder: Option<TreeFolder>,
    // Topmost layer that has the entry.
    layer: usize,
}

// State of a name during the search from the top layer down.
struct NameSlot {
    layers: Vec<usize>,
    is_folder: bool,
    // True while the layers below can still contribute.
    is_open: bool,
}

impl LayerTree {
    /// Opens the folders, topmost first.
    pub fn open(folders: &[LayerSource], owners: &Owners) -> Result<Self> {
        let open = |folder| TreeRoot::open(folder, owners);
        Ok(Self { roots: folders.iter().map(open).collect::<Result<_>>()? })
    }

    /// Wraps the single folder of a whole tree, without whiteouts. `None`: no folder at all.
    pub fn of(root: Option<OwnedFd>, owners: &Owners) -> Self {
        let owners = owners.clone();
        let make = |fd: OwnedFd| TreeRoot {
            folder: fd.into(),
            layer: None,
            shown: None,
            owners,
            places: &[],
            is_written: false,
            image: None,
        };
        Self { roots: root.map(make).into_iter().collect() }
    }

    /// The root of the tree.
    pub fn root(&self) -> Result<TreeFolder> {
        let mut layers = Vec::new();
        for (layer, root) in self.roots.iter().enumerate() {
            layers.push(layer);
            if let Some(own) = &root.layer
                && own.is_opaque(&root.folder)?
            {
                break;
            }
        }
        Ok(TreeFolder { path: PathBuf::new(), layers })
    }

    fn folder_of(&self, layer: usize, path: &Path) -> Result<Option<(&TreeRoot, DiskFolder)>> {
        let Some(root) = self.roots.get(layer) else { return Ok(None) };
        let folder = node::folder(&root.folder, path);
        let folder = folder.context(|| format!("/{}", path.display()))?;
        Ok(folder.map(|folder| (root, folder.into())))
    }

    /// Lists a folder, sorted by the bytes of the names. `None`: only a whiteout of the name exists.
    pub fn list(&self, folder: &TreeFolder) -> Result<Vec<(OsString, Option<TreeEntry>)>> {
        let mut slots: BTreeMap<OsString, NameSlot> = BTreeMap::new();
        for &layer in &folder.layers {
            let Some((root, here)) = self.folder_of(layer, &folder.path)? else { continue };
            let names = inode::names(&here);
            let names = names.context(|| format!("cannot read /{}", folder.path.display()))?;
            let (marks, names): (Vec<_>, Vec<_>) =
                names.into_iter().partition(|name| root.is_mark(name));
            for name in names {
                let path = || format!("/{}", folder.path.join(&name).display());
                let slot = slots.entry(name.clone()).or_default();
                if slot.is_open {
                    slot.add(layer, &root.entry(&here, &name).context(path)?);
                }
            }
            // A whiteout by name does not hide a file of its own layer.
            for mark in &marks {
                if let WhiteoutName::Whiteout(name) = WhiteoutName::parse(mark) {
                    slots.entry(name.to_owned()).or_default().is_open = false;
                }
            }
        }
        let entry =
            |(name, slot): (OsString, NameSlot)| (name.clone(), slot.entry(name, &folder.path));
        Ok(slots.into_iter().map(entry).collect())
    }

    /// Finds `name` in a folder.
    pub fn child(&self, folder: &TreeFolder, name: &OsStr) -> Result<Option<TreeEntry>> {
        let mut slot = NameSlot::default();
        for &layer in &folder.layers {
            if !slot.is_open {
                break;
            }
            let Some((root, here)) = self.folder_of(layer, &folder.path)? else { continue };
            let path = || format!("/{}", folder.path.join(name).display());
            if !root.is_mark(name) {
                slot.add(layer, &root.entry(&here, name).context(path)?);
            }
        }
        Ok(slot.entry(name.to_owned(), &folder.path))
    }

    /// Reads the file of an entry, from the topmost layer that has it.
    pub fn read_node(&self, folder: &TreeFolder, entry: &TreeEntry) -> Result<Option<FoundNode>> {
        let Some((root, here)) = self.folder_of(entry.layer, &folder.path)? else {
            return Ok(None);
        };
        let mut found = node::read_node(&here, &entry.name, root.rules())?;
        if let (Some(FoundNode::Node(node)), Some(image)) = (&mut found, &root.image) {
            image.apply(&folder.path, &entry.name, node)?;
        }
        Ok(found)
    }

    /// Reads the root folder itself, from the topmost layer. `None`: there are no layers.
    pub fn read_root(&self) -> Result<Option<LayerNode>> {
        let Some(root) = self.roots.first() else { return Ok(None) };
        let (mut node, _) =
            node::open(&root.folder, Path::new("."), LastLink::Taken, root.rules())?;
        root.image.as_ref().map_or(Ok(()), |image| image.apply_to_root(&mut node))?;
        Ok(Some(node))
    }

    /// True if the entry only serves as a mount point: an empty file at one of the layer's `places`.
    pub fn is_place(&self, folder: &TreeFolder, entry: &TreeEntry) -> Result<bool> {
        let places = self.roots.get(entry.layer).map_or(&[][..], |root| root.places);
        let path = folder.path.join(&entry.name);
        if !places.iter().any(|place| Path::new(place) == path) {
            return Ok(false);
        }
        Ok(match self.read_node(folder, entry)? {
            Some(FoundNode::Node(node)) => node.file_type == FileType::File && node.size == 0,
            _ => false,
        })
    }
}

impl Default for NameSlot {
    fn default() -> Self {
        Self { layers: Vec::new(), is_folder: false, is_open: true }
    }
}

impl NameSlot {
    /// Adds the meaning of the name in a further layer.
    fn add(&mut self, layer: usize, entry: &LayerEntry) {
        match entry {
            LayerEntry::Missing => {}
            LayerEntry::Whiteout => self.is_open = false,
            LayerEntry::File(_) => {
                // A file below a folder is hidden by the folder. A file hides everything below itself.
                self.is_open = false;
                if self.layers.is_empty() {
                    self.layers.push(layer);
                }
            }
            LayerEntry::Folder(_, below) => {
                self.layers.push(layer);
                self.is_folder = true;
                self.is_open = *below == Below::Seen;
            }
        }
    }

    fn entry(self, name: OsString, parent: &Path) -> Option<TreeEntry> {
        let layer = *self.layers.first()?;
        let path = parent.join(&name);
        let folder = self.is_folder.then_some(TreeFolder { path, layers: self.layers });
        Some(TreeEntry { name, folder, layer })
    }
}
