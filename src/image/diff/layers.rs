//! Merges a stack of layers' folders into the tree that overlayfs would show, without mounting it.
//!
//! A folder of the tree is a list of layers that contribute to it. Each layer's folder is opened anew by its path,
//! inside the layer's root and without following links. So few descriptors are open, however deep the tree and many the
//! layers.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::node::{self, Found, Whose};
use crate::error::{Context, Error, Result};
use crate::ids::IdMaps;
use crate::image::owners::{FileType, Owners};
use crate::layer::whiteout::Whiteouts;
use crate::sys::inode;

pub use crate::layer::whiteout::{OPAQUE_NAME as OPAQUE, PREFIX as WHITEOUT};

/// The name that a whiteout file `.wh.NAME` removes. `None`: another kind of name.
fn whited_out(mark: &OsStr) -> Option<&OsStr> {
    let name = mark.as_bytes().strip_prefix(WHITEOUT)?;
    (mark != OPAQUE).then(|| OsStr::from_bytes(name))
}

/// A layer's folder, and settings for reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// Path of the folder.
    pub path: PathBuf,
    /// Maps from the IDs on disk (`outside`) to the container's IDs (`inside`). `None`: the IDs are the same.
    pub shown: Option<IdMaps>,
    /// Meaning of names `.wh.NAME`: whiteouts (image spec, layer.md) or plain files.
    pub names: Names,
    /// Form of the owners in this folder; `None`: as in the other layers.
    pub owners: Option<Owners>,
    /// Paths of empty files that only serve as mount points; such files are left out.
    pub places: &'static [&'static str],
    /// True if a container has written the folder: unprivileged processes there can have set attributes.
    pub is_written: bool,
}

/// Meaning of names that begin with `.wh.`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Names {
    /// Plain names.
    #[default]
    Plain,
    /// Whiteouts, or the mark of an opaque folder.
    Whiteouts,
}

impl From<Whiteouts> for Names {
    fn from(whiteouts: Whiteouts) -> Self {
        match whiteouts {
            Whiteouts::Overlay => Self::Plain,
            Whiteouts::Names => Self::Whiteouts,
        }
    }
}

impl From<PathBuf> for Folder {
    fn from(path: PathBuf) -> Self {
        Self {
            path,
            shown: None,
            names: Names::Plain,
            owners: None,
            places: &[],
            is_written: false,
        }
    }
}

/// The opened layers, topmost first.
pub struct Layers {
    roots: Vec<Root>,
}

struct Root {
    fd: OwnedFd,
    shown: Option<IdMaps>,
    names: Names,
    owners: Owners,
    places: &'static [&'static str],
    /// True if the folder may have whiteouts.
    is_layer: bool,
    is_written: bool,
}

impl Root {
    fn open(folder: &Folder, others: &Owners) -> Result<Self> {
        let Folder { path, shown, names, owners, places, is_written } = folder;
        let fd = File::open(path).map(OwnedFd::from);
        let fd = fd.context(|| format!("cannot open {}", path.display()))?;
        let owners = owners.as_ref().unwrap_or(others).clone();
        let (shown, names, is_written) = (shown.clone(), *names, *is_written);
        Ok(Self { fd, shown, names, owners, places, is_layer: true, is_written })
    }

    /// True if a folder of this layer hides the layers below.
    fn is_opaque(&self, folder: &OwnedFd) -> Result<bool> {
        let named = || Ok::<_, Error>(node::stat(folder, OPAQUE.as_ref())?.is_some());
        Ok(node::is_opaque(folder)? || self.names == Names::Whiteouts && named()?)
    }
}

/// A folder of the merged tree.
#[derive(Clone, Debug)]
pub struct Merged {
    /// Path from the root on; empty for the root.
    pub path: PathBuf,
    layers: Vec<usize>,
}

/// An entry of a folder of the tree.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Name of the entry.
    pub name: OsString,
    /// The entry as a folder; `None`: not a folder.
    pub folder: Option<Merged>,
    // Topmost layer that has the entry.
    layer: usize,
}

// State of a name during the search from the top layer down.
struct Slot {
    layers: Vec<usize>,
    is_folder: bool,
    // True while the layers below can still contribute.
    is_open: bool,
}

impl Layers {
    /// Opens the folders, topmost first.
    pub fn open(folders: &[Folder], owners: &Owners) -> Result<Self> {
        let open = |folder| Root::open(folder, owners);
        Ok(Self { roots: folders.iter().map(open).collect::<Result<_>>()? })
    }

    /// Wraps the single folder of a whole tree, without whiteouts. `None`: no folder at all.
    pub fn of(root: Option<OwnedFd>, owners: &Owners) -> Self {
        let owners = owners.clone();
        let make = |fd| Root {
            fd,
            shown: None,
            names: Names::Plain,
            owners,
            places: &[],
            is_layer: false,
            is_written: false,
        };
        Self { roots: root.map(make).into_iter().collect() }
    }

    /// The root of the tree.
    pub fn root(&self) -> Result<Merged> {
        let mut layers = Vec::new();
        for (layer, root) in self.roots.iter().enumerate() {
            layers.push(layer);
            if root.is_opaque(&root.fd)? {
                break;
            }
        }
        Ok(Merged { path: PathBuf::new(), layers })
    }

    fn folder_of(&self, layer: usize, path: &Path) -> Result<Option<OwnedFd>> {
        let Some(root) = self.roots.get(layer) else { return Ok(None) };
        node::folder(&root.fd, path).context(|| format!("/{}", path.display()))
    }

