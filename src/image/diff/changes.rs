//! Changes of a writable layer against the tree below, in the terms of `docker diff`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use super::layers::{LayerSource, LayerTree, TreeEntry, TreeFolder};
use super::node::{FoundNode, LayerNode};
use crate::error::{Context, Result};
use crate::image::owners::{FileType, Owners};
use crate::layer::Below;

/// Kind of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// The lower tree has no such file.
    Added,
    /// The lower tree has the file; the file itself, or one in it, differs.
    Changed,
    /// The file is removed, with everything in it.
    Deleted,
}

/// A changed file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Kind of the change.
    pub kind: ChangeKind,
    /// Absolute path in the container.
    pub path: PathBuf,
}

impl fmt::Display for ChangeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Added => "A",
            Self::Changed => "C",
            Self::Deleted => "D",
        })
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.path.display())
    }
}

/// Content of a writable layer's folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpperForm {
    /// Changes only: overlayfs merges the rest.
    Changes,
    /// The whole tree, copied from the layers below.
    Whole,
}

/// Lists the changes of the layer in the folder `upper` against the layers in `lowers`, topmost first. Folders come
/// before their content; both are sorted. A folder counts as changed if its content, owner, mode or time differs. In a
/// whole tree a file also counts as changed if its size differs; contents are not compared.
pub fn changes(
    upper: &LayerSource,
    form: UpperForm,
    lowers: &[LayerSource],
    owners: &Owners,
) -> Result<Vec<Change>> {
    changes_of_stack(std::slice::from_ref(upper), form, lowers, owners)
}

/// [`changes`] for a whole tree of several layers, topmost first.
pub fn changes_of_tree(
    uppers: &[LayerSource],
    lowers: &[LayerSource],
    owners: &Owners,
) -> Result<Vec<Change>> {
    changes_of_stack(uppers, UpperForm::Whole, lowers, owners)
}

fn changes_of_stack(
    uppers: &[LayerSource],
    form: UpperForm,
    lowers: &[LayerSource],
    owners: &Owners,
) -> Result<Vec<Change>> {
    let walk = ChangeWalk {
        upper: LayerTree::open(uppers, owners)?,
        lowers: LayerTree::open(lowers, owners)?,
        form,
    };
    let mut found = Vec::new();
    let (root, lower) = (walk.upper.root()?, walk.lowers.root()?);
    let visibility = match form {
        UpperForm::Whole => Below::Hidden,
        UpperForm::Changes => Below::Seen,
    };
    walk.folder(&root, Some(&lower), visibility, &mut found)?;
    Ok(found)
}

struct ChangeWalk {
    form: UpperForm,
    upper: LayerTree,
    lowers: LayerTree,
}

impl ChangeWalk {
    /// Compares a folder. `lower`: the folder of the same path below. `visibility`: that of its content below.
    fn folder(
        &self,
        upper: &TreeFolder,
        lower: Option<&TreeFolder>,
        visibility: Below,
        found: &mut Vec<Change>,
    ) -> Result<()> {
        let mut entries: BTreeMap<OsString, Option<TreeEntry>> =
            self.upper.list(upper)?.into_iter().collect();
        if let (Below::Hidden, Some(lower)) = (visibility, lower) {
            for (name, _) in self.lowers.list(lower)? {
                entries.entry(name).or_insert(None);
            }
        }
        for (name, entry) in entries {
            let path = Path::new("/").join(upper.path.join(&name));
            let below = lower.map(|lower| self.lowers.child(lower, &name)).transpose()?.flatten();
            match (entry, below) {
                (Some(entry), None) if self.upper.is_place(upper, &entry)? => {}
                (Some(entry), below) => {
                    let below = lower.zip(below.as_ref());
                    self.entry(upper, &entry, below, visibility, found, path)?;
                }
                // A whiteout, or a file hidden by an opaque folder.
                (None, Some(_)) => found.push(Change { kind: ChangeKind::Deleted, path }),
                (None, None) => {}
            }
        }
        Ok(())
    }

    /// Compares an entry. `below`: the lower tree's entry of that name, with its folder.
    fn entry(
        &self,
        upper: &TreeFolder,
        entry: &TreeEntry,
        below: Option<(&TreeFolder, &TreeEntry)>,
        visibility: Below,
        found: &mut Vec<Change>,
        path: PathBuf,
    ) -> Result<()> {
        let of = || path.display().to_string();
        let Some(FoundNode::Node(node)) = self.upper.read_node(upper, entry).context(of)? else {
            return Ok(());
        };
        let kind = if below.is_some() { ChangeKind::Changed } else { ChangeKind::Added };
        found.push(Change { kind, path: path.clone() });
        let Some(folder) = &entry.folder else {
            if self.form == UpperForm::Whole
                && let Some((lower, below)) = below
                && let Some(FoundNode::Node(old)) =
                    self.lowers.read_node(lower, below).context(of)?
                && is_same(&node, &old)
            {
                found.pop();
            }
            return Ok(());
        };
        let count = found.len();
        let below_folder = below.and_then(|(_, below)| below.folder.as_ref());
        let visibility = if node.is_opaque { Below::Hidden } else { visibility };
        self.folder(folder, below_folder, visibility, found)?;
        if let (Some((lower, below)), Some(_)) = (below, below_folder)
            && count == found.len()
            && let Some(FoundNode::Node(old)) = self.lowers.read_node(lower, below).context(of)?
            && is_same(&node, &old)
        {
            // Copied up on the way to a file that did not change.
            found.pop();
        }
        Ok(())
    }
}

fn is_same(one: &LayerNode, other: &LayerNode) -> bool {
    let is_folder = |node: &LayerNode| node.file_type == FileType::Folder;
    // A folder's own size is meaningless.
    let size = |node: &LayerNode| if is_folder(node) { 0 } else { node.size };
    let facts = |node: &LayerNode| (node.mode, node.uid, node.gid, node.mtime, size(node));
    facts(one) == facts(other)
        && one.file_type == other.file_type
        && one.target == other.target
        && one.xattrs == other.xattrs
}
