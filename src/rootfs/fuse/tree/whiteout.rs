//! Marks of the layers about the layers below, and the state that saves reading them again. [`crate::layer`] decodes
//! them.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, FileType, Mode, RenameFlags, Stat};
use rustix::io::Errno;

use super::layers::FsResult;
use super::node::{LayerIndex, Node, ROOT, UPPER};
use super::overlay::OverlayTree;
use super::work::{Opacity, WhiteoutForm, WorkFolder, mark};
use crate::layer::whiteout::{self, OPAQUE_NAME, WhiteoutName, Whiteouts};
use crate::layer::{Below, DiskFolder, FolderMarks, LayerFolder, LowerFolder, WhiteoutForms};

impl OverlayTree {
    /// True if the file found under `name` is a whiteout.
    pub(super) fn is_whiteout(
        &self,
        parent: &Node,
        layer: LayerIndex,
        folder: &impl LayerFolder,
        name: &OsStr,
        stat: &Stat,
    ) -> FsResult<bool> {
        // Nearly all files are neither devices nor empty: the forms in their folder need not be known.
        let forms = match stat.st_size == 0 {
            true => self.forms_in(parent, layer, folder)?,
            false => WhiteoutForms::default(),
        };
        Ok(forms.is_whiteout(folder, name, stat))
    }

    /// True if the name itself is a mark.
    pub(super) fn is_mark(&self, name: &OsStr) -> bool {
        WhiteoutForms { attributes: false, names: self.has_names(UPPER) }.is_mark(name)
    }

    /// True if a layer has whiteouts by name.
    fn has_names(&self, layer: LayerIndex) -> bool {
        let writes_names =
            || layer == UPPER && self.work.as_ref().is_some_and(WorkFolder::has_names);
        self.rules.whiteouts == Whiteouts::Names || writes_names()
    }

    /// True if a whiteout by name hides `name` in the layers below.
    pub(super) fn is_hidden_by_name(
        &self,
        parent: &Node,
        layer: LayerIndex,
        folder: &impl LayerFolder,
        name: &OsStr,
    ) -> FsResult<bool> {
        Ok(self.has_names(layer)
            && self.forms_in(parent, layer, folder)?.is_hidden_by_name(folder, name))
    }

    /// Returns the visibility of the layers below a folder, by its own marks. Errors: EPERM for a folder that a kernel
    /// overlay with `redirect_dir` moved: its content lies elsewhere, and showing half of it would be wrong.
    pub(super) fn below_of(&self, layer: LayerIndex, folder: &LowerFolder) -> FsResult<Below> {
        let marks = FolderMarks::read(folder)?;
        if marks.is_redirected {
            log::warn!("a folder was moved by an overlay with redirect_dir: not shown");
            return Err(Errno::PERM);
        }
        let forms = WhiteoutForms { attributes: false, names: self.has_names(layer) };
        Ok(match forms.is_opaque(folder, marks) {
            true => Below::Hidden,
            false => Below::Seen,
        })
    }

    /// Returns the forms of whiteouts that a folder may have in one layer.
    pub(super) fn forms_in(
        &self,
        node: &Node,
        layer: LayerIndex,
        folder: &impl LayerFolder,
    ) -> FsResult<WhiteoutForms> {
        let mut forms = self.first_forms_in(node, layer, folder)?;
        if let (UPPER, Some(work)) = (layer, &self.work) {
            // The server itself may write another whiteout at any time.
            forms.attributes |= work.form == WhiteoutForm::Attribute;
            forms.names |= work.has_names();
        }
        Ok(forms)
    }

    /// Returns the forms at the first check of the folder.
    fn first_forms_in(
        &self,
        node: &Node,
        layer: LayerIndex,
        folder: &impl LayerFolder,
    ) -> FsResult<WhiteoutForms> {
        let is_declared = self.layers[usize::from(layer)].marks.has_attribute_whiteouts;
        let has_names = self.rules.whiteouts == Whiteouts::Names;
        if !is_declared && !has_names {
            return Ok(WhiteoutForms::default());
        }
        let Some(state) = &node.folder else { return Ok(WhiteoutForms::default()) };
        if let Some((_, forms)) = state.forms.lock().iter().find(|(known, _)| *known == layer) {
            return Ok(*forms);
        }
        let forms = WhiteoutForms {
            attributes: is_declared && FolderMarks::read(folder)?.has_attribute_whiteouts,
            names: has_names && has_whiteout_names(folder)?,
        };
        state.forms.lock().push((layer, forms));
        Ok(forms)
    }
}

