//! Unpacked layers: `layers/<diff ID>.<owners>/{fs/,layer.json}`.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::Store;
use super::census::{Census, census};
use super::foreign::{self, ObjectKind};
use crate::config::LayerLimits;
use crate::digest::Digest;
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::files::{self, Lock, NewFolder};
use crate::host::boot_id;
use crate::image::extract::{self, UnpackContent, UnpackRules};
use crate::image::owners::Owners;
use crate::layer::{self, whiteout::Whiteouts};

/// Prefix of a layer's folder in tmp/ while it is being unpacked.
pub const PREFIX: &str = "layer-";

/// File with facts about a layer, in its folder.
const FACTS_FILE: &str = "layer.json";

/// An unpacked layer that no command removes while this value lives.
#[derive(Debug)]
pub struct HeldLayer {
    /// Folder with the layer's files.
    pub fs: PathBuf,
    /// Facts from the layer's `layer.json`.
    pub facts: LayerFacts,
    _lock: File,
}

/// Content of `layer.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerFacts {
    /// Digest of the layer's tar.
    pub diff_id: Digest,
    /// Bytes of the layer's files.
    pub size: u64,
    /// Number of entries in the layer's tar.
    pub entries: u64,
    /// True if the layer hides all layers below it: a stack of layers ends here.
    #[serde(default)]
    pub opaque_root: bool,
    /// Form of the layer's whiteouts; `Overlay` if it has none.
    #[serde(default)]
    pub whiteouts: Whiteouts,
    /// Count of the folder's files at unpacking: reveals later whether a file is missing.
    pub census: Census,
    /// ID of the boot in which the layer was unpacked.
    boot: String,
}

/// Content of the file `whiteouts`: the form of whiteouts that works here.
#[derive(Serialize, Deserialize)]
struct WhiteoutsFile {
    whiteouts: Whiteouts,
    /// Type of the file system that was tested (statfs(2), f_type).
    file_system: u64,
}

/// The right to unpack a layer: other commands that want the layer wait.
pub struct Unpacking<'a> {
    store: &'a Store,
    diff_id: Digest,
    owners: &'a Owners,
    lock: File,
    lock_path: PathBuf,
}

/// Result of a request for a layer.
pub enum LayerClaim<'a> {
    /// The layer exists.
    Present(HeldLayer),
    /// The layer is missing, and this command unpacks it.
    Ours(Unpacking<'a>),
}

/// Unpacked layers that are certainly whole on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerTrust {
    /// All: a recorded image needs the layer, and is recorded only after a flush of the file system.
    Recorded,
    /// Layers made in this boot: the content of others may be lost since a power cut.
    OfThisBoot,
}

impl LayerTrust {
    fn includes(self, facts: &LayerFacts) -> bool {
        self == Self::Recorded || facts.boot == boot_id()
    }
}

/// Returns the name of the layer's folder.
pub(super) fn name(diff_id: &Digest, owners: &Owners) -> String {
    format!("{}.{}", diff_id.hex(), owners.suffix())
}

/// The diff ID in the name of a layer's folder. `None`: not a layer of an image (the host's own programs).
pub(super) fn diff_id_of(name: &str) -> Option<Digest> {
    let (hex, _) = name.split_once('.')?;
    format!("sha256:{hex}").parse().ok()
}

impl Store {
    pub(super) fn layers_folder(&self) -> PathBuf {
        self.root.join("layers")
    }

    /// Path of the layer's files, whether they exist or not.
    pub fn layer_path(&self, diff_id: &Digest, owners: &Owners) -> PathBuf {
        self.layers_folder().join(name(diff_id, owners)).join("fs")
    }

    /// True if the layer's folder exists and is whole. Only for layers of a recorded image: their content is on the
    /// disk.
    pub fn has_layer(&self, diff_id: &Digest, owners: &Owners) -> bool {
        let fs = self.layer_path(diff_id, owners);
        let facts = fs.with_file_name(FACTS_FILE);
        match self.is_foreign() {
            false => fs.is_dir() && facts.is_file(),
            true => {
                self.open_object(&fs, ObjectKind::Folder).is_ok()
                    && self.open_object(&facts, ObjectKind::File).is_ok()
            }
        }
    }

