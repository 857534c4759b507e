//! A stack of layers' folders as the one tree that overlayfs would show, without mounting it.
//!
//! A folder of the tree is the list of layers that have a part in it. Each is opened anew by its path, in its root and
//! without links: however deep the tree and many the layers, few descriptors are open.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::node::{self, Found};
use crate::error::{Context, Result};
use crate::image::owners::Owners;

/// The layers, topmost first.
pub struct Layers {
    roots: Vec<OwnedFd>,
    owners: Owners,
}

/// A folder of the tree.
#[derive(Clone, Debug)]
pub struct Merged {
    /// Its path from the root on; empty for the root.
    pub path: PathBuf,
    layers: Vec<usize>,
}

/// What is in a folder of the tree.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name.
    pub name: OsString,
    /// The folder that it is, where it is one.
    pub folder: Option<Merged>,
    // Which layer it is seen of.
    layer: usize,
}

// How a name came out so far, going down.
struct Slot {
    layers: Vec<usize>,
    is_folder: bool,
    // The layers below are still asked.
    is_open: bool,
}

impl Layers {
    /// Opens the folders, topmost first.
    pub fn open(folders: &[PathBuf], owners: &Owners) -> Result<Self> {
        let open = |path: &PathBuf| {
            let folder = File::open(path).map(OwnedFd::from);
            folder.context(|| format!("cannot open {}", path.display()))
        };
        let roots = folders.iter().map(open).collect::<Result<_>>()?;
        Ok(Self::of(roots, owners))
    }

    /// These folders, topmost first.
    pub fn of(roots: Vec<OwnedFd>, owners: &Owners) -> Self {
        Self { roots, owners: owners.clone() }
    }

    /// The root of the tree.
    pub fn root(&self) -> Result<Merged> {
        let mut layers = Vec::new();
        for (layer, root) in self.roots.iter().enumerate() {
            layers.push(layer);
            if node::is_opaque(root)? {
                break;
            }
        }
        Ok(Merged { path: PathBuf::new(), layers })
    }

    fn folder_of(&self, layer: usize, path: &Path) -> Result<Option<OwnedFd>> {
        let Some(root) = self.roots.get(layer) else { return Ok(None) };
        node::folder(root, path).context(|| format!("/{}", path.display()))
    }

    /// What is in a folder, sorted by the bytes of the names. `None`: a name of which there is nothing but a whiteout.
    pub fn list(&self, folder: &Merged) -> Result<Vec<(OsString, Option<Entry>)>> {
        let mut slots: BTreeMap<OsString, Slot> = BTreeMap::new();
        for &layer in &folder.layers {
            let Some(fd) = self.folder_of(layer, &folder.path)? else { continue };
            let names = node::names(&fd);
            for name in names.context(|| format!("cannot read /{}", folder.path.display()))? {
                let path = || format!("/{}", folder.path.join(&name).display());
                see(&fd, layer, &name, slots.entry(name.clone()).or_default()).context(path)?;
            }
        }
        let entry = |(name, slot): (OsString, Slot)| (name.clone(), slot.entry(name, &folder.path));
        Ok(slots.into_iter().map(entry).collect())
    }

    /// What is called `name` in a folder.
    pub fn child(&self, folder: &Merged, name: &OsStr) -> Result<Option<Entry>> {
        let mut slot = Slot::default();
        for &layer in &folder.layers {
            if !slot.is_open {
                break;
            }
            let Some(fd) = self.folder_of(layer, &folder.path)? else { continue };
            let path = || format!("/{}", folder.path.join(name).display());
            see(&fd, layer, name, &mut slot).context(path)?;
        }
        Ok(slot.entry(name.to_owned(), &folder.path))
    }

    /// The file that an entry stands for, of the topmost layer that has it.
    pub fn look(&self, folder: &Merged, entry: &Entry) -> Result<Option<Found>> {
        let Some(fd) = self.folder_of(entry.layer, &folder.path)? else { return Ok(None) };
        node::look(&fd, &entry.name, &self.owners)
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

/// What one layer says about a name.
fn see(folder: impl AsFd, layer: usize, name: &OsStr, slot: &mut Slot) -> Result<()> {
    if !slot.is_open {
        return Ok(());
    }
    let Some(stat) = node::stat(&folder, name)? else { return Ok(()) };
    if !node::is_folder(&stat) {
        // A file below a folder is hidden by it, and hides what is below itself.
        slot.is_open = false;
        if slot.layers.is_empty() && !node::is_whiteout(&folder, name, &stat) {
            slot.layers.push(layer);
        }
        return Ok(());
    }
    slot.layers.push(layer);
    slot.is_folder = true;
    if let Some(fd) = node::folder(&folder, Path::new(name))? {
        slot.is_open = !node::is_opaque(fd)?;
    }
    Ok(())
}
