//! Unpacked layers: `layers/<diff ID>.<owners>/{fs/,layer.json}`.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Store;
use super::census::{Census, census};
use super::foreign::Form;
use crate::config::Limits;
use crate::digest::Digest;
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::files::{self, Birth, Lock};
use crate::host::boot_id;
use crate::image::extract::{self, Content, How};
use crate::image::owners::Owners;
use crate::whiteout::{self, Whiteouts};

/// What a layer is called in tmp/ while it is being unpacked.
pub const PREFIX: &str = "layer-";

/// Facts about a layer, in its folder.
const STORY: &str = "layer.json";

/// A layer that stays while this value lives.
#[derive(Debug)]
pub struct HeldLayer {
    /// Its files.
    pub fs: PathBuf,
    /// What is known of it.
    pub story: LayerStory,
    _lock: File,
}

/// `layer.json`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerStory {
    /// The digest of its tar.
    pub diff_id: Digest,
    /// Bytes of its files.
    pub size: u64,
    /// How many entries its tar has.
    pub entries: u64,
    /// Nothing of the layers below it is to be seen: whoever stacks layers stops at this one.
    #[serde(default)]
    pub opaque_root: bool,
    /// Whether names in it are whiteouts, for want of others.
    #[serde(default)]
    pub whiteouts: Whiteouts,
    /// What was found in its folder when it was unpacked: tells later whether something is missing.
    pub census: Census,
    /// The boot in which it was unpacked.
    boot: String,
}

/// `whiteouts`: what was found to serve.
#[derive(Serialize, Deserialize)]
struct Noted {
    whiteouts: Whiteouts,
    /// The kind of file system that it was tried on (statfs(2), f_type).
    file_system: u64,
}

/// The right to unpack a layer: others who want it wait.
pub struct Unpacking<'a> {
    store: &'a Store,
    diff_id: Digest,
    owners: &'a Owners,
    lock: File,
    lock_path: PathBuf,
}

/// What somebody who wants a layer finds.
pub enum Wanted<'a> {
    /// It is there.
    There(HeldLayer),
    /// It is ours to unpack.
    Ours(Unpacking<'a>),
}

/// The name of the layer's folder.
pub(super) fn name(diff_id: &Digest, owners: &Owners) -> String {
    format!("{}.{}", diff_id.hex(), owners.suffix())
}

/// The diff ID in the name of a layer's folder; `None`: it is not one of an image (the host's own programs).
pub(super) fn diff_id_of(name: &str) -> Option<Digest> {
    let (hex, _) = name.split_once('.')?;
    format!("sha256:{hex}").parse().ok()
}

impl Store {
    pub(super) fn layers_folder(&self) -> PathBuf {
        self.root.join("layers")
    }

    /// Where the layer's files are, or would be.
    pub fn layer_path(&self, diff_id: &Digest, owners: &Owners) -> PathBuf {
        self.layers_folder().join(name(diff_id, owners)).join("fs")
    }

    /// The layer's folder, if it is there and whole. A recorded image needs it: its content is on the disk.
    pub fn has_layer(&self, diff_id: &Digest, owners: &Owners) -> bool {
        let fs = self.layer_path(diff_id, owners);
        let story = fs.with_file_name(STORY);
        match self.is_foreign() {
            false => fs.is_dir() && story.is_file(),
            true => {
                self.open_there(&fs, Form::Folder).is_ok()
                    && self.open_there(&story, Form::File).is_ok()
            }
        }
    }

    /// The layers' folders as an overlay takes them, the topmost first, and whether names in any are whiteouts. It ends at a
    /// layer that hides all below it.
    pub fn stack(&self, layers: &[super::Layer], owners: &Owners) -> (Vec<PathBuf>, Whiteouts) {
        let mut folders = Vec::new();
        let mut whiteouts = Whiteouts::Overlay;
        for layer in layers.iter().rev() {
            let fs = self.layer_path(&layer.diff_id, owners);
            let story = self.story(&self.layers_folder().join(name(&layer.diff_id, owners)));
            folders.push(fs);
            if story.as_ref().is_some_and(|story| story.whiteouts == Whiteouts::Names) {
                whiteouts = Whiteouts::Names;
            }
            if story.is_some_and(|story| story.opaque_root) {
                break;
            }
        }
        // One layer twice would be one folder twice, which the kernel refuses: the upper one says it all.
        let mut seen = std::collections::HashSet::new();
        folders.retain(|folder| seen.insert(folder.clone()));
        (folders, whiteouts)
    }

    /// The form of whiteouts for new layers here: tried once, and noted beside the kind of file system.
    fn whiteouts(&self, born: &Path) -> Result<Whiteouts> {
        let open =
            |path: &Path| File::open(path).context(|| format!("cannot open {}", path.display()));
        let folder = open(born)?;
        let kind = rustix::fs::fstatfs(&folder).map_or(0, |stat| stat.f_type as u64);
        let note = self.root.join("whiteouts");
        let noted = std::fs::read(&note).ok();
        let noted: Option<Noted> = noted.and_then(|text| serde_json::from_slice(&text).ok());
        if let Some(noted) = noted.filter(|noted| noted.file_system == kind) {
            return Ok(noted.whiteouts);
        }
        let whiteouts = whiteout::tried_in(folder.as_fd())
            .map_err(|errno| files::cannot_write(errno.into(), born))?;
        let text =
            serde_json::to_vec(&Noted { whiteouts, file_system: kind }).map_err(Error::new)?;
        if let Err(error) = files::replace_quickly(&note, &text) {
            log::debug!("{error}");
        }
        Ok(whiteouts)
    }