    /// Returns why a layer of another user's store is not read although its files exist; `None`: no such cause.
    pub fn refusal(&self, diff_id: &Digest, owners: &Owners) -> Option<Error> {
        let fs = self.layer_path(diff_id, owners);
        let facts = fs.with_file_name(FACTS_FILE);
        let objects = [(fs, ObjectKind::Folder), (facts, ObjectKind::File)];
        let refused = |(path, kind): (PathBuf, ObjectKind)| {
            let error = self.open_object(&path, kind).err()?;
            let is_missing = error.kind() == std::io::ErrorKind::NotFound;
            let told = Err::<(), _>(foreign::explain(error)).context(|| path.display().to_string());
            told.err().filter(|_| !is_missing)
        };
        self.is_foreign().then(|| objects.into_iter().find_map(refused)).flatten()
    }

    /// The layers' folders in the order that an overlay takes, topmost first, and the form of whiteouts. The stack ends
    /// at a layer that hides all below it. `Names` if any layer's whiteouts are names, else `Attributes` if any layer's are.
    pub fn stack(
        &self,
        layers: &[super::ImageLayer],
        owners: &Owners,
    ) -> (Vec<PathBuf>, Whiteouts) {
        let mut folders = Vec::new();
        let mut whiteouts = Whiteouts::Overlay;
        for layer in layers.iter().rev() {
            let fs = self.layer_path(&layer.diff_id, owners);
            let facts = self.layer_facts(&self.layers_folder().join(name(&layer.diff_id, owners)));
            folders.push(fs);
            // Attributes are read in layers of every form.
            match facts.as_ref().map(|facts| facts.whiteouts) {
                Some(form) if whiteouts != Whiteouts::Names && form != Whiteouts::Overlay => {
                    whiteouts = form;
                }
                _ => {}
            }
            if facts.is_some_and(|facts| facts.opaque_root) {
                break;
            }
        }
        // The kernel refuses an overlay with the same folder twice. The upper one of two equal layers hides the lower
        // one anyway.
        let mut seen = std::collections::HashSet::new();
        folders.retain(|folder| seen.insert(folder.clone()));
        (folders, whiteouts)
    }

    /// Form of whiteouts for new layers in this store. Tested once, and recorded with the type of the file system.
    fn whiteouts(&self, born: &Path) -> Result<Whiteouts> {
        let open =
            |path: &Path| File::open(path).context(|| format!("cannot open {}", path.display()));
        let folder = open(born)?;
        let kind = rustix::fs::fstatfs(&folder).map_or(0, |stat| stat.f_type as u64);
        let note = self.root.join("whiteouts");
        let noted = std::fs::read(&note).ok();
        let noted: Option<WhiteoutsFile> =
            noted.and_then(|text| serde_json::from_slice(&text).ok());
        if let Some(noted) = noted.filter(|noted| noted.file_system == kind) {
            return Ok(noted.whiteouts);
        }
        let whiteouts = layer::find_whiteout_form(folder.as_fd()).map_err(|errno| match errno {
            Errno::OPNOTSUPP => Error::from(errno)
                .within(format!("{}: its file system keeps no whiteouts", self.root.display()))
                .hint(extract::ANOTHER_FILESYSTEM),
            _ => files::cannot_write(errno.into(), born),
        })?;
        let text = serde_json::to_vec(&WhiteoutsFile { whiteouts, file_system: kind })
            .map_err(Error::new)?;
        if let Err(error) = files::replace_quickly(&note, &text) {
            log::debug!("{error}");
        }
        Ok(whiteouts)
    }

    /// Path of the empty folder, whether it exists or not: the root of an image without layers.
    pub fn empty_layer_path(&self) -> PathBuf {
        self.layers_folder().join("empty")
    }

