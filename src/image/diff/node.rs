//! A file of a layer's folder as the container sees it. The facts are the recorded owner and mode if present, the
//! attributes that belong to an image, and overlayfs's marks.

use std::ffi::{CStr, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use rustix::fs::{FileType as OnDisk, OFlags, Stat};
use rustix::io::Errno;

use crate::error::{Context, Error, Result};
use crate::fail;
use crate::ids::{BaseIds, FileIds, Id, IdMaps, Map};
use crate::image::owners::{FileType, OVERRIDE_STAT, OverrideStat, Owners};
use crate::layer::acl;
use crate::layer::{Below, DiskFolder, Layer, LayerFolder};
use crate::sys::inroot::{self, Symlinks};

/// Result of the lookup of a name.
pub enum FoundNode {
    /// A whiteout: hides the name in the layers below.
    Whiteout,
    /// A file.
    Node(LayerNode),
}

/// A file of any kind.
pub struct LayerNode {
    /// Kind of the file.
    pub file_type: FileType,
    /// Permissions with setuid, setgid and sticky.
    pub mode: u32,
    /// User ID of the owner.
    pub uid: u32,
    /// Group ID of the owner.
    pub gid: u32,
    /// Length in bytes of a regular file.
    pub size: u64,
    /// Allocated bytes: fewer than `size` if the file has holes.
    pub on_disk: u64,
    /// Time of the last change of content: seconds since 1970.
    pub mtime: i64,
    /// Device and inode, to detect hard links.
    pub id: (u64, u64),
    /// Number of hard links.
    pub links: u64,
    /// Extended attributes that belong to an image, sorted by name.
    pub xattrs: Vec<(String, Vec<u8>)>,
    /// True for a folder that hides its content in the layers below.
    pub is_opaque: bool,
    /// Target of a symbolic link.
    pub target: OsString,
    /// The open file, for a regular file.
    pub content: Option<File>,
}

/// Settings for reading owners and marks from disk.
#[derive(Clone, Copy)]
pub struct NodeRules<'a> {
    /// Form in which owners are stored.
    pub owners: &'a Owners,
    /// Maps that a copy of the image's files was made with, to be undone.
    pub shown: Option<&'a IdMaps<FileIds, BaseIds>>,
    /// Layer of the file. `None` in a whole tree, where overlayfs's marks come from the container and mean nothing.
    pub layer: Option<&'a Layer>,
    /// True if a container has written the file, not an image.
    pub is_written: bool,
}

impl NodeRules<'_> {
    /// The container's IDs of a file. An ID outside the maps stays unchanged.
    fn ids(&self, stat: &Stat) -> (u32, u32) {
        if *self.owners == Owners::Shared {
            return (0, 0); // all files belong to the store's owner, who may be another user
        }
        (self.uid(stat.st_uid), self.gid(stat.st_gid))
    }

    fn uid(&self, on_disk: u32) -> u32 {
        self.shown.map_or(on_disk, |maps| shown(&maps.uids, on_disk))
    }

    fn gid(&self, on_disk: u32) -> u32 {
        self.shown.map_or(on_disk, |maps| shown(&maps.gids, on_disk))
    }

    /// The ACL with the container's IDs. `None`: not an ACL that an image can hold.
    fn acl(&self, on_disk: &[u8]) -> Option<Vec<u8>> {
        if *self.owners == Owners::Shared {
            return None;
        }
        // An ID without a place in our user namespace is -1.
        let known = |id: u32| (id != u32::MAX).then_some(id);
        let user = |id| Ok(known(id).map(|id| self.uid(id)));
        let group = |id| Ok(known(id).map(|id| self.gid(id)));
        acl::map_ids(on_disk, user, group).ok()
    }
}

fn shown(map: &Map<FileIds, BaseIds>, on_disk: u32) -> u32 {
    map.inside_of(Id::new(on_disk)).map_or(on_disk, Id::number)
}

/// Opens the folder at `path` below `root`. `None`: missing, or not a folder. Errors: a symbolic link on the way.
pub fn folder(root: impl AsFd, path: &Path) -> io::Result<Option<OwnedFd>> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    match inroot::open(root, path, flags, Symlinks::Refuse) {
        Ok(fd) => Ok(Some(fd)),
        Err(error) => match error.raw_os_error() {
            Some(libc::ENOENT | libc::ENOTDIR) => Ok(None),
            _ => Err(error),
        },
    }
}

