//! Squashfs file as an image: its files as the tar of one layer, with the configuration behind the file system.
//!
//! The file may come from anyone. The reader checks numbers and offsets; a folder is entered once, and the layer is
//! unpacked like any other.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;

use super::trailer::ImageTrailer;
use crate::error::{Context, Error, Result};
use crate::files;
use crate::image::archive::output::TarWriter;
use crate::image::compose::{
    self, ComposedImage, LayerWriter, NewLayer, NewLayerForm, PlainLayerWriter,
};
use crate::image::diff::{LayerNode, member_headers, whiteout_headers};
use crate::image::owners::FileType;
use crate::layer::is_overlay_attribute;
use crate::layer::squashfs::format::MAGIC;
use crate::layer::squashfs::{
    CacheLimits, Inode, InodeKind, InodeRef, SquashfsFile, SquashfsImage,
};
use crate::layer::whiteout::{OPAQUE_NAME, WhiteoutName, whiteout_name};

/// Transport of squashfs files in signature policies.
pub const TRANSPORT: &str = "sqsh";

/// Image of a squashfs file.
pub struct ArchivedSquashfs {
    /// Image with a single layer, a file in `tmp`.
    pub image: ComposedImage,
    /// Names in the file.
    pub names: Vec<String>,
}

/// True if a file begins as squashfs does.
pub fn is_squashfs(file: &File) -> bool {
    let mut magic = [0; 4];
    file.read_exact_at(&mut magic, 0).is_ok() && u32::from_le_bytes(magic) == MAGIC
}

/// Reads the image of a squashfs file, called `name` in messages. Its layer is written to `tmp`. Errors: no image
/// configuration in the file; a damaged file; names that no layer can have.
pub fn open(file: File, name: &str, tmp: &Path) -> Result<ArchivedSquashfs> {
    let clone = file.try_clone().context(|| "cannot duplicate a file")?;
    let squashfs = SquashfsImage::open(clone.into(), 0, CacheLimits::default())?;
    let trailer = ImageTrailer::read(&file, squashfs.end())?.ok_or_else(|| {
        Error::invalid("it has no image configuration, as only files of usnea save have").hint(
            "unpack it with unsquashfs, and make an image of a tar of its files by usnea import",
        )
    })?;
    let layers = vec![layer(squashfs, LayerMarks::None, tmp, NewLayerForm::Plain)?];
    let configuration = trailer.configuration.as_bytes();
    let image = compose::with_layers(configuration, layers, name.to_owned())?;
    Ok(ArchivedSquashfs { image, names: trailer.names })
}

/// Image whose layers are in one file, each a squashfs.
pub struct LayersInFile<'a> {
    /// Open file.
    pub file: &'a File,
    /// Offsets of the layers, the topmost first. With several, the upper ones may have the marks of overlayfs.
    pub offsets: &'a [u64],
    /// Configuration of the image.
    pub configuration: &'a str,
    /// Name in messages.
    pub name: &'a str,
}

impl LayersInFile<'_> {
    /// Makes an image of the layers, which are written to `tmp`. Errors: a damaged file; names that no layer can have.
    pub fn compose(&self, tmp: &Path, form: NewLayerForm) -> Result<ComposedImage> {
        let marks = match self.offsets.len() {
            1 => LayerMarks::None,
            _ => LayerMarks::Overlay,
        };
        let layers = self.offsets.iter().rev().map(|offset| {
            let file = self.file.try_clone().context(|| "cannot duplicate a file")?;
            let squashfs = SquashfsImage::open(file.into(), *offset, CacheLimits::default())?;
            layer(squashfs, marks, tmp, form)
        });
        let layers = layers.collect::<Result<Vec<_>>>()?;
        compose::with_layers(self.configuration.as_bytes(), layers, self.name.to_owned())
    }
}

/// Marks among the files of a squashfs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LayerMarks {
    /// None: the files are a whole root.
    None,
    /// Whiteouts as devices, and opaque folders by attribute.
    Overlay,
}

