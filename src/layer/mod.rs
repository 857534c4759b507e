//! Layers: the files that one step of an image's build added, changed or removed, and the meaning of the marks among
//! them. A layer's marks are decoded here alone; readers differ only in the marks that they can meet.
//!
//! ```text
//!  whiteout       names and devices: what a name means
//!  trial          the form that a file system can hold
//!  mark           attributes of overlayfs: opaque, whiteout, redirect, metacopy
//!  mark_attributes  the same attributes, written
//!  acl            access control lists in attributes
//!  override_stat  the attribute with a file's intended owner, mode and type
//!  lower          read-only layer of a root: a folder on disk, or an image; one type for the folders and files of both,
//!                 which the server of the FUSE overlay reads too
//!  folder         trait to read one layer, and its implementation for a folder on disk
//!  entry          one name in one layer, decoded         merged   a stack of layers as one tree
//!  squashfs       images that are read in place, as a layer
//! ```
//!
//! Forms of the marks, `P` being `user.overlay` or `trusted.overlay` (a user namespace can only write the first):
//!
//! | mark | form | written by |
//! | --- | --- | --- |
//! | whiteout: a name is removed | character device 0:0 | the kernel's overlay, ours, unpacking |
//! | | empty file with `P.whiteout`, where folder and layer's root have `P.opaque` = `x` | our overlay without devices, mkcomposefs; the kernel's overlay reads it since 6.8 |
//! | | file `.wh.NAME` (image spec, layer.md) | tar archives; our overlay and unpacking without devices or attributes; fuse-overlayfs |
//! | | empty file with `Q.whiteout`, where folder and layer's root have `Q.whiteouts` | our overlay and unpacking on a file system that keeps all the others to itself (fuse-overlayfs); `Q` is `user.usnea.overlay` |
//! | opaque: a folder hides those below | `P.opaque` = `y` | the kernel's overlay, ours, unpacking |
//! | | `Q.opaque` = `y` | as `Q.whiteout` |
//! | | file `.wh..wh..opq` in it (image spec) | as `.wh.NAME`; fuse-overlayfs writes it beside its own `user.fuseoverlayfs.opaque`, which therefore is not read |
//! | a folder's content is elsewhere | `P.redirect` | the kernel's overlay with `redirect_dir`: never ours, refused |
//! | a file's content is elsewhere | `P.metacopy` | the kernel's overlay with `metacopy`: never ours, refused |
//! | no mark | `.wh..wh.*` | aufs: left out of archives, hidden where names are whiteouts |
//!
//! Linux 6.7 marked folders of attribute whiteouts by `P.whiteouts` instead; `P.opaque` = `x` replaced that mark in 6.8
//! (and 6.7.3). No tool wrote the former form for long: it is not read. The kernel's overlay reads a single prefix:
//! `user.overlay` with the option `userxattr`, else `trusted.overlay`.
//!
//! Readers, and the reason for each form that is not read:
//!
//! | reader | devices | attributes | names |
//! | --- | --- | --- | --- |
//! | image/extract: archives | never: a device 0:0 of an archive is left out | never: an archive's `P.*` and `Q.*` are left out | always |
//! | image/extract: the folder being filled | yes | `Q.*`, as the store's file system needs | as the store's file system needs |
//! | image/store/check | compares what unpacking writes, mark by mark | | |
//! | image/diff, rootfs/copy, [`merged`] | yes | where declared | where the layer has that form |
//! | rootfs/fuse | yes | where declared, or in the upper layer while this server writes them | as the mount says, or in the upper layer while this server writes them |
//! | the kernel's overlay | yes | `P.*` since 6.8, `Q.*` never | never: such layers are stacked by ours, or copied |
//!
//! A whiteout by name hides the layers below, never a file of its own layer: that file was made after the whiteout. A
//! folder beside the whiteout of its own name hides those below like an opaque one.

pub mod acl;
mod entry;
mod folder;
mod lower;
mod mark;
mod mark_attributes;
mod merged;
pub mod override_stat;
pub mod squashfs;
mod trial;
pub mod whiteout;

pub use entry::{Below, Layer, LayerEntry};
pub use folder::{
    DiskFolder, LayerFile, LayerFolder, for_each_entry, path_below, path_of, read_names, read_value,
};
pub use lower::{FoundFile, LowerFile, LowerFolder, LowerLayer, LowerName};
pub use mark::{
    FolderMarks, WhiteoutForms, escaped, has_metacopy, is_overlay_attribute, unescaped,
};
pub use mark_attributes::MarkAttributes;
pub use merged::Merged;
pub use trial::find_whiteout_form;