/// Reads the file `name` in `folder`. `None`: no such file.
pub fn read_node(
    folder: &DiskFolder,
    name: &OsStr,
    rules: NodeRules<'_>,
) -> Result<Option<FoundNode>> {
    let stat = match folder.stat(name) {
        Err(Errno::NOENT) => return Ok(None),
        answer => answer?,
    };
    if let Some(layer) = rules.layer
        && layer.is_whiteout(folder, name, &stat)?
    {
        return Ok(Some(FoundNode::Whiteout));
    }
    let mut node = LayerNode::of(&stat, rules)?;
    match node.file_type {
        FileType::Symlink => node.target = OsString::from_vec(folder.read_link(name)?),
        FileType::File | FileType::Folder => {
            let kind = node.file_type;
            let file = folder.open_file(name)?;
            node = LayerNode::of(&rustix::fs::fstat(&file)?, rules)?;
            if node.file_type != kind {
                fail!("it changed while it was read");
            }
            node.read_xattrs(&file, rules)?;
            if node.file_type == FileType::File {
                node.content = Some(file.into());
            } else if let Some(layer) = rules.layer {
                node.is_opaque = layer.below(folder, name, &file.into())? == Below::Hidden;
            }
        }
        _ => {}
    }
    Ok(Some(FoundNode::Node(node)))
}

/// Treatment of a symbolic link as the last name of a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LastLink {
    /// The link is followed.
    Followed,
    /// The link itself is the result.
    #[default]
    Taken,
}

/// Opens `path` below `root`; links on the way stay inside the root. Also returns the open descriptor of a folder.
pub fn open(
    root: impl AsFd,
    path: &Path,
    last: LastLink,
    rules: NodeRules<'_>,
) -> Result<(LayerNode, Option<OwnedFd>)> {
    let no_follow = if last == LastLink::Taken { OFlags::NOFOLLOW } else { OFlags::empty() };
    let there = inroot::open(&root, path, OFlags::PATH | no_follow, Symlinks::Follow)?;
    let mut node = LayerNode::of(&rustix::fs::fstat(&there)?, rules)?;
    match node.file_type {
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(&there, "", Vec::new())?;
            node.target = OsString::from_vec(target.into_bytes());
        }
        FileType::File | FileType::Folder => {
            // Opened by its path again: an O_PATH descriptor cannot be read from (open(2), O_PATH). NONBLOCK: the file
            // may have become a FIFO meanwhile.
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | no_follow;
            let file = inroot::open(&root, path, flags, Symlinks::Follow)?;
            let kind =
                std::mem::replace(&mut node, LayerNode::of(&rustix::fs::fstat(&file)?, rules)?)
                    .file_type;
            if node.file_type != kind {
                fail!("it changed while it was read");
            }
            node.read_xattrs(&file, rules)?;
            if kind == FileType::Folder {
                return Ok((node, Some(file)));
            }
            node.content = Some(file.into());
        }
        _ => {}
    }
    Ok((node, None))
}

