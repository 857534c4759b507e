//! The files of layers' folders on their way out: what changed in a writable layer (`usnea diff`), a layer's tar of it
//! (`commit`), and the whole tree of a stack of layers as one tar (`export`).
//!
//! ```text
//!  node: one file, by descriptor     layers: a stack of folders as one tree
//!          \                          /             \
//!           tree: nodes as members of a tar         changes
//!          /               \
//!   layer_tar           merged_tar
//! ```
//!
//! Folders have the kernel overlay's form: a whiteout is a character device 0:0 (or, where there are none, an empty file
//! with the attribute `overlay.whiteout`), an opaque folder has the attribute `user.overlay.opaque` or
//! `trusted.overlay.opaque`. Where the file system has neither, our own overlay writes files `.wh.NAME` and
//! `.wh..wh..opq`, which are no files then ([`Names`]). A container made the files: no symbolic link is followed, nothing but regular files is
//! opened, and what cannot be told apart is an error. In the base namespace, where all can be read.

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