/// Writes the files of an image as a layer, to `tmp`.
fn layer(
    squashfs: Arc<SquashfsImage>,
    marks: LayerMarks,
    tmp: &Path,
    form: NewLayerForm,
) -> Result<NewLayer> {
    match form {
        NewLayerForm::Plain => {
            let mut writer = PlainLayerWriter::new(tmp)?;
            SquashfsWalk::new(squashfs, marks, &mut writer, tmp).run()?;
            writer.finish()
        }
        NewLayerForm::Gzip => {
            let mut writer = LayerWriter::new(tmp)?;
            SquashfsWalk::new(squashfs, marks, &mut writer, tmp).run()?;
            writer.finish()
        }
    }
}

/// Walk over the files of a squashfs, which become members of a tar.
struct SquashfsWalk<'a, W> {
    squashfs: Arc<SquashfsImage>,
    marks: LayerMarks,
    tar: TarWriter<W>,
    // First name of each file with several.
    links: HashMap<u64, PathBuf>,
    // Folders: a malformed file could nest one in itself.
    entered: HashSet<InodeRef>,
    tmp: &'a Path,
}

/// Folder whose entries are written.
struct EnteredFolder {
    path: PathBuf,
    left: std::vec::IntoIter<(OsString, InodeRef)>,
}

impl<'a, W: Write> SquashfsWalk<'a, W> {
    fn new(squashfs: Arc<SquashfsImage>, marks: LayerMarks, writer: W, tmp: &'a Path) -> Self {
        let (tar, links, entered) = (TarWriter::new(writer), HashMap::new(), HashSet::new());
        Self { squashfs, marks, tar, links, entered, tmp }
    }

    fn run(mut self) -> Result<()> {
        let root = self.squashfs.inode(self.squashfs.root()).context(|| "/")?;
        self.member(Path::new("."), &root).context(|| "/")?;
        let mut open = vec![self.enter(PathBuf::new(), &root).context(|| "/")?];
        while let Some(folder) = open.last_mut() {
            let Some((name, reference)) = folder.left.next() else {
                open.pop();
                continue;
            };
            let path = folder.path.join(&name);
            let inner = self.entry(&name, reference, &path);
            open.extend(inner.context(|| format!("/{}", path.display()))?);
        }
        self.tar.finish().map_err(|error| files::cannot_write(error, self.tmp))?;
        Ok(())
    }

    fn enter(&mut self, path: PathBuf, folder: &Inode) -> Result<EnteredFolder> {
        if !self.entered.insert(folder.reference) {
            return Err(Error::new("a folder with two names: the file is damaged"));
        }
        let mut entries = Vec::new();
        self.squashfs.list(folder, 0, |entry| {
            entries.push((entry.name.to_owned(), entry.reference));
            ControlFlow::Continue(())
        })?;
        Ok(EnteredFolder { path, left: entries.into_iter() })
    }

    /// Writes an entry; returns it if it is a folder.
    fn entry(
        &mut self,
        name: &OsStr,
        reference: InodeRef,
        path: &Path,
    ) -> Result<Option<EnteredFolder>> {
        if WhiteoutName::parse(name) != WhiteoutName::File {
            return Err(Error::new(
                "no layer can have a file of this name: .wh. begins a whiteout",
            ));
        }
        let inode = self.squashfs.inode(reference)?;
        let is_device = inode.kind == InodeKind::CharacterDevice && inode.rdev == 0;
        if is_device && self.marks == LayerMarks::Overlay {
            self.whiteout(&path.with_file_name(whiteout_name(name)))?;
            return Ok(None);
        }
        if inode.kind != InodeKind::Socket {
            self.member(path, &inode)?;
        }
        match inode.kind {
            InodeKind::Folder => self.enter(path.to_owned(), &inode).map(Some),
            _ => Ok(None),
        }
    }

