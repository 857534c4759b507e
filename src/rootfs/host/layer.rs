//! Writes a plan to disk, once, as `layers/NAME/{fs/,layer.json}`, where NAME is the SHA-256 of the listing of `fs`.
//!
//! A layer is made in `tmp/host-RANDOM`, and renamed into place when complete: a kill at any moment leaves files in
//! tmp/ alone. Locks are those of [`files`]:
//!
//! | folder | shared | exclusive |
//! | --- | --- | --- |
//! | tmp/host-RANDOM | | its maker, until it is a layer |
//! | layers/NAME | a container that runs on it | a process that removes it, until it is renamed into tmp/ |

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, Timespec, Timestamps};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::seen::Stamp;
use super::tree::{HostNode, HostTree};
use crate::error::{Context, Error, Result};
use crate::files::{self, NewFolder, cannot_write};

/// Prefix of this module's folders in tmp/.
const PREFIX: &str = "host-";

/// A layer's name: 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct LayerName(String);

impl TryFrom<String> for LayerName {
    type Error = &'static str;

    // The name becomes a path that is removed some day: a damaged record must not choose that path.
    fn try_from(text: String) -> Result<Self, &'static str> {
        let is_name = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_name { Ok(Self(text)) } else { Err("not a layer's name") }
    }
}

impl LayerName {
    /// Returns the path of the layer, whether it exists or not.
    pub fn folder(&self, store: &Path) -> PathBuf {
        store.join("layers").join(&self.0)
    }

    /// Returns the digits.
    pub fn digits(&self) -> &str {
        &self.0
    }
}

/// Layer that cannot be removed until dropped.
#[derive(Debug)]
pub struct HostLayer {
    /// Root directory in the layer.
    pub fs: PathBuf,
    /// Shared lock on the layer's folder.
    pub lock: File,
}

/// Reason why a layer was not made.
#[derive(Debug)]
pub enum HostFailure {
    /// The host's file changed since the plan: a package is being upgraded. Plan again.
    Changed(PathBuf),
    /// Any other error.
    Other(Error),
}

impl HostFailure {
    /// Puts `phrase` before an error.
    pub fn context(self, phrase: impl FnOnce() -> String) -> Self {
        match self {
            Self::Other(error) => Self::Other(with_phrase(error, phrase)),
            changed => changed,
        }
    }
}

