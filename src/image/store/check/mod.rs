//! `usnea check`: verifies that the store's content matches its names, and repairs it.
//!
//! Two passes. The first checks everything (digests of all blobs, and each layer against its packed blob) without any
//! lock, while others work. The second, with the lock of `images.json`, checks the suspects again, and repairs them.
//!
//! The remains of a killed command (tmp/, downloads/, blobs and layers that no image needs) are no fault. The next
//! command, pull or prune handles them.

mod compare;
mod rebuild;

use std::cell::Cell;
use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::blobs::has_digest;
use super::census::census;
use super::collect::{RemovedObjects, grip};
use super::{ImageLayer, ImageList, ImageRecord, LayerClaim, LayerFacts, LayerTrust, Store};
use crate::config::LayerLimits;
use crate::digest::{Digest, Hashed};
use crate::error::{Context, Result};
use crate::fail;
use crate::files::LockAttempt;
use crate::image::owners::Owners;

/// Treatment of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    /// Report only.
    No,
    /// Repair every fault that can be repaired.
    Yes,
}

/// Amount of content that a check reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckDepth {
    /// Large blobs by their length, unpacked layers by the number and length of their files.
    Quick,
    /// All content.
    Whole,
}

/// Settings for unpacking layers anew: to compare with the existing ones, and to repair those.
#[derive(Clone, Copy, Debug)]
pub struct CheckSettings<'a> {
    /// Treatment of faults.
    pub repair: Repair,
    /// Whether content is compared.
    pub depth: CheckDepth,
    /// Form in which owners are stored.
    pub owners: &'a Owners,
    /// Limits for a layer's content.
    pub limits: &'a LayerLimits,
}

/// Outcome of a fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", content = "how", rename_all = "lowercase")]
pub enum FaultOutcome {
    /// Found; no repair was tried.
    Found,
    /// Repaired: the action taken.
    Mended(String),
    /// Not repairable: advice for the user.
    Left(String),
}

/// A fault in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreFault {
    /// Faulty object: a path in the store, or an image.
    pub what: String,
    /// Description of the fault.
    pub fault: String,
    /// Images that need the object, by their names or short IDs.
    pub images: Vec<String>,
    /// Outcome of the fault.
    #[serde(flatten)]
    pub outcome: FaultOutcome,
}

impl StoreFault {
    /// True if the fault remains.
    pub fn is_left(&self) -> bool {
        !matches!(self.outcome, FaultOutcome::Mended(_))
    }
}

/// Objects that looked faulty without a lock.
struct Suspects {
    blobs: Vec<Digest>,
    layers: Vec<std::path::PathBuf>,
}

/// Expected content of unpacked layers.
struct ExpectedLayers<'a> {
    /// Settings for unpacking. `None`: layers are not compared.
    by: Option<CheckSettings<'a>>,
    /// Whether large blobs are hashed.
    depth: CheckDepth,
    /// The packed layers of all images, by diff ID.
    layers: HashMap<Digest, ImageLayer>,
    /// True once the user has been told why layers are not compared.
    is_warned: Cell<bool>,
}

/// The second pass, with the lock held.
struct RepairPass<'a> {
    store: &'a Store,
    settings: Option<CheckSettings<'a>>,
    expected: &'a ExpectedLayers<'a>,
    images: ImageList,
    faults: Vec<StoreFault>,
    removed: RemovedObjects,
}