impl OverlayTree {
    /// Returns the work folder. Errors: EROFS without an upper layer.
    pub(super) fn work(&self) -> FsResult<&WorkFolder> {
        self.work.as_ref().ok_or(Errno::ROFS)
    }

    /// Makes a whiteout under the free name `name` of a folder.
    pub(super) fn make_whiteout(
        &self,
        folder: impl AsFd,
        name: &OsStr,
        home: impl AsFd,
    ) -> FsResult<()> {
        match self.work()?.form {
            WhiteoutForm::Device => {
                rustix::fs::mknodat(folder, name, FileType::CharacterDevice, Mode::empty(), 0)
            }
            WhiteoutForm::Attribute => self.make_attribute_whiteout(&folder, name, home),
            WhiteoutForm::Name => mark(folder, &whiteout::whiteout_name(name)),
        }
    }

    /// Makes a folder of the upper layer opaque: hides the layers below.
    pub(super) fn set_opaque(&self, folder: impl AsFd, name: &OsStr) -> FsResult<()> {
        let work = self.work()?;
        match work.opacity {
            Opacity::Attribute => work.attributes.set_opaque(folder, name),
            Opacity::Name => {
                let folder = rustix::fs::openat(folder, name, DiskFolder::FLAGS, Mode::empty())?;
                mark(folder, OPAQUE_NAME.as_ref())
            }
        }
    }

    /// Makes a whiteout for file systems without devices. Marks `home`, its final folder, as one that has such
    /// whiteouts.
    fn make_attribute_whiteout(
        &self,
        folder: impl AsFd,
        name: &OsStr,
        home: impl AsFd,
    ) -> FsResult<()> {
        let root = self.node(ROOT)?;
        let root = self.upper_folder(&root)?;
        let form = self.work()?.attributes;
        form.declare(&root)?;
        form.declare(home)?;
        form.make_whiteout(folder, name)
    }

    /// Replaces the file `name` of an upper folder by a whiteout, by one rename; discards the file.
    pub(super) fn replace_by_whiteout(
        &self,
        folder: impl AsFd,
        name: &OsStr,
        kind: u32,
    ) -> FsResult<()> {
        let work = self.work()?;
        let made = work.new_name();
        if work.form == WhiteoutForm::Name {
            // A whiteout by name does not hide a file of its own layer: the file is visible until its removal.
            mark(&folder, &whiteout::whiteout_name(name))?;
            if kind != libc::S_IFDIR {
                return rustix::fs::unlinkat(&folder, name, AtFlags::empty());
            }
            rustix::fs::renameat(&folder, name, &work.fd, &made)?;
            work.discard(&made);
            return Ok(());
        }
        self.make_whiteout(&work.fd, &made, &folder)?;
        if kind != libc::S_IFDIR {
            return match rustix::fs::renameat(&work.fd, &made, &folder, name) {
                Ok(()) => Ok(()),
                Err(error) => {
                    work.discard(&made);
                    Err(error)
                }
            };
        }
        let exchange = RenameFlags::EXCHANGE;
        let exchanged = match rustix::fs::renameat_with(&work.fd, &made, &folder, name, exchange) {
            // Without an exchange on this file system, both are missing for an instant.
            Err(Errno::INVAL | Errno::NOSYS) => {
                let old = work.new_name();
                rustix::fs::renameat(&folder, name, &work.fd, &old)?;
                let put = rustix::fs::renameat(&work.fd, &made, &folder, name);
                work.discard(&old);
                put
            }
            answer => answer,
        };
        work.discard(&made);
        exchanged
    }
}

/// True if a name in the folder is a mark: else no name needs to be looked up for its whiteout.
fn has_whiteout_names(folder: &impl LayerFolder) -> FsResult<bool> {
    let mut found = false;
    folder.for_each_entry(|name, _, _| {
        found |= WhiteoutName::parse(OsStr::from_bytes(name.to_bytes())) != WhiteoutName::File;
    })?;
    Ok(found)
}