    /// Creates the empty folder.
    pub fn make_empty_layer(&self) -> Result<PathBuf> {
        let folder = self.empty_layer_path();
        match std::fs::DirBuilder::new().mode(0o755).create(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                Err(files::cannot_write(error, &folder))
            }
            _ => Ok(folder),
        }
    }

    /// Reads the facts about a layer. `None`: the layer is missing, or not whole.
    pub(super) fn layer_facts(&self, folder: &Path) -> Option<LayerFacts> {
        let bytes = self.read_object(&folder.join(FACTS_FILE), 1 << 20).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Returns the layer, or the right to unpack it. Waits while another command unpacks it, and calls `on_wait` if that
    /// takes long. An unpacked layer that `trust` excludes is unpacked anew.
    pub fn claim_layer<'a>(
        &'a self,
        diff_id: &Digest,
        owners: &'a Owners,
        trust: LayerTrust,
        on_wait: &dyn Fn(),
    ) -> Result<LayerClaim<'a>> {
        let folder = self.layers_folder().join(name(diff_id, owners));
        let lock_path =
            self.root.join("downloads").join(format!("layer-{}", name(diff_id, owners)));
        loop {
            if let Some(held) = self.lock_layer(&folder)?
                && trust.includes(&held.facts)
            {
                return Ok(LayerClaim::Present(held));
            }
            let lock = files::lock_file_or_tell(&lock_path, on_wait)?;
            if !files::leads_to(&lock_path, &lock) {
                continue;
            }
            match self.lock_layer(&folder)? {
                Some(held) if trust.includes(&held.facts) => {
                    let _ = std::fs::remove_file(&lock_path);
                    return Ok(LayerClaim::Present(held));
                }
                _ => {}
            }
            let diff_id = diff_id.clone();
            return Ok(LayerClaim::Ours(Unpacking {
                store: self,
                diff_id,
                owners,
                lock,
                lock_path,
            }));
        }
    }

    fn lock_layer(&self, folder: &Path) -> Result<Option<HeldLayer>> {
        let held = files::hold(folder, Lock::Shared)
            .context(|| format!("cannot open {}", folder.display()))?;
        Ok(held.zip(self.layer_facts(folder)).map(|(lock, facts)| HeldLayer {
            fs: folder.join("fs"),
            facts,
            _lock: lock,
        }))
    }
}

impl Unpacking<'_> {
    /// Unpacks `packed`, the layer's blob of `size` bytes, and moves the layer into place. Errors: the blob breaks off,
    /// is hostile, exceeds a limit, or does not match the diff ID.
    pub fn unpack(
        self,
        packed: impl Read + Send,
        size: u64,
        limits: &LayerLimits,
    ) -> Result<HeldLayer> {
        let birth = NewFolder::folder(&self.store.tmp(), PREFIX)?;
        let fs = birth.path.join("fs");
        let mut builder = std::fs::DirBuilder::new();
        builder.mode(0o755).create(&fs).map_err(|error| files::cannot_write(error, &fs))?;
        let into = File::open(&fs).context(|| format!("cannot open {}", fs.display()))?;
        let whiteouts = self.store.whiteouts(&birth.path)?;
        let how =
            UnpackRules { owners: self.owners, limits, whiteouts, content: UnpackContent::Whole };
        let unpacked = extract::layer(packed, size, std::os::fd::AsFd::as_fd(&into), &how)
            .context(|| format!("layer {}", self.diff_id.short()))?;
        if unpacked.diff_id != self.diff_id {
            fail!(
                "layer {}: its content is {}, not what the image says",
                self.diff_id,
                unpacked.diff_id
            );
        }
        let facts = LayerFacts {
            diff_id: unpacked.diff_id,
            size: unpacked.bytes,
            entries: unpacked.entries,
            opaque_root: unpacked.opaque_root,
            whiteouts: unpacked.whiteouts_form,
            census: census(&fs)?,
            boot: boot_id(),
        };
        let path = birth.path.join(FACTS_FILE);
        let json = serde_json::to_vec_pretty(&facts).map_err(Error::new)?;
        std::fs::write(&path, json).map_err(|error| files::cannot_write(error, &path))?;
        self.put(birth, facts)
    }

    fn put(&self, birth: NewFolder, facts: LayerFacts) -> Result<HeldLayer> {
        // A layer that others may read holds no program with powers of ours and no file of other IDs. Any other layer
        // is closed to others.
        let mode = if *self.owners == Owners::Shared { 0o755 } else { 0o700 };
        std::fs::set_permissions(&birth.path, std::fs::Permissions::from_mode(mode))
            .map_err(|error| files::cannot_write(error, &birth.path))?;
        let folder = self.store.layers_folder().join(name(&self.diff_id, self.owners));
        // An untrusted layer may be in the way.
        if folder.symlink_metadata().is_ok() {
            match self.store.set_aside(&folder)? {
                Some((aside, lock)) => drop(files::remove_held(&aside, lock)),
                None => fail!("{} is damaged, and in use", folder.display()),
            }
        }
        match birth.put(&folder)? {
            Some(lock) => Ok(HeldLayer { fs: folder.join("fs"), facts, _lock: lock }),
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