impl Store {
    /// Checks everything, and repairs it where `settings` says so. Without `settings`, unpacked layers are only counted.
    /// Returns the faults in a stable order. Errors: the check itself cannot go on.
    pub fn check(&self, settings: Option<CheckSettings<'_>>) -> Result<Vec<StoreFault>> {
        self.sweep();
        let expected = self.expected_layers(settings);
        let settings = settings.filter(|settings| settings.repair == Repair::Yes);
        let repair = settings.map_or(Repair::No, |settings| settings.repair);
        let suspects = self.suspects(&expected)?;
        let lock = match settings {
            Some(_) => Some(self.lock_images()?),
            None => self.lock_images_for_reading()?,
        };
        let mut faults = self.check_modes(repair)?;
        let Some(images) = self.readable_images(repair, &mut faults)? else {
            // Without images.json nothing is known of the images that need a blob.
            for blob in suspects.blobs {
                faults.push(StoreFault::found(self.name_of_blob(&blob), DAMAGED, Vec::new()));
            }
            return Ok(faults);
        };
        let removed = RemovedObjects::default();
        let mut check =
            RepairPass { store: self, settings, expected: &expected, images, faults, removed };
        check.blobs(&suspects.blobs)?;
        check.layers(&suspects.layers)?;
        let missing = check.images()?;
        let RepairPass { faults: mut all, removed, .. } = check;
        drop(lock);
        removed.empty();
        for fault in missing {
            all.push(self.unpack_anew(fault, settings));
        }
        Ok(all)
    }

    fn name_of_blob(&self, digest: &Digest) -> String {
        self.relative_name(&self.blob_path(digest))
    }

    fn relative_name(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }

    fn expected_layers<'a>(&self, by: Option<CheckSettings<'a>>) -> ExpectedLayers<'a> {
        let images = self.images().unwrap_or_else(|_| ImageList::new());
        let layers = images.all().iter().flat_map(|image| &image.layers);
        ExpectedLayers {
            by: by.filter(|by| by.depth == CheckDepth::Whole),
            depth: by.map_or(CheckDepth::Whole, |by| by.depth),
            layers: layers.map(|layer| (layer.diff_id.clone(), layer.clone())).collect(),
            is_warned: Cell::new(false),
        }
    }

    fn suspects(&self, expected: &ExpectedLayers<'_>) -> Result<Suspects> {
        let lengths: HashMap<&Digest, u64> = match expected.depth {
            CheckDepth::Whole => HashMap::new(),
            CheckDepth::Quick => {
                let layers = expected.layers.values();
                layers.map(|layer| (&layer.blob, layer.packed)).collect()
            }
        };
        let is_damaged = |digest: &Digest| {
            let path = self.blob_path(digest);
            let sound = match lengths.get(digest) {
                Some(length) => path.metadata().map(|metadata| metadata.len() == *length),
                None => has_digest(&path, digest),
            };
            // An object removed meanwhile is no fault.
            !sound
                .or_else(|error| match error.kind() {
                    std::io::ErrorKind::NotFound => Ok(true),
                    _ => Err(error),
                })
                .unwrap_or(false)
        };
        let layers = self.layers_by_id()?.into_iter();
        let layers = layers.filter(|(_, diff_id)| diff_id.is_some()).map(|(folder, _)| folder);
        Ok(Suspects {
            blobs: self.blobs()?.into_iter().filter(is_damaged).collect(),
            layers: layers
                .filter(|folder| self.fault_of_layer(folder, expected).is_some())
                .collect(),
        })
    }

    /// Describes the fault of an unpacked layer; `None`: no fault, or no such layer.
    fn fault_of_layer(&self, folder: &Path, expected: &ExpectedLayers<'_>) -> Option<String> {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        if folder.symlink_metadata().is_err() {
            return None;
        }
        let Some(facts) = self.layer_facts(folder) else {
            return Some("its layer.json is missing or damaged".to_owned());
        };
        if super::layers::diff_id_of(&name).as_ref() != Some(&facts.diff_id) {
            return Some(format!("its layer.json is that of layer {}", facts.diff_id.short()));
        }
        match census(&folder.join("fs")) {
            Ok(found) if found == facts.census => self.changed_file(folder, &facts, expected),
            Ok(found) if found.nodes != facts.census.nodes => Some(format!(
                "{} files and folders are there, not {}",
                found.nodes, facts.census.nodes
            )),
            Ok(found) => {
                Some(format!("its files hold {} bytes, not {}", found.bytes, facts.census.bytes))
            }
            Err(error) => Some(error.to_string()),
        }
    }

    /// Describes the first file of an unpacked layer that differs from the layer's blob.
    fn changed_file(
        &self,
        folder: &Path,
        facts: &LayerFacts,
        expected: &ExpectedLayers<'_>,
    ) -> Option<String> {
        let layer = expected.layers.get(&facts.diff_id)?;
        // We cannot make layers in another form, for other subordinate IDs.
        let is_ours = |by: &CheckSettings<'_>| {
            folder.file_name() == Some(super::layers::name(&facts.diff_id, by.owners).as_ref())
        };
        let by = expected.by.filter(is_ours)?;
        match compare::difference(self, folder, facts, layer, by) {
            Ok(difference) => difference,
            // Another command may have removed the layer.
            Err(_) if folder.symlink_metadata().is_err() => None,
            Err(error) => {
                if !expected.is_warned.replace(true) {
                    log::warn!(
                        "unpacked layers are counted, and not compared with their blobs: {error}"
                    );
                }
                None
            }
        }
    }

    /// Checks that the store's own folders and images.json belong to us, and that no other user can write to them.
    fn check_modes(&self, repair: Repair) -> Result<Vec<StoreFault>> {
        let me = rustix::process::geteuid().as_raw();
        let mut faults = Vec::new();
        let names = [
            "",
            "blobs",
            "blobs/sha256",
            "blobs/sha512",
            "downloads",
            "layers",
            "tmp",
            "images.json",
        ];
        for name in names {
            let path = self.root.join(name);
            let Ok(metadata) = path.symlink_metadata() else { continue };
            let shown = if name.is_empty() { path.display().to_string() } else { name.to_owned() };
            if metadata.uid() != me {
                let fault = "it belongs to another user";
                let how = "give it back with chown, as root".to_owned();
                faults.push(StoreFault {
                    outcome: FaultOutcome::Left(how),
                    ..StoreFault::found(shown, fault, Vec::new())
                });
            } else if !metadata.is_symlink() && metadata.mode() & 0o022 != 0 {
                let mut fault = StoreFault::found(shown, "other users can write to it", Vec::new());
                if repair == Repair::Yes {
                    let mode = fs::Permissions::from_mode(metadata.mode() & 0o755);
                    fs::set_permissions(&path, mode)
                        .context(|| format!("cannot change {}", path.display()))?;
                    fault.outcome = FaultOutcome::Mended("closed".to_owned());
                }
                faults.push(fault);
            }
        }
        Ok(faults)
    }

    /// Describes the object that an image needs and lacks; `None`: the image is complete.
    fn missing_for(&self, image: &ImageRecord) -> Option<String> {
        let has = |digest: &Digest| self.blob_path(digest).is_file();
        if !has(&image.manifest) {
            return Some("its manifest is missing".to_owned());
        }
        if !has(&image.config) {
            return Some("its config is missing".to_owned());
        }
        let lost = |layer: &&ImageLayer| !has(&layer.blob) && !self.is_unpacked(&layer.diff_id);
        let lost = image.layers.iter().find(lost)?;
        Some(format!("layer {} is missing, packed and unpacked", lost.diff_id.short()))
    }

    /// True if the layer exists in any form, with its layer.json.
    fn is_unpacked(&self, diff_id: &Digest) -> bool {
        let folders = self.layer_folders(diff_id).unwrap_or_default();
        folders
            .iter()
            .any(|folder| self.layer_facts(folder).is_some() && folder.join("fs").is_dir())
    }

    fn unpack_anew(
        &self,
        mut missing: MissingLayer,
        settings: Option<CheckSettings<'_>>,
    ) -> StoreFault {
        if let Some(settings) = settings {
            let unpacked = self.unpack_layer(&missing.layer, settings);
            missing.fault.outcome = match unpacked {
                Ok(()) => FaultOutcome::Mended("unpacked anew".to_owned()),
                Err(error) => FaultOutcome::Left(format!("it cannot be unpacked anew: {error}")),
            };
        }
        missing.fault
    }

    fn unpack_layer(&self, layer: &ImageLayer, settings: CheckSettings<'_>) -> Result<()> {
        let LayerClaim::Ours(unpacking) =
            self.claim_layer(&layer.diff_id, settings.owners, LayerTrust::Recorded, &|| ())?
        else {
            return Ok(());
        };
        let Some(blob) = self.blob(&layer.blob)? else { fail!("blob {} is missing", layer.blob) };
        let mut hashed = Hashed::new(&blob.file, layer.blob.algorithm());
        unpacking.unpack(&mut hashed, layer.packed, settings.limits)?;
        self.flush()
    }
}