    /// Lists a folder, sorted by the bytes of the names. `None`: only a whiteout of the name exists.
    pub fn list(&self, folder: &Merged) -> Result<Vec<(OsString, Option<Entry>)>> {
        let mut slots: BTreeMap<OsString, Slot> = BTreeMap::new();
        for &layer in &folder.layers {
            let Some(fd) = self.folder_of(layer, &folder.path)? else { continue };
            let names = inode::names(&fd);
            let names = names.context(|| format!("cannot read /{}", folder.path.display()))?;
            let (marks, names) = self.sorted(layer, names);
            for name in marks.iter().filter_map(|mark| whited_out(mark)) {
                slots.entry(name.to_owned()).or_default().is_open = false;
            }
            for name in names {
                let path = || format!("/{}", folder.path.join(&name).display());
                let slot = slots.entry(name.clone()).or_default();
                self.see(&fd, layer, &name, slot).context(path)?;
            }
        }
        let entry = |(name, slot): (OsString, Slot)| (name.clone(), slot.entry(name, &folder.path));
        Ok(slots.into_iter().map(entry).collect())
    }

    /// Finds `name` in a folder.
    pub fn child(&self, folder: &Merged, name: &OsStr) -> Result<Option<Entry>> {
        let mut slot = Slot::default();
        for &layer in &folder.layers {
            if !slot.is_open {
                break;
            }
            let Some(fd) = self.folder_of(layer, &folder.path)? else { continue };
            let path = || format!("/{}", folder.path.join(name).display());
            if self.is_whited_out(layer, &fd, name).context(path)? {
                break;
            }
            self.see(&fd, layer, name, &mut slot).context(path)?;
        }
        Ok(slot.entry(name.to_owned(), &folder.path))
    }

    /// Reads the file of an entry, from the topmost layer that has it.
    pub fn look(&self, folder: &Merged, entry: &Entry) -> Result<Option<Found>> {
        let Some(fd) = self.folder_of(entry.layer, &folder.path)? else { return Ok(None) };
        let Some(root) = self.roots.get(entry.layer) else { return Ok(None) };
        let whose = Whose {
            owners: &root.owners,
            shown: root.shown.as_ref(),
            is_layer: root.is_layer,
            is_written: root.is_written,
        };
        let mut found = node::look(&fd, &entry.name, whose)?;
        if let Some(Found::Node(node)) = &mut found
            && node.file_type == FileType::Folder
            && let Some(inner) = node::folder(&fd, Path::new(&entry.name))?
        {
            node.is_opaque = root.is_opaque(&inner)?;
        }
        Ok(found)
    }

    /// True if the entry only serves as a mount point: an empty file at one of the layer's `places`.
    pub fn is_place(&self, folder: &Merged, entry: &Entry) -> Result<bool> {
        let places = self.roots.get(entry.layer).map_or(&[][..], |root| root.places);
        let path = folder.path.join(&entry.name);
        if !places.iter().any(|place| Path::new(place) == path) {
            return Ok(false);
        }
        Ok(match self.look(folder, entry)? {
            Some(Found::Node(node)) => node.file_type == FileType::File && node.size == 0,
            _ => false,
        })
    }

    /// Splits the names of a layer's folder into whiteout files and the rest.
    fn sorted(&self, layer: usize, names: Vec<OsString>) -> (Vec<OsString>, Vec<OsString>) {
        match self.has_names(layer) {
            true => names.into_iter().partition(|name| name.as_bytes().starts_with(WHITEOUT)),
            false => (Vec::new(), names),
        }
    }

    fn has_names(&self, layer: usize) -> bool {
        self.roots.get(layer).is_some_and(|root| root.names == Names::Whiteouts)
    }

    fn is_whited_out(&self, layer: usize, folder: &OwnedFd, name: &OsStr) -> Result<bool> {
        const LONGEST: usize = 255;
        let mark = OsString::from_vec([WHITEOUT, name.as_bytes()].concat());
        // A name that is too long for a whiteout file has none.
        let can_be = self.has_names(layer) && mark.len() <= LONGEST;
        Ok(can_be && node::stat(folder, &mark)?.is_some())
    }

    /// Adds one layer's file of this name to the slot.
    fn see(&self, folder: impl AsFd, layer: usize, name: &OsStr, slot: &mut Slot) -> Result<()> {
        if !slot.is_open {
            return Ok(());
        }
        let Some(stat) = node::stat(&folder, name)? else { return Ok(()) };
        if !node::is_folder(&stat) {
            // A file below a folder is hidden by the folder. A file hides everything below itself.
            slot.is_open = false;
            let is_layer = self.roots.get(layer).is_some_and(|root| root.is_layer);
            if slot.layers.is_empty() && !(is_layer && node::is_whiteout(&folder, name, &stat)) {
                slot.layers.push(layer);
            }
            return Ok(());
        }
        slot.layers.push(layer);
        slot.is_folder = true;
        if let (Some(fd), Some(root)) =
            (node::folder(&folder, Path::new(name))?, self.roots.get(layer))
        {
            slot.is_open = !root.is_opaque(&fd)?;
        }
        Ok(())
    }
}

impl Default for Slot {
    fn default() -> Self {
        Self { layers: Vec::new(), is_folder: false, is_open: true }
    }
}

impl Slot {
    fn entry(self, name: OsString, parent: &Path) -> Option<Entry> {
        let layer = *self.layers.first()?;
        let path = parent.join(&name);
        let folder = self.is_folder.then_some(Merged { path, layers: self.layers });
        Some(Entry { name, folder, layer })
    }
}
