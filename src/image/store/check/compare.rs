//! Compares an unpacked layer with its packed blob. Unpacks the blob once more, with digests in place of contents, and
//! compares both trees file by file.
//!
//! Times are not compared: a restored backup may have others, and no program runs differently because of them.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::{CheckSettings, ImageLayer, Store};
use crate::digest::{Algorithm, Hashed};
use crate::error::{Context, Result};
use crate::files::{self, NewFolder};
use crate::image::extract::{self, ContentSummary, UnpackContent, UnpackRules};
use crate::image::store::layers::{LayerFacts, PREFIX};
use crate::sys::inode::names;
use crate::sys::inroot::{self, Symlinks};

/// Describes the first difference between the unpacked layer in `folder` and its blob. `None`: no difference, or none
/// can be found because the blob is missing or damaged, which is a fault of its own. Errors: no space for the second
/// tree, or an unreadable first tree.
pub(super) fn difference(
    store: &Store,
    folder: &Path,
    facts: &LayerFacts,
    layer: &ImageLayer,
    by: CheckSettings<'_>,
) -> Result<Option<String>> {
    let Some(blob) = store.blob(&layer.blob)? else { return Ok(None) };
    let work = store.work_folder()?;
    let birth = NewFolder::folder(work.path(), PREFIX)?;
    let fs = birth.path.join("fs");
    std::fs::create_dir(&fs).map_err(|error| files::cannot_write(error, &fs))?;
    let open = |path: &Path| File::open(path).context(|| format!("cannot open {}", path.display()));
    let sketch = open(&fs)?;
    let how = UnpackRules {
        owners: by.owners,
        limits: by.limits,
        whiteouts: facts.whiteouts,
        content: UnpackContent::Digests,
    };
    let unpacked = match extract::layer(&blob.file, layer.packed, sketch.as_fd(), &how) {
        Ok(unpacked) if unpacked.diff_id == facts.diff_id => unpacked,
        Ok(_) => return Ok(None),
        Err(error) if error.kind() == crate::error::ErrorKind::Full => return Err(error),
        Err(error) => {
            log::info!("{error}");
            return Ok(None);
        }
    };
    let trees = LayerTrees {
        expected: sketch.into(),
        found: open(&folder.join("fs"))?.into(),
        digests: unpacked.digests,
    };
    trees.difference()
}

struct LayerTrees {
    expected: OwnedFd,
    found: OwnedFd,
    /// Sizes and digests of the expected tree's files, by inode number.
    digests: HashMap<u64, ContentSummary>,
}

impl LayerTrees {
    fn difference(&self) -> Result<Option<String>> {
        let mut links = HashMap::new();
        let root = (rustix::fs::fstat(&self.expected)?, rustix::fs::fstat(&self.found)?);
        let mut difference = stat_difference(&root.0, &root.1).map(|what| changed("", what));
        // Each folder is opened anew by its path: few descriptors are open, however deep the tree.
        let mut folders = vec![PathBuf::new()];
        while let (None, Some(path)) = (&difference, folders.pop()) {
            let at = || format!("/{}", path.display());
            difference = self.folder(&path, &mut folders, &mut links).context(at)?;
        }
        Ok(difference)
    }

    fn folder(
        &self,
        path: &Path,
        folders: &mut Vec<PathBuf>,
        links: &mut HashMap<u64, u64>,
    ) -> Result<Option<String>> {
        let (expected, found) =
            (open_folder(&self.expected, path)?, open_folder(&self.found, path)?);
        let (names, others) = (names(&expected)?, names(&found)?);
        if let Some(name) = names.iter().find(|name| others.binary_search(name).is_err()) {
            return Ok(Some(format!("{} is missing", path.join(name).display())));
        }
        if let Some(name) = others.iter().find(|name| names.binary_search(name).is_err()) {
            return Ok(Some(format!("{} is not the layer's", path.join(name).display())));
        }
        for name in names {
            let stat =
                |folder: &OwnedFd| rustix::fs::statat(folder, &*name, AtFlags::SYMLINK_NOFOLLOW);
            let (expected_stat, found_stat) = (stat(&expected)?, stat(&found)?);
            let is_same_link = |links: &mut HashMap<u64, u64>| {
                let first = links.entry(expected_stat.st_ino).or_insert(found_stat.st_ino);
                *first == found_stat.st_ino && expected_stat.st_nlink == found_stat.st_nlink
            };
            let kind = FileType::from_raw_mode(expected_stat.st_mode);
            let what = match stat_difference(&expected_stat, &found_stat) {
                Some(what) => Some(what),
                None if !kind.is_dir() && !is_same_link(links) => Some("hard links"),
                None => self.inner_difference(&expected, &found, &name, &expected_stat)?,
            };
            let path = path.join(&name);
            if let Some(what) = what {
                return Ok(Some(changed(&path.display().to_string(), what)));
            }
            if kind.is_dir() {
                folders.push(path);
            }
        }
        Ok(None)
    }

