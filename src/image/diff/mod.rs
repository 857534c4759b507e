//! Reads the files of layers' folders. `usnea diff` lists the changes in a writable layer, and `commit` writes its tar.
//! `export` writes the tree of a stack of layers as one tar.
//!
//! ```text
//!  node: one file, by descriptor     layers: a stack of folders as one tree
//!          \                          /             \
//!           tree: nodes as members of a tar         changes
//!          /               \
//!   layer_tar           merged_tar
//! ```
//!
//! Folders have the kernel overlay's form. A whiteout is a character device 0:0 or, where devices are impossible, an
//! empty file with the attribute `overlay.whiteout`. An opaque folder has the attribute `user.overlay.opaque` or
//! `trusted.overlay.opaque`. Where the file system supports neither, our own overlay writes files `.wh.NAME` and
//! `.wh..wh..opq`, which then are no plain files ([`Names`]). The files were made by a container: no symbolic link is
//! followed, only regular files are opened, and ambiguous files are errors. Runs in the base namespace, where all files
//! are readable.

mod changes;
mod layers;
mod node;
mod tree;

pub use changes::{Change, Form, Kind, changes, changes_of_tree};
pub use layers::{Folder, Names};
pub use node::LastLink;
pub use tree::{Part, changes_tar, layer_tar, merged_tar, part_tar};

#[cfg(test)]
mod tests;