impl LayerNode {
    fn of(stat: &Stat, rules: NodeRules<'_>) -> Result<Self> {
        let (uid, gid) = rules.ids(stat);
        let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        let file_type = match OnDisk::from_raw_mode(stat.st_mode) {
            OnDisk::RegularFile => FileType::File,
            OnDisk::Directory => FileType::Folder,
            OnDisk::Symlink => FileType::Symlink,
            OnDisk::Fifo => FileType::Pipe,
            OnDisk::Socket => FileType::Socket,
            OnDisk::BlockDevice => FileType::Block(major, minor),
            OnDisk::CharacterDevice => FileType::Character(major, minor),
            _ => fail!("a file of an unknown kind"),
        };
        Ok(Self {
            file_type,
            mode: stat.st_mode & 0o7777,
            uid,
            gid,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            on_disk: u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512),
            mtime: stat.st_mtime,
            id: (stat.st_dev, stat.st_ino),
            links: stat.st_nlink,
            xattrs: Vec::new(),
            is_opaque: false,
            target: OsString::new(),
            content: None,
        })
    }

    /// Errors: a file whose holes would take hours to write. A container can make such a file with a single call.
    pub fn refuse_endless(&self) -> Result<()> {
        let holes = self.size.saturating_sub(self.on_disk);
        if holes <= MOST_HOLES {
            return Ok(());
        }
        let text = format!("it has {} bytes, {holes} of them a hole", self.size);
        Err(Error::new(text).hint("remove or shorten it in the container"))
    }

    fn read_xattrs(&mut self, file: &OwnedFd, rules: NodeRules<'_>) -> Result<()> {
        let list = xattr_names(file)?;
        for name in list.split_inclusive(|byte| *byte == 0) {
            let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
            let Ok(text) = name.to_str() else {
                log::warn!("an extended attribute whose name is no text is left out: {name:?}");
                continue;
            };
            match text {
                // Only the names of "trusted." are errors. Those of "user." can be set by any process, and have no
                // effect where usnea mounts (overlayfs honours neither of them with userxattr).
                "trusted.overlay.redirect" | "trusted.overlay.metacopy" => {
                    return Err(Error::new(format!("it is somewhere else: {text}")).hint(
                        "usnea mounts no overlay with redirect_dir or metacopy: another program did",
                    ));
                }
                OVERRIDE_STAT => {
                    if let Some(value) = xattr(file, name)? {
                        match OverrideStat::parse(&value) {
                            Ok(record) => self.apply_record(record, rules),
                            // Any process in the container can set the attribute: an invalid one is not our record.
                            Err(error) => {
                                log::warn!("{error}: the file's own owner and mode are taken")
                            }
                        }
                    }
                }
                _ if acl::is_acl(text.as_bytes()) => {
                    let Some(on_disk) = xattr(file, name)? else { continue };
                    match rules.acl(&on_disk) {
                        Some(acl) => self.xattrs.push((text.to_owned(), acl)),
                        // The mask is in the mode, in place of the group's own rights.
                        None if text.as_bytes() == acl::ACCESS_ACL => {
                            self.mode = acl::mode_without(&on_disk, self.mode);
                        }
                        None => {}
                    }
                }
                _ if is_of_an_image(text) => {
                    if let Some(value) = xattr(file, name)? {
                        self.xattrs.push((text.to_owned(), value));
                    }
                }
                _ => {}
            }
        }
        self.xattrs.sort_unstable();
        Ok(())
    }

    /// Applies a record: owner, mode and, for kinds that only root may make, the kind. With real owners a record is
    /// ours only if the real owner was impossible on disk. So a user in the container cannot turn a file of theirs into
    /// a setuid root program by writing a record. With a single ID any process of the container can write any record,
    /// but a real setuid bit comes only from chmod(2). So in a container's layer setuid and setgid count only if the
    /// disk has the bit too. A file copied up from an image may lack the bit, and then loses it.
    fn apply_record(&mut self, stat: OverrideStat, rules: NodeRules<'_>) {
        if matches!(rules.owners, Owners::Mapped(_)) && rules.owners.has(stat.uid, stat.gid) {
            return;
        }
        const POWERS: u32 = 0o6000;
        let forged = match (rules.is_written, self.file_type) {
            (true, FileType::File) => stat.mode & POWERS & !self.mode,
            _ => 0,
        };
        if forged != 0 {
            log::warn!("setuid or setgid that is in an attribute alone is left out");
        }
        (self.uid, self.gid, self.mode) = (stat.uid, stat.gid, stat.mode & !forged);
        use FileType::{Block, Character, File, Pipe, Socket};
        if let (File, Some(recorded @ (Block(..) | Character(..) | Pipe | Socket))) =
            (self.file_type, stat.file_type)
        {
            self.file_type = recorded;
        }
    }
}

/// True for attributes that an image stores. Those of overlayfs and containers are excluded. Of the security modules'
/// attributes only capabilities are included: labels belong to the host. A PAX header has no form for a name with `=`.
fn is_of_an_image(name: &str) -> bool {
    let theirs = ["user.overlay.", "user.containers.", "user.fuseoverlayfs.", "user.usnea."];
    let kept = name == "security.capability"
        || name.starts_with("user.") && !theirs.iter().any(|prefix| name.starts_with(prefix));
    if kept && name.contains('=') {
        log::warn!("the extended attribute {} is left out", name.escape_debug());
    }
    kept && !name.contains('=')
}

/// Most bytes of holes that are written as zeros. Files of virtual machines and databases have some hundred gigabytes.
const MOST_HOLES: u64 = 4 << 40;

// An attribute can grow between two calls, but not beyond the largest size (xattr(7)).
const LARGEST_XATTR: usize = 64 << 10;

fn xattr(file: impl AsFd, name: &CStr) -> Result<Option<Vec<u8>>> {
    let mut value = vec![0; 256];
    loop {
        match rustix::fs::fgetxattr(&file, name, &mut value[..]) {
            Ok(length) => {
                value.truncate(length);
                return Ok(Some(value));
            }
            Err(Errno::RANGE) if value.len() < LARGEST_XATTR => value.resize(LARGEST_XATTR, 0),
            Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS) => return Ok(None),
            Err(errno) => {
                return Err(errno)
                    .context(|| format!("extended attribute {}", name.to_string_lossy()));
            }
        }
    }
}

fn xattr_names(file: impl AsFd) -> Result<Vec<u8>> {
    let mut list = vec![0; 1024];
    loop {
        match rustix::fs::flistxattr(&file, &mut list[..]) {
            Ok(length) => {
                list.truncate(length);
                return Ok(list);
            }
            Err(Errno::RANGE) if list.len() < LARGEST_XATTR => list.resize(LARGEST_XATTR, 0),
            Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
            Err(errno) => return Err(errno).context(|| "its extended attributes"),
        }
    }
}

/// The bytes of a path, for names in archives.
pub fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}