    /// Describes a difference that stat(2) does not show.
    fn inner_difference(
        &self,
        expected: &OwnedFd,
        found: &OwnedFd,
        name: &OsStr,
        stat: &Stat,
    ) -> Result<Option<&'static str>> {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => {
                let target = |folder| rustix::fs::readlinkat(folder, name, Vec::new());
                Ok((target(expected)? != target(found)?).then_some("target"))
            }
            FileType::RegularFile | FileType::Directory => {
                let (expected, found) = (open(expected, name)?, open(found, name)?);
                if xattrs(&expected)? != xattrs(&found)? {
                    return Ok(Some("extended attributes"));
                }
                // A file without an entry in `digests` is empty: a whiteout, or a device's stand-in.
                match self.digests.get(&stat.st_ino) {
                    Some(sketched) => Ok((!has_content(found, sketched)?).then_some("content")),
                    None if stat.st_mode & libc::S_IFMT == libc::S_IFDIR => Ok(None),
                    None => Ok((rustix::fs::fstat(&found)?.st_size != 0).then_some("content")),
                }
            }
            _ => Ok(None),
        }
    }
}

fn changed(path: &str, what: &str) -> String {
    format!("the {what} of /{path} changed since it was unpacked")
}

fn stat_difference(expected: &Stat, found: &Stat) -> Option<&'static str> {
    let kind = |stat: &Stat| (stat.st_mode & libc::S_IFMT, stat.st_rdev);
    if kind(expected) != kind(found) {
        return Some("kind");
    }
    if expected.st_mode != found.st_mode {
        return Some("mode");
    }
    let owner = |stat: &Stat| (stat.st_uid, stat.st_gid);
    (owner(expected) != owner(found)).then_some("owner")
}

fn has_content(file: OwnedFd, sketched: &ContentSummary) -> Result<bool> {
    let file = File::from(file);
    if file.metadata()?.len() != sketched.size {
        return Ok(false);
    }
    let mut hashed = Hashed::new(file, Algorithm::Sha256);
    std::io::copy(&mut hashed, &mut std::io::sink())?;
    Ok(hashed.finish().0 == sketched.digest)
}

fn open_folder(root: &OwnedFd, path: &Path) -> std::io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    inroot::open(root, path, flags, Symlinks::Refuse)
}

fn open(folder: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    // NONBLOCK: the file may have become a FIFO meanwhile.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::openat(folder, name, flags, Mode::empty())
}

/// Name and value of an extended attribute.
type ExtendedAttribute = (Vec<u8>, Vec<u8>);

/// Attributes that a layer may have, and ours. Labels of the host's security modules belong to the host.
fn xattrs(file: &OwnedFd) -> Result<Vec<ExtendedAttribute>, Errno> {
    let mut list = vec![0; 64 << 10];
    let length = match rustix::fs::flistxattr(file, &mut list[..]) {
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        answer => answer?,
    };
    let mut all = Vec::new();
    let names = list[..length].split(|byte| *byte == 0);
    for name in names.filter(|name| name.starts_with(b"user.") || *name == b"security.capability") {
        let mut value = vec![0; 64 << 10];
        match rustix::fs::fgetxattr(file, name, &mut value[..]) {
            Ok(length) => value.truncate(length),
            Err(Errno::NODATA | Errno::OPNOTSUPP) => continue,
            Err(errno) => return Err(errno),
        }
        all.push((name.to_vec(), value));
    }
    all.sort_unstable();
    Ok(all)
}
