//! Reads the files of layers' folders. `usnea diff` lists the changes in a writable layer, and `commit` writes its tar.
//! `export` writes the tree of a stack of layers as one tar.
//!
//! ```text
//!  node: one file, by descriptor     layers: a stack of folders as one tree     image_owners: owners in an image
//!          \                          /             \
//!           tree: nodes as members of a tar         changes
//!          /               \
//!   layer_tar           merged_tar
//! ```
//!
//! Marks in the folders are decoded by [`crate::layer`]. The files were made by a container: no symbolic link is
//! followed, only regular files are opened, and ambiguous files are errors. Runs in the base namespace, where all files
//! are readable.

mod changes;
mod image_owners;
mod layers;
mod node;
mod tree;

pub use changes::{Change, ChangeKind, UpperForm, changes, changes_of_tree};
pub use layers::{LayerSource, LayerTree, TreeEntry, TreeFolder};
pub use node::{FoundNode, LastLink, LayerNode};
pub use tree::{
    TarPart, changes_tar, layer_tar, member_headers, merged_tar, part_tar, whiteout_headers,
};

#[cfg(test)]
mod tests;