    fn member(&mut self, path: &Path, inode: &Inode) -> Result<()> {
        let node = self.node(inode)?;
        let first = self.links.get(&inode.number);
        let is_linked = inode.nlink > 1 && inode.kind != InodeKind::Folder;
        let headers = member_headers(path, &node, first.filter(|_| is_linked));
        let headers = headers.map_err(Error::new)?;
        let is_further = is_linked && first.is_some();
        if is_linked && !is_further {
            self.links.insert(inode.number, path.to_owned());
        }
        if is_further || inode.kind != InodeKind::File {
            self.append(&headers, 0, &mut io::empty())?;
            return match inode.kind {
                InodeKind::Folder => self.mark_opaque(path, inode),
                _ => Ok(()),
            };
        }
        node.refuse_endless()?;
        let file = SquashfsFile::open(&self.squashfs, inode)?;
        let mut content = SequentialFile { file, offset: 0, failure: None };
        let appended = self.append(&headers, inode.size, &mut content);
        match content.failure {
            Some(errno) => Err(errno.into()),
            None => appended,
        }
    }

    /// Writes the mark of an opaque folder behind the folder itself.
    fn mark_opaque(&mut self, path: &Path, folder: &Inode) -> Result<()> {
        if self.marks == LayerMarks::None || !folder.has_xattrs() {
            return Ok(());
        }
        let is_opaque = ["trusted.overlay.opaque", "user.overlay.opaque"].iter().any(|name| {
            self.squashfs.xattr(folder, name.as_bytes()).is_ok_and(|value| value == b"y")
        });
        match is_opaque {
            true => self.whiteout(&path.join(OPAQUE_NAME)),
            false => Ok(()),
        }
    }

    fn whiteout(&mut self, path: &Path) -> Result<()> {
        let headers = whiteout_headers(path).map_err(Error::new)?;
        self.append(&headers, 0, &mut io::empty())
    }

    fn append(&mut self, headers: &[u8], size: u64, content: &mut dyn Read) -> Result<()> {
        let appended = self.tar.append(headers, size, content);
        appended.map_err(|error| files::cannot_write(error, self.tmp))
    }

    fn node(&self, inode: &Inode) -> Result<LayerNode> {
        let device = (rustix::fs::major(inode.rdev), rustix::fs::minor(inode.rdev));
        let mut xattrs = Vec::new();
        let names = match inode.has_xattrs() {
            true => self.squashfs.xattr_names(inode)?,
            false => Vec::new(),
        };
        for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            let Ok(text) = str::from_utf8(name) else { continue };
            // A PAX header has no form for a name with `=`.
            if !text.contains('=') && !is_overlay_attribute(name) {
                xattrs.push((text.to_owned(), self.squashfs.xattr(inode, name)?));
            }
        }
        let target = match inode.kind {
            InodeKind::Symlink => self.squashfs.read_link(inode)?,
            _ => Vec::new(),
        };
        Ok(LayerNode {
            file_type: match inode.kind {
                InodeKind::Folder => FileType::Folder,
                InodeKind::File => FileType::File,
                InodeKind::Symlink => FileType::Symlink,
                InodeKind::BlockDevice => FileType::Block(device.0, device.1),
                InodeKind::CharacterDevice => FileType::Character(device.0, device.1),
                InodeKind::Fifo => FileType::Pipe,
                InodeKind::Socket => FileType::Socket,
            },
            mode: inode.mode,
            uid: inode.uid,
            gid: inode.gid,
            size: inode.size,
            on_disk: inode.blocks().saturating_mul(512),
            mtime: inode.mtime.into(),
            id: (0, inode.number),
            links: inode.nlink.into(),
            xattrs,
            is_opaque: false,
            target: std::os::unix::ffi::OsStringExt::from_vec(target),
            content: None,
        })
    }
}

/// Content of a regular file from its beginning on.
struct SequentialFile {
    file: SquashfsFile,
    offset: u64,
    /// Cause of a failed read, which is not the tar's.
    failure: Option<Errno>,
}

impl Read for SequentialFile {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read_at(room, self.offset).map_err(|errno| {
            self.failure = Some(errno);
            io::Error::from(errno)
        })?;
        self.offset += length as u64;
        Ok(length)
    }
}
