//! Changes of a writable layer against the tree below, in the terms of `docker diff`.

use std::collections::{BTreeMap, btree_map};
use std::ffi::{OsStr, OsString};
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
    let visibility = match form {
        UpperForm::Whole => Below::Hidden,
        UpperForm::Changes => Below::Seen,
    };
    walk.run(visibility)
}

struct ChangeWalk {
    form: UpperForm,
    upper: LayerTree,
    lowers: LayerTree,
}

/// A folder of the upper tree while its entries are compared.
struct ComparedFolder {
    upper: TreeFolder,
    /// The folder of the same path below.
    lower: Option<TreeFolder>,
    /// Visibility of the lower folder's content.
    visibility: Below,
    /// Entries that are not compared yet; `None`: only below, or a whiteout.
    entries: btree_map::IntoIter<OsString, Option<TreeEntry>>,
    /// State for the comparison of the folder itself, if both trees have it. It follows that of its content.
    pair: Option<FolderPair>,
}

struct FolderPair {
    node: LayerNode,
    below: TreeEntry,
    /// Number of changes up to the folder's own.
    count: usize,
}

impl ChangeWalk {
    /// Compares the trees. A container can nest thousands of folders, so the walk does not recurse.
    fn run(&self, visibility: Below) -> Result<Vec<Change>> {
        let mut found = Vec::new();
        let (root, lower) = (self.upper.root()?, self.lowers.root()?);
        let mut open = vec![self.folder(root, Some(lower), visibility, None)?];
        while let Some(folder) = open.last_mut() {
            if let Some((name, entry)) = folder.entries.next() {
                let inner = self.entry(folder, &name, entry, &mut found)?;
                open.extend(inner);
                continue;
            }
            let ended = open.pop();
            if let (Some(ended), Some(above)) = (ended, open.last()) {
                self.leave(&ended, above, &mut found)?;
            }
        }
        Ok(found)
    }

    fn folder(
        &self,
        upper: TreeFolder,
        lower: Option<TreeFolder>,
        visibility: Below,
        pair: Option<FolderPair>,
    ) -> Result<ComparedFolder> {
        let mut entries: BTreeMap<OsString, Option<TreeEntry>> =
            self.upper.list(&upper)?.into_iter().collect();
        if let (Below::Hidden, Some(lower)) = (visibility, &lower) {
            for (name, _) in self.lowers.list(lower)? {
                entries.entry(name).or_insert(None);
            }
        }
        Ok(ComparedFolder { upper, lower, visibility, entries: entries.into_iter(), pair })
    }

    /// Compares an entry of `folder`. Returns the entry if it is a folder, for the comparison of its content.
    fn entry(
        &self,
        folder: &ComparedFolder,
        name: &OsStr,
        entry: Option<TreeEntry>,
        found: &mut Vec<Change>,
    ) -> Result<Option<ComparedFolder>> {
        let (upper, lower) = (&folder.upper, folder.lower.as_ref());
        let path = Path::new("/").join(upper.path.join(name));
        let of = || path.display().to_string();
        let below = lower.map(|lower| self.lowers.child(lower, name)).transpose()?.flatten();
        let entry = match (entry, &below) {
            (Some(entry), None) if self.upper.is_place(upper, &entry)? => return Ok(None),
            (Some(entry), _) => entry,
            // A whiteout, or a file hidden by an opaque folder.
            (None, Some(_)) => {
                found.push(Change { kind: ChangeKind::Deleted, path });
                return Ok(None);
            }
            (None, None) => return Ok(None),
        };
        let Some(FoundNode::Node(node)) = self.upper.read_node(upper, &entry).context(of)? else {
            return Ok(None);
        };
        let kind = if below.is_some() { ChangeKind::Changed } else { ChangeKind::Added };
        found.push(Change { kind, path: path.clone() });
        let Some(inner) = entry.folder else {
            if self.form == UpperForm::Whole
                && let Some((lower, below)) = lower.zip(below.as_ref())
                && let Some(FoundNode::Node(old)) =
                    self.lowers.read_node(lower, below).context(of)?
                && is_same(&node, &old)
            {
                found.pop();
            }
            return Ok(None);
        };
        let visibility = if node.is_opaque { Below::Hidden } else { folder.visibility };
        let inner_below = below.as_ref().and_then(|below| below.folder.clone());
        let pair = match (below, &inner_below) {
            (Some(below), Some(_)) => Some(FolderPair { node, below, count: found.len() }),
            _ => None,
        };
        self.folder(inner, inner_below, visibility, pair).map(Some)
    }

    /// Removes the change of a folder that equals the one in the lower layers, with all its content. Such a folder was
    /// copied up for a file that did not change.
    fn leave(
        &self,
        ended: &ComparedFolder,
        above: &ComparedFolder,
        found: &mut Vec<Change>,
    ) -> Result<()> {
        let (Some(pair), Some(lower)) = (&ended.pair, &above.lower) else { return Ok(()) };
        let of = || format!("/{}", ended.upper.path.display());
        if pair.count == found.len()
            && let Some(FoundNode::Node(old)) =
                self.lowers.read_node(lower, &pair.below).context(of)?
            && is_same(&pair.node, &old)
        {
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