const DAMAGED: &str = "its content is not what its name says";

/// A layer that an image needs and that is not unpacked.
struct MissingLayer {
    layer: ImageLayer,
    fault: StoreFault,
}

impl StoreFault {
    fn found(what: String, fault: impl Into<String>, images: Vec<String>) -> Self {
        Self { what, fault: fault.into(), images, outcome: FaultOutcome::Found }
    }
}

impl RepairPass<'_> {
    fn needing(&self, needs: impl Fn(&ImageRecord) -> bool) -> Vec<&ImageRecord> {
        self.images.all().iter().filter(|image| needs(image)).collect()
    }

    fn is_any_in_use(&self, needing: &[&ImageRecord]) -> Result<bool> {
        for image in needing {
            if self.store.is_held(image)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Checks damaged blobs again, and removes them.
    fn blobs(&mut self, suspects: &[Digest]) -> Result<()> {
        for digest in suspects {
            let path = self.store.blob_path(digest);
            if !path.exists() {
                continue;
            }
            let needing = self.needing(|image| image.blobs().any(|blob| blob == digest));
            let mut fault =
                StoreFault::found(self.store.name_of_blob(digest), DAMAGED, names_of(&needing));
            if self.settings.is_some() {
                fault.outcome = self.set_aside("removed", &path)?;
            }
            self.faults.push(fault);
        }
        Ok(())
    }

    fn set_aside(&mut self, done: &str, path: &Path) -> Result<FaultOutcome> {
        Ok(match grip(path)? {
            LockAttempt::Held => FaultOutcome::Left(IN_USE.to_owned()),
            // A symbolic link leads to another object: no command uses the blob or layer by this name.
            LockAttempt::Gone if path.is_symlink() => {
                fs::remove_file(path).context(|| format!("cannot remove {}", path.display()))?;
                FaultOutcome::Mended(done.to_owned())
            }
            LockAttempt::Gone => FaultOutcome::Mended("it is gone".to_owned()),
            LockAttempt::Ours(lock) => {
                drop(lock);
                self.store.take_out_object(path, &mut self.removed)?;
                FaultOutcome::Mended(done.to_owned())
            }
        })
    }

    /// Checks damaged layers again, and removes them. Layers that images need are unpacked anew at the end.
    fn layers(&mut self, suspects: &[std::path::PathBuf]) -> Result<()> {
        for folder in suspects {
            let Some(fault) = self.store.fault_of_layer(folder, self.expected) else { continue };
            let name = folder.file_name().unwrap_or_default().to_string_lossy();
            let diff_id = super::layers::diff_id_of(&name);
            let needs = |image: &ImageRecord| {
                image.layers.iter().any(|layer| Some(&layer.diff_id) == diff_id.as_ref())
            };
            let needing = self.needing(needs);
            let mut fault =
                StoreFault::found(self.store.relative_name(folder), fault, names_of(&needing));
            if self.settings.is_some() {
                fault.outcome = match self.is_any_in_use(&needing)? {
                    true => FaultOutcome::Left(IN_USE.to_owned()),
                    false => self.set_aside("removed", folder)?,
                };
            }
            self.faults.push(fault);
        }
        Ok(())
    }

    /// Finds images that lack objects. Returns the layers to unpack anew once the lock is released.
    fn images(&mut self) -> Result<Vec<MissingLayer>> {
        let mut missing: Vec<MissingLayer> = Vec::new();
        for image in self.images.clone().all() {
            if let Some(what) = self.store.missing_for(image) {
                let mut fault =
                    StoreFault::found(format!("image {}", image.display_name()), what, Vec::new());
                if self.settings.is_some() {
                    fault.outcome = self.remove(image)?;
                }
                self.faults.push(fault);
                continue;
            }
            self.index(image)?;
            self.packed_layers(image);
            for layer in &image.layers {
                let is_known = missing.iter().any(|other| other.layer.diff_id == layer.diff_id);
                if !is_known && !self.store.is_unpacked(&layer.diff_id) {
                    let fault = self.fault_of_missing_layer(layer);
                    missing.push(MissingLayer { layer: layer.clone(), fault });
                }
            }
        }
        Ok(missing)
    }

    /// The fault for which the layer's folder was just removed, or the fault that no such folder exists.
    fn fault_of_missing_layer(&mut self, layer: &ImageLayer) -> StoreFault {
        let folder = format!("layers/{}.", layer.diff_id.hex());
        match self.faults.iter().position(|fault| fault.what.starts_with(&folder)) {
            Some(at) => self.faults.remove(at),
            None => {
                let what = format!("layer {}", layer.diff_id.short());
                let needs = |image: &ImageRecord| {
                    image.layers.iter().any(|one| one.diff_id == layer.diff_id)
                };
                StoreFault::found(what, "it is not unpacked", names_of(&self.needing(needs)))
            }
        }
    }

    fn remove(&mut self, image: &ImageRecord) -> Result<FaultOutcome> {
        if self.store.is_held(image)? {
            return Ok(FaultOutcome::Left(IN_USE.to_owned()));
        }
        self.images.remove(&image.manifest);
        self.store.write_images(&self.images)?;
        let names: Vec<String> =
            image.names.iter().chain(&image.digests).map(|name| name.familiar()).collect();
        Ok(FaultOutcome::Mended(match names.first() {
            Some(_) => {
                format!("removed from the list of images: pull it again ({})", names.join(", "))
            }
            None => "removed from the list of images".to_owned(),
        }))
    }

    /// Checks the image's index, which a push and references with only the index's digest need.
    fn index(&mut self, image: &ImageRecord) -> Result<()> {
        let Some(index) = &image.index else { return Ok(()) };
        if self.store.blob_path(index).is_file() {
            return Ok(());
        }
        let what = self.store.name_of_blob(index);
        let mut fault = StoreFault::found(what, "the index is missing", vec![image.display_name()]);
        if self.settings.is_some() {
            self.images.replace(ImageRecord { index: None, ..image.clone() });
            self.store.write_images(&self.images)?;
            fault.outcome = FaultOutcome::Mended("the image is kept without it".to_owned());
        }
        self.faults.push(fault);
        Ok(())
    }

    /// Reports missing packed layers. An image with unpacked layers runs without their blobs, so it stays; only a pull
    /// brings the blobs back.
    fn packed_layers(&mut self, image: &ImageRecord) {
        for layer in &image.layers {
            if self.store.blob_path(&layer.blob).is_file() {
                continue;
            }
            let what = self.store.name_of_blob(&layer.blob);
            if self.faults.iter().any(|fault| fault.what == what && fault.is_left()) {
                continue;
            }
            let mut fault = StoreFault::found(
                what,
                "the packed layer is missing: the image runs, and can neither be pushed nor saved",
                vec![image.display_name()],
            );
            if self.settings.is_some() {
                let name = image.names.first().or(image.digests.first());
                fault.outcome = FaultOutcome::Left(match name {
                    Some(name) => format!("'usnea pull {}' fetches it again", name.familiar()),
                    None => "pull the image again".to_owned(),
                });
            }
            self.faults.push(fault);
        }
    }
}

const IN_USE: &str =
    "it is in use: stop the containers that run on it, remove those that ended, then repair";

fn names_of(images: &[&ImageRecord]) -> Vec<String> {
    images.iter().map(|image| image.display_name()).collect()
}