impl From<Error> for HostFailure {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

/// Returns the hexadecimal SHA-256 of `bytes`.
pub fn digest(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the name of `tree` as a layer. Reads every file of the tree once.
pub fn name(tree: &HostTree) -> Result<LayerName, HostFailure> {
    let mut listing = Sha256::new();
    let mut known: HashMap<(u64, u64), String> = HashMap::new();
    for (path, node) in tree.nodes() {
        let entry = match node {
            HostNode::Folder(mode) => format!("d {mode:04o}"),
            HostNode::Link(target) => format!("l {}", target.display()),
            HostNode::Text(text) => format!("f 0644 {}", digest(text.as_bytes())),
            HostNode::File { mode, stamp } => {
                let content = match known.get(&stamp.identity()) {
                    Some(content) => content.clone(),
                    None => file_digest(path, *stamp)?,
                };
                known.insert(stamp.identity(), content.clone());
                format!("f {mode:04o} {content}")
            }
        };
        // NUL is the one byte that neither a path nor a link can hold.
        listing.update(path.as_os_str().as_encoded_bytes());
        listing.update(format!("\0{entry}\0\n"));
    }
    Ok(LayerName(hexadecimal(&listing.finalize())))
}

fn file_digest(path: &Path, stamp: Stamp) -> Result<String, HostFailure> {
    let mut file = open_unchanged(path, stamp)?;
    let mut digest = Sha256::new();
    let mut room = vec![0; 128 * 1024];
    loop {
        match file.read(&mut room).context(|| format!("cannot read {}", path.display()))? {
            0 => break,
            length => digest.update(&room[..length]),
        }
    }
    Ok(hexadecimal(&digest.finalize()))
}

/// Opens the host's file if it still has the stamp of the plan.
fn open_unchanged(path: &Path, stamp: Stamp) -> Result<File, HostFailure> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let opened = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path);
    match opened {
        Ok(file) if is_unchanged(&file, stamp) => Ok(file),
        Ok(_) => Err(HostFailure::Changed(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(HostFailure::Changed(path.to_owned()))
        }
        Err(error) => Err(HostFailure::Other(with_phrase(error, || {
            format!("cannot read {}", path.display())
        }))),
    }
}

fn with_phrase(error: impl Into<Error>, phrase: impl FnOnce() -> String) -> Error {
    Err::<(), _>(error).context(phrase).unwrap_err()
}

fn is_unchanged(file: &File, stamp: Stamp) -> bool {
    file.metadata().is_ok_and(|metadata| Stamp::from(&metadata) == stamp)
}

/// Opens the layer; `None`: it does not exist.
pub fn open(store: &Path, name: &LayerName) -> Option<HostLayer> {
    let folder = name.folder(store);
    let lock = files::hold(&folder, files::Lock::Shared).ok()??;
    Some(HostLayer { fs: folder.join("fs"), lock })
}

/// Makes the layer of `tree`, whose name is `name`, with `story` (its origin) beside it; or opens an existing one.
pub fn make(
    store: &Path,
    tree: &HostTree,
    name: &LayerName,
    story: &str,
) -> Result<HostLayer, HostFailure> {
    for _ in 0..MOST_RACES {
        if let Some(layer) = open(store, name) {
            return Ok(layer);
        }
        let birth = NewFolder::folder(&store.join("tmp"), PREFIX)?;
        fill(&birth.path.join("fs"), tree)?;
        let told = birth.path.join("layer.json");
        files::write_synced(&told, story.as_bytes()).map_err(|error| cannot_write(error, &told))?;
        // A single flush for all files: file by file it would be thousands. The content must be on disk before the name.
        files::sync_filesystem(&birth.path)?;
        let folder = name.folder(store);
        if let Some(lock) = birth.put(&folder)? {
            return Ok(HostLayer { fs: folder.join("fs"), lock });
        }
    }
    let folder = name.folder(store);
    Err(Error::new(format!("{} is there and cannot be opened", folder.display())).into())
}

/// Number of times that another process may win the rename and lose the layer again before this one opens it.
const MOST_RACES: u32 = 3;

fn fill(fs: &Path, tree: &HostTree) -> Result<(), HostFailure> {
    make_folder(fs, 0o755)?;
    let mut copied: HashMap<(u64, u64), PathBuf> = HashMap::new();
    for (path, node) in tree.nodes() {
        let inside = fs.join(path.strip_prefix("/").unwrap_or(path));
        match node {
            HostNode::Folder(mode) => make_folder(&inside, *mode)?,
            HostNode::Link(target) => {
                symlink(target, &inside).map_err(|error| cannot_write(error, &inside))?
            }
            HostNode::Text(text) => write_text(&inside, text)?,
            HostNode::File { mode, stamp } => {
                // Hard links of the host (git's 140 names) stay one file among themselves, never one with the host's.
                if let Some(first) = copied.get(&stamp.identity()) {
                    fs::hard_link(first, &inside).map_err(|error| cannot_write(error, &inside))?;
                    continue;
                }
                copy(path, *stamp, *mode, &inside)?;
                copied.insert(stamp.identity(), inside);
            }
        }
    }
    Ok(())
}

fn make_folder(path: &Path, mode: u32) -> Result<()> {
    let made =
        fs::create_dir(path).and_then(|()| fs::set_permissions(path, Permissions::from_mode(mode)));
    made.map_err(|error| cannot_write(error, path))
}

fn write_text(path: &Path, text: &str) -> Result<()> {
    let written = fs::write(path, text)
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o644)));
    written.map_err(|error| cannot_write(error, path))
}

/// Copies the host's file. The stamp, checked before and after, proves that it is the file that was hashed.
fn copy(from: &Path, stamp: Stamp, mode: u32, to: &Path) -> Result<(), HostFailure> {
    let mut source = open_unchanged(from, stamp)?;
    write_copy(&mut source, mode, to).map_err(|error| cannot_write(error, to))?;
    if is_unchanged(&source, stamp) { Ok(()) } else { Err(HostFailure::Changed(from.to_owned())) }
}

/// Shares the blocks where the filesystem can (FICLONE), else copies them.
fn write_copy(source: &mut File, mode: u32, to: &Path) -> io::Result<()> {
    let mut target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    if rustix::fs::ioctl_ficlone(&target, &*source).is_err() {
        io::copy(source, &mut target)?;
    }
    target.set_permissions(Permissions::from_mode(mode))?;
    // Python trusts its compiled files by the time of their sources.
    let metadata = source.metadata()?;
    let time = Timespec { tv_sec: metadata.mtime(), tv_nsec: metadata.mtime_nsec() };
    Ok(rustix::fs::futimens(&target, &Timestamps { last_access: time, last_modification: time })?)
}

/// Removes a layer that no container runs on. The caller knows that no record names the layer.
pub fn remove_unused(store: &Path, name: &LayerName) {
    let folder = name.folder(store);
    let grave = store.join("tmp").join(files::random_name(PREFIX));
    let Some(lock) = files::try_exclusive(&folder) else { return };
    let removed = fs::rename(&folder, &grave).and_then(|()| files::remove_held(&grave, lock));
    match removed {
        Ok(()) => log::debug!("removed {}: the host's files are newer", folder.display()),
        Err(error) => log::debug!("cannot remove {}: {error}", folder.display()),
    }
}

/// Removes leftovers of killed processes in tmp/: entries with this module's names and without a lock.
pub fn sweep(store: &Path) {
    files::sweep(&store.join("tmp"), &[PREFIX, files::FILE_PREFIX]);
}

/// Writes a small file atomically: a reader sees the old content or the new.
pub fn replace(store: &Path, path: &Path, text: &str) -> Result<()> {
    files::replace(&store.join("tmp"), path, text.as_bytes())
}
