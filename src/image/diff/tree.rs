//! Layers' folders as tar archives. The same files give the same bytes: names are sorted, and times are whole seconds
//! (as in docker's layers). Nothing else of this machine is included.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use tar_core::builder::EntryBuilder;
use tar_core::{EntryType, HeaderError};

use super::changes::{Change, ChangeKind};
use super::layers::{LayerSource, LayerTree, TreeEntry, TreeFolder};
use super::node::{self, FoundNode, LastLink, LayerNode, NodeRules, bytes};
use crate::error::{Context, Error, Result};
use crate::image::archive::output::TarWriter;
use crate::image::owners::{FileType, Owners};
use crate::layer::whiteout::{self, WhiteoutName};

/// Writes the layer's tar of the writable layer in the folder `upper`, without sockets. Returns the writer. Errors: a
/// file with the name of a whiteout, a file that changes meanwhile, an unreadable file.
pub fn layer_tar<W: Write>(upper: &LayerSource, owners: &Owners, writer: W) -> Result<W> {
    write_tree(LayerTree::open(std::slice::from_ref(upper), owners)?, TarForm::Layer, writer)
}

/// Writes the layer's tar of these changes of a tree in the folder `upper` ([`super::Form::Whole`]).
pub fn changes_tar<W: Write>(
    upper: &LayerSource,
    changes: &[Change],
    owners: &Owners,
    writer: W,
) -> Result<W> {
    let root = File::open(&upper.path).context(|| upper.path.display().to_string())?;
    // A file that differs from the image's is the container's.
    let rules = NodeRules { owners, shown: upper.shown.as_ref(), layer: None, is_written: true };
    let (tar, links) = (TarWriter::new(writer), HashMap::new());
    let layers = LayerTree::of(None, owners);
    let mut tree = TreeWriter { tar, layers, form: TarForm::Layer, links, prefix: PathBuf::new() };
    for change in changes {
        let path = change.path.strip_prefix("/").unwrap_or(&change.path);
        let (Some(above), Some(name)) = (path.parent(), path.file_name()) else { continue };
        let mut write = || -> Result<()> {
            if change.kind == ChangeKind::Deleted {
                return tree.write_whiteout_of(above, name);
            }
            let folder = node::folder(&root, above)?;
            let read_node = |folder: OwnedFd| node::read_node(&folder.into(), name, rules);
            match folder.map(read_node).transpose()?.flatten() {
                Some(FoundNode::Node(node)) => tree.node(path, node),
                _ => Err(changed_meanwhile()),
            }
        };
        write().context(|| change.path.display().to_string())?;
    }
    tree.tar.finish().context(|| "cannot write the archive")
}

/// Makes the error for a vanished file: only a container that runs meanwhile can cause that.
fn changed_meanwhile() -> Error {
    Error::new("it went while it was read").hint("stop the container first")
}

/// Writes a tar of the merged tree of the layers in `folders` (topmost first), without sockets. Returns the writer.
/// Errors: a file that changes meanwhile, or is unreadable.
pub fn merged_tar<W: Write>(folders: &[LayerSource], owners: &Owners, writer: W) -> Result<W> {
    write_tree(LayerTree::open(folders, owners)?, TarForm::Whole, writer)
}

/// Writes a tar of a part of the tree below `root`: one member called `name` and, for a folder, all its content. Links
/// on the way stay inside the root; sockets are left out. Records count as an image's: the merged tree does not
/// show whether a container wrote a file. Errors: missing, or unreadable.
pub fn part_tar<W: Write>(
    root: impl AsFd,
    part: &TarPart<'_>,
    owners: &Owners,
    writer: W,
) -> Result<W> {
    let (node, folder) = node::open(
        root,
        part.path,
        part.last,
        NodeRules { owners, shown: None, layer: None, is_written: false },
    )?;
    let layers = LayerTree::of(folder, owners);
    let root = layers.root()?;
    let prefix = PathBuf::from(part.name);
    let (tar, links) = (TarWriter::new(writer), HashMap::new());
    let mut tree = TreeWriter { tar, layers, form: TarForm::Whole, links, prefix };
    let is_folder = node.file_type == FileType::Folder;
    tree.node(Path::new(""), node)?;
    if is_folder {
        tree.folder(root)?;
    }
    tree.tar.finish().context(|| "cannot write the archive")
}

/// The part that [`part_tar`] writes.
#[derive(Clone, Copy, Debug)]
pub struct TarPart<'a> {
    /// Path below the root.
    pub path: &'a Path,
    /// Treatment of a symbolic link as the last name.
    pub last: LastLink,
    /// Name in the archive.
    pub name: &'a OsStr,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum TarForm {
    /// A layer, with whiteouts for the layers below.
    Layer,
    /// A whole tree, without whiteouts.
    Whole,
}

fn write_tree<W: Write>(layers: LayerTree, form: TarForm, writer: W) -> Result<W> {
    let root = layers.root()?;
    let (tar, links) = (TarWriter::new(writer), HashMap::new());
    let mut tree = TreeWriter { tar, layers, form, links, prefix: PathBuf::new() };
    tree.folder(root)?;
    tree.tar.finish().context(|| "cannot write the archive")
}

struct TreeWriter<W> {
    tar: TarWriter<W>,
    layers: LayerTree,
    form: TarForm,
    // Files with several names, and the first name of each.
    links: HashMap<(u64, u64), PathBuf>,
    // Prefix of all names.
    prefix: PathBuf,
}

