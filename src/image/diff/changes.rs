//! What a writable layer changes in the tree below it, as `docker diff` says it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use super::layers::{Entry, Folder, Layers, Merged};
use super::node::{Found, Node};
use crate::error::{Context, Result};
use crate::image::owners::{FileType, Owners};

/// How a file changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// It was not there.
    Added,
    /// It was there, and it or something in it is another now.
    Changed,
    /// It is gone, with all that was in it.
    Deleted,
}

/// One file that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// How.
    pub kind: Kind,
    /// Its absolute path in the container.
    pub path: PathBuf,
}

impl fmt::Display for Kind {
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

/// What a writable layer's folder holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// What changed alone: overlayfs shows the rest.
    Changes,
    /// The whole tree, which was copied from the layers below.
    Whole,
}

/// What the layer in the folder `upper` changes of the layers in `lowers`, topmost first: folders before what is in
/// them, each sorted. A folder is changed when something in it is, or its owner, mode or time; so is a file of a whole
/// tree, by its size too: its content is not read.
pub fn changes(
    upper: &Folder,
    form: Form,
    lowers: &[Folder],
    owners: &Owners,
) -> Result<Vec<Change>> {
    changes_of_stack(std::slice::from_ref(upper), form, lowers, owners)
}

/// [`changes`] of a tree of several layers: topmost first, and the whole tree.
pub fn changes_of_tree(
    uppers: &[Folder],
    lowers: &[Folder],
    owners: &Owners,
) -> Result<Vec<Change>> {
    changes_of_stack(uppers, Form::Whole, lowers, owners)
}

fn changes_of_stack(
    uppers: &[Folder],
    form: Form,
    lowers: &[Folder],
    owners: &Owners,
) -> Result<Vec<Change>> {
    let walk =
        Walk { upper: Layers::open(uppers, owners)?, lowers: Layers::open(lowers, owners)?, form };
    let mut found = Vec::new();
    let (root, lower) = (walk.upper.root()?, walk.lowers.root()?);
    walk.folder(&root, Some(&lower), form == Form::Whole, &mut found)?;
    Ok(found)
}

struct Walk {
    form: Form,
    upper: Layers,
    lowers: Layers,
}

impl Walk {
    /// `lower`: the folder of the same path below; `is_hidden`: nothing of that is to be seen any more.
    fn folder(
        &self,
        upper: &Merged,
        lower: Option<&Merged>,
        is_hidden: bool,
        found: &mut Vec<Change>,
    ) -> Result<()> {
        let mut entries: BTreeMap<OsString, Option<Entry>> =
            self.upper.list(upper)?.into_iter().collect();
        if let (true, Some(lower)) = (is_hidden, lower) {
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
                    self.entry(upper, &entry, below, is_hidden, found, path)?;
                }
                // A whiteout, or what an opaque folder hides.
                (None, Some(_)) => found.push(Change { kind: Kind::Deleted, path }),
                (None, None) => {}
            }
        }
        Ok(())
    }

    /// `below`: what the tree below has of that name, and in which folder.
    fn entry(
        &self,
        upper: &Merged,
        entry: &Entry,
        below: Option<(&Merged, &Entry)>,
        is_hidden: bool,
        found: &mut Vec<Change>,
        path: PathBuf,
    ) -> Result<()> {
        let of = || path.display().to_string();
        let Some(Found::Node(node)) = self.upper.look(upper, entry).context(of)? else {
            return Ok(());
        };
        let kind = if below.is_some() { Kind::Changed } else { Kind::Added };
        found.push(Change { kind, path: path.clone() });
        let Some(folder) = &entry.folder else {
            if self.form == Form::Whole
                && let Some((lower, below)) = below
                && let Some(Found::Node(old)) = self.lowers.look(lower, below).context(of)?
                && is_same(&node, &old)
            {
                found.pop();
            }
            return Ok(());
        };
        let count = found.len();
        let below_folder = below.and_then(|(_, below)| below.folder.as_ref());
        self.folder(folder, below_folder, is_hidden || node.is_opaque, found)?;
        if let (Some((lower, below)), Some(_)) = (below, below_folder)
            && count == found.len()
            && let Some(Found::Node(old)) = self.lowers.look(lower, below).context(of)?
            && is_same(&node, &old)
        {
            // Copied up on the way to something that is as it was.
            found.pop();
        }
        Ok(())
    }
}

fn is_same(one: &Node, other: &Node) -> bool {
    let is_folder = |node: &Node| node.file_type == FileType::Folder;
    // A folder's own size says nothing.
    let size = |node: &Node| if is_folder(node) { 0 } else { node.size };
    let facts = |node: &Node| (node.mode, node.uid, node.gid, node.mtime, size(node));
    facts(one) == facts(other)
        && one.file_type == other.file_type
        && one.target == other.target
        && one.xattrs == other.xattrs
}
