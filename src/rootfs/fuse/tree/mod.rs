//! The overlay itself: the meaning of a name over several layers, and the effect of a change on the upper layer. Knows
//! nothing of FUSE: nodes are numbers, answers are plain values, errors are errnos.
//!
//! A file on disk is always reached by a descriptor of its folder and its last name, which has no `/` in it and is
//! never followed. Folders are opened from their parents' descriptors. Therefore no path in a layer can lead out of it.
//! A file of an image is reached by its location there.
//!
//! Locks are taken in this order: `moves`, then a node's `place`, then its parents'. `moves` is shared by code that
//! finds a file by its place, and exclusive for renaming folders. Copy-up of data holds none of them.

mod access;
mod attributes;
mod change;
mod copied_links;
mod copyup;
mod data;
mod file;
mod folders;
mod layers;
mod links;
mod listing;
mod lists;
mod lookup;
mod make;
mod node;
mod number;
mod open_folders;
mod overlay;
mod owner;
mod remove;
mod rename;
mod rules;
mod whiteout;
mod work;
mod xattr;

pub use attributes::{AttributeChange, FileAttributes, FsSpace, NewTime, Time};
pub use file::{FileBytes, FilePosition, OpenFile, Synced, WritePrivileges};
pub use layers::{FsCaller, FsResult, LowerImage, LowerSource, OpenLayers, OverlayLayers};
pub use listing::{Detail, Item, ReplyRoom};
pub use lookup::NodeEntry;
pub use make::NewFile;
pub use node::ROOT;
pub use overlay::OverlayTree;
pub use owner::ShownIds;
pub use rename::RenameMode;
pub use rules::OverlayRules;
pub use work::NAMES;

#[cfg(test)]
mod tests;