    /// Where the folder with nothing in it is, or would be: the root of an image without a layer.
    pub fn empty_layer_path(&self) -> PathBuf {
        self.layers_folder().join("empty")
    }

    /// Makes the folder with nothing in it.
    pub fn make_empty_layer(&self) -> Result<PathBuf> {
        let folder = self.empty_layer_path();
        match std::fs::DirBuilder::new().mode(0o755).create(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                Err(files::cannot_write(error, &folder))
            }
            _ => Ok(folder),
        }
    }

    /// What is known of a layer; `None`: it is not there, or not whole.
    pub(super) fn story(&self, folder: &Path) -> Option<LayerStory> {
        let bytes = self.read_there(&folder.join(STORY), 1 << 20).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// The layer, or the right to unpack it; waits while another command unpacks it, and calls `waits` if that takes long.
    /// One that is there is believed when
    /// `is_recorded` (an image that is recorded needs it) or when it was made since the machine was started.
    pub fn want_layer<'a>(
        &'a self,
        diff_id: &Digest,
        owners: &'a Owners,
        is_recorded: bool,
        waits: &dyn Fn(),
    ) -> Result<Wanted<'a>> {
        let folder = self.layers_folder().join(name(diff_id, owners));
        let lock_path =
            self.root.join("downloads").join(format!("layer-{}", name(diff_id, owners)));
        loop {
            if let Some(held) = self.hold_layer(&folder)?
                && (is_recorded || held.story.boot == boot_id())
            {
                return Ok(Wanted::There(held));
            }
            let lock = files::lock_file_or_tell(&lock_path, waits)?;
            if !files::leads_to(&lock_path, &lock) {
                continue;
            }
            match self.hold_layer(&folder)? {
                Some(held) if is_recorded || held.story.boot == boot_id() => {
                    let _ = std::fs::remove_file(&lock_path);
                    return Ok(Wanted::There(held));
                }
                _ => {}
            }
            let diff_id = diff_id.clone();
            return Ok(Wanted::Ours(Unpacking { store: self, diff_id, owners, lock, lock_path }));
        }
    }

    fn hold_layer(&self, folder: &Path) -> Result<Option<HeldLayer>> {
        let held = files::hold(folder, Lock::Shared)
            .context(|| format!("cannot open {}", folder.display()))?;
        Ok(held.zip(self.story(folder)).map(|(lock, story)| HeldLayer {
            fs: folder.join("fs"),
            story,
            _lock: lock,
        }))
    }
}

impl Unpacking<'_> {
    /// Unpacks `packed`, the layer's blob of `size` bytes, and puts the layer in its place. Errors: it breaks off, is
    /// hostile, exceeds a limit, or is not what the diff ID says.
    pub fn unpack(self, packed: impl Read + Send, size: u64, limits: &Limits) -> Result<HeldLayer> {
        let birth = Birth::folder(&self.store.tmp(), PREFIX)?;
        let fs = birth.path.join("fs");
        let mut builder = std::fs::DirBuilder::new();
        builder.mode(0o755).create(&fs).map_err(|error| files::cannot_write(error, &fs))?;
        let into = File::open(&fs).context(|| format!("cannot open {}", fs.display()))?;
        let whiteouts = self.store.whiteouts(&birth.path)?;
        let how = How { owners: self.owners, limits, whiteouts, content: Content::Whole };
        let unpacked = extract::layer(packed, size, std::os::fd::AsFd::as_fd(&into), &how)
            .context(|| format!("layer {}", self.diff_id.short()))?;
        if unpacked.diff_id != self.diff_id {
            fail!(
                "layer {}: its content is {}, not what the image says",
                self.diff_id,
                unpacked.diff_id
            );
        }
        let story = LayerStory {
            diff_id: unpacked.diff_id,
            size: unpacked.bytes,
            entries: unpacked.entries,
            opaque_root: unpacked.opaque_root,
            whiteouts: if unpacked.has_names { Whiteouts::Names } else { Whiteouts::Overlay },
            census: census(&fs)?,
            boot: boot_id(),
        };
        let path = birth.path.join(STORY);
        let json = serde_json::to_vec_pretty(&story).map_err(Error::new)?;
        std::fs::write(&path, json).map_err(|error| files::cannot_write(error, &path))?;
        self.put(birth, story)
    }

    fn put(&self, birth: Birth, story: LayerStory) -> Result<HeldLayer> {
        // What others may look into has neither programs with powers of ours nor files of other IDs; else nobody may.
        let mode = if *self.owners == Owners::Shared { 0o755 } else { 0o700 };
        std::fs::set_permissions(&birth.path, std::fs::Permissions::from_mode(mode))
            .map_err(|error| files::cannot_write(error, &birth.path))?;
        let folder = self.store.layers_folder().join(name(&self.diff_id, self.owners));
        // One that is not believed is in the way.
        if folder.symlink_metadata().is_ok() {
            match self.store.bury(&folder)? {
                Some((grave, lock)) => drop(files::remove_held(&grave, lock)),
                None => fail!("{} is damaged, and in use", folder.display()),
            }
        }
        match birth.put(&folder)? {
            Some(lock) => Ok(HeldLayer { fs: folder.join("fs"), story, _lock: lock }),
            None => fail!("{} was removed at once by another command", folder.display()),
        }
    }
}

impl Drop for Unpacking<'_> {
    fn drop(&mut self) {
        if files::leads_to(&self.lock_path, &self.lock) {
            let _ = std::fs::remove_file(&self.lock_path);
        }
    }
}
