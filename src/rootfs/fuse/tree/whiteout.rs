//! Marks of the layers about the layers below, and the state that saves reading them again. [`crate::layer`] decodes
//! them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::Stat;
use rustix::io::Errno;

use super::node::{LayerIndex, Node, UPPER};
use super::work::{WhiteoutForm, WorkFolder};
use super::{FsResult, OverlayTree};
use crate::layer::whiteout::{WhiteoutName, Whiteouts};
use crate::layer::{Below, DiskFolder, FolderMarks, LayerFolder, WhiteoutForms};

impl OverlayTree {
    /// True if the file found under `name` is a whiteout.
    pub(super) fn is_whiteout(
        &self,
        parent: &Node,
        layer: LayerIndex,
        folder: &DiskFolder,
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
        folder: &DiskFolder,
        name: &OsStr,
    ) -> FsResult<bool> {
        Ok(self.has_names(layer)
            && self.forms_in(parent, layer, folder)?.is_hidden_by_name(folder, name))
    }

    /// Returns the visibility of the layers below a folder, by its own marks. Errors: EPERM for a folder that a kernel
    /// overlay with `redirect_dir` moved: its content lies elsewhere, and showing half of it would be wrong.
    pub(super) fn below_of(&self, layer: LayerIndex, folder: &DiskFolder) -> FsResult<Below> {
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
        folder: &DiskFolder,
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
        folder: &DiskFolder,
    ) -> FsResult<WhiteoutForms> {
        let is_declared = self.layers[usize::from(layer)].has_attribute_whiteouts;
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

/// True if a name in the folder is a mark: else no name needs to be looked up for its whiteout.
fn has_whiteout_names(folder: &DiskFolder) -> FsResult<bool> {
    let mut found = false;
    folder.for_each_entry(|name, _, _| {
        found |= WhiteoutName::parse(OsStr::from_bytes(name.to_bytes())) != WhiteoutName::File;
    })?;
    Ok(found)
}