impl<W: Write> TreeWriter<W> {
    /// Writes the content of a folder. A container can nest thousands of folders, so the walk does not recurse.
    fn folder(&mut self, folder: TreeFolder) -> Result<()> {
        let mut open = vec![(self.layers.list(&folder)?.into_iter(), folder)];
        while let Some((entries, folder)) = open.last_mut() {
            let Some((name, entry)) = entries.next() else {
                open.pop();
                continue;
            };
            let path = folder.path.join(&name);
            let written = match &entry {
                Some(entry) if self.is_place(folder, entry)? => continue,
                Some(entry) => self.entry(folder, entry, &path),
                None => self.write_whiteout_of(&folder.path, &name),
            };
            written.context(|| format!("/{}", path.display()))?;
            if let Some(inner) = entry.and_then(|entry| entry.folder) {
                open.push((self.layers.list(&inner)?.into_iter(), inner));
            }
        }
        Ok(())
    }

    fn entry(&mut self, folder: &TreeFolder, entry: &TreeEntry, path: &Path) -> Result<()> {
        if self.form == TarForm::Layer && WhiteoutName::parse(&entry.name) != WhiteoutName::File {
            return Err(Error::new(
                "no layer can have a file of this name: .wh. begins a whiteout",
            )
            .hint("rename or remove it in the container"));
        }
        match self.layers.read_node(folder, entry)? {
            Some(FoundNode::Node(node)) => self.node(path, node),
            Some(FoundNode::Whiteout) | None => Err(changed_meanwhile()),
        }
    }

    fn is_place(&self, folder: &TreeFolder, entry: &TreeEntry) -> Result<bool> {
        Ok(self.form == TarForm::Layer && self.layers.is_place(folder, entry)?)
    }

    fn write_whiteout_of(&mut self, folder: &Path, name: &OsStr) -> Result<()> {
        if self.form == TarForm::Whole {
            return Ok(());
        }
        self.whiteout(&folder.join(whiteout::whiteout_name(name)))
    }

    fn node(&mut self, path: &Path, mut node: LayerNode) -> Result<()> {
        if node.file_type == FileType::Socket {
            log::debug!("/{}: sockets are left out", path.display());
            return Ok(());
        }
        let path = &match path.as_os_str().is_empty() {
            true => self.prefix.clone(),
            false => self.prefix.join(path),
        };
        if node.links > 1 && node.file_type != FileType::Folder {
            if let Some(first) = self.links.get(&node.id) {
                let headers = member_headers(path, &node, Some(first)).map_err(Error::new)?;
                return Ok(self.tar.append(&headers, 0, &mut io::empty())?);
            }
            self.links.insert(node.id, path.to_owned());
        }
        let headers = member_headers(path, &node, None).map_err(Error::new)?;
        let is_opaque = node.is_opaque && self.form == TarForm::Layer;
        match (node.file_type, node.content.take()) {
            (FileType::File, Some(mut content)) => {
                node.refuse_endless()?;
                self.tar.append(&headers, node.size, &mut content)?;
            }
            _ => self.tar.append(&headers, 0, &mut io::empty())?,
        }
        if is_opaque { self.whiteout(&path.join(whiteout::OPAQUE_NAME)) } else { Ok(()) }
    }

    fn whiteout(&mut self, path: &Path) -> Result<()> {
        let headers = whiteout_headers(path).map_err(Error::new)?;
        Ok(self.tar.append(&headers, 0, &mut io::empty())?)
    }
}

/// Makes the headers of a mark: an empty file of this name.
pub fn whiteout_headers(path: &Path) -> Result<Vec<u8>, HeaderError> {
    let mut entry = EntryBuilder::new_ustar();
    entry.path(bytes(path)).entry_type(EntryType::Regular);
    let numbers = entry.mode(0).and_then(|entry| entry.uid(0)).and_then(|entry| entry.gid(0));
    let numbers = numbers.and_then(|entry| entry.mtime(0)).and_then(|entry| entry.size(0));
    Ok(numbers?.finish_bytes())
}

/// Makes the headers of a member. `link`: the first name of the file, for a further hard link.
pub fn member_headers(
    path: &Path,
    node: &LayerNode,
    link: Option<&PathBuf>,
) -> Result<Vec<u8>, HeaderError> {
    let mut name = bytes(path).to_vec();
    let (kind, target) = match (link, node.file_type) {
        (Some(first), _) => (EntryType::Link, bytes(first)),
        (None, FileType::Symlink) => (EntryType::Symlink, node.target.as_bytes()),
        (None, FileType::Folder) => {
            name.push(b'/');
            (EntryType::Directory, &b""[..])
        }
        (None, FileType::File) => (EntryType::Regular, &b""[..]),
        (None, FileType::Pipe | FileType::Socket) => (EntryType::Fifo, &b""[..]),
        (None, FileType::Block(..)) => (EntryType::Block, &b""[..]),
        (None, FileType::Character(..)) => (EntryType::Char, &b""[..]),
    };
    let mut entry = EntryBuilder::new_ustar();
    entry.path(&name).entry_type(kind);
    if !target.is_empty() {
        entry.link_name(target);
    }
    let size = if kind == EntryType::Regular { node.size } else { 0 };
    entry.mode(node.mode)?.uid(node.uid.into())?.gid(node.gid.into())?.size(size)?;
    // Times before 1970 have no form that all readers support.
    entry.mtime(u64::try_from(node.mtime).unwrap_or(0))?;
    if let (FileType::Block(major, minor) | FileType::Character(major, minor), None) =
        (node.file_type, link)
    {
        entry.device(major, minor)?;
    }
    if link.is_none() {
        for (name, value) in &node.xattrs {
            entry.add_pax(&format!("SCHILY.xattr.{name}"), value);
        }
    }
    Ok(entry.finish_bytes())
}
