//! A pull: from a [`ImageSource`] into the store, layers unpacked while they arrive.
//!
//! ```text
//!  manifest (or index, then manifest) --> config --> layers, several at once:
//!      download (a thread): source --> downloads/ --verified--> blobs/
//!      unpack (a thread): follows the download --> tmp/ --diff ID verified--> layers/
//!  one flush of the file system --> images.json
//! ```
//!
//! Runs in its own process, which is root of the base user namespace and starts threads. The process may be killed at
//! any instant: the next pull resumes the download.

mod layers;
mod writeback;

use super::Reference;
use super::manifest::{Descriptor, LARGEST, Manifest, ManifestDocument, Platform, parse_config};
use super::owners::Owners;
use super::source::{FetchedManifest, ImageSource};
use super::store::{HeldBlob, ImageLayer, ImageRecord, Store};
use crate::config::LayerLimits;
use crate::digest::{Algorithm, Digest, Hasher};
use crate::error::{Context, Result};
use crate::fail;

use layers::{LayerLocks, PulledLayer};
pub use layers::{fetch_blob, unpack_layer, unpack_missing};

/// Deepest nesting of indexes.
const DEEPEST: usize = 4;

/// Receives the progress of a pull. Called by several threads.
pub trait TransferProgress: Sync {
    /// Announces the image's layers: short digest and packed size in bytes.
    fn layers(&self, layers: &[(String, u64)]);
    /// Reports a wait: another command fetches or unpacks layer `at` (`None`: the config).
    fn waiting(&self, at: Option<usize>);
    /// Reports the bytes of layer `at` that were transferred so far.
    fn transferred(&self, at: usize, bytes: u64);
    /// Reports that layer `at` is at its destination.
    fn done(&self, at: usize, outcome: TransferOutcome);
}

/// Reason why a layer is at its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferOutcome {
    /// Present before the transfer.
    AlreadyPresent,
    /// Moved by the transfer.
    Transferred,
}

/// A pull: settings, destination and callbacks.
pub struct ImagePull<'a> {
    /// Verb for error messages: cannot ACTION SOURCE.
    pub action: &'static str,
    /// Store that receives the image.
    pub store: &'a Store,
    /// Platform to choose from an index.
    pub platform: &'a Platform,
    /// Names for the image. A name without a digest becomes a name of the image. A name with a digest demands this
    /// digest and is recorded only as a reference by digest: its tag may stand for another image.
    pub names: &'a [Reference],
    /// Form in which the layers' owners are stored.
    pub owners: &'a Owners,
    /// Limits for a layer's content.
    pub limits: &'a LayerLimits,
    /// Number of layers fetched at once.
    pub parallel: usize,
    /// Receiver of progress reports.
    pub progress: &'a dyn TransferProgress,
    /// Accepts or rejects the image with this manifest; called before any layer is fetched.
    pub approve: &'a (dyn Fn(&Digest) -> Result<()> + Sync),
}

/// A verified manifest, and the index that led to it.
pub struct ChosenManifest {
    /// The parsed manifest.
    pub manifest: Manifest,
    /// Digest of the manifest.
    pub digest: Digest,
    /// Bytes of the manifest.
    bytes: Vec<u8>,
    /// Index that the manifest was chosen from: digest and bytes.
    index: Option<(Digest, Vec<u8>)>,
}

/// Computes the digest of `fetched`, with the algorithm of `wanted` if given. Errors: it differs from `wanted`.
fn verify_digest(fetched: &FetchedManifest, wanted: Option<&Digest>) -> Result<Digest> {
    let mut hasher = Hasher::new(wanted.map_or(Algorithm::Sha256, Digest::algorithm));
    hasher.update(&fetched.bytes);
    let digest = hasher.finish();
    match wanted {
        Some(wanted) if *wanted != digest => {
            fail!("manifest {wanted}: what came is {digest}")
        }
        _ => Ok(digest),
    }
}

/// Fetches the manifest `wanted`, by default the source's own. From an index, also fetches the manifest for `platform`.
pub fn choose(
    source: &dyn ImageSource,
    platform: &Platform,
    wanted: Option<&Digest>,
) -> Result<ChosenManifest> {
    let mut fetched = source.manifest(wanted)?;
    let mut digest = verify_digest(&fetched, wanted)?;
    let mut index = None;
    for _ in 0..DEEPEST {
        match ManifestDocument::parse(&fetched.bytes, fetched.media_type.as_deref())? {
            ManifestDocument::Manifest(manifest) => {
                return Ok(ChosenManifest { manifest, digest, bytes: fetched.bytes, index });
            }
            ManifestDocument::Index(list) => {
                let entry = list.choose(platform)?;
                let next = source.manifest(Some(&entry.digest))?;
                if entry.is_size_known() && next.bytes.len() as u64 != entry.size {
                    fail!("manifest {}: not as long as its index says", entry.digest);
                }
                let next_digest = verify_digest(&next, Some(&entry.digest))?;
                // The reference stands for the outermost index.
                index.get_or_insert((digest, fetched.bytes));
                (fetched, digest) = (next, next_digest);
            }
        }
    }
    fail!("more than {DEEPEST} indexes, one in the other")
}

impl ImagePull<'_> {
    /// Pulls and records the image.
    pub fn run(&self, source: &dyn ImageSource) -> Result<ImageRecord> {
        self.run_inner(source).context(|| format!("cannot {} {}", self.action, source.describe()))
    }

    fn run_inner(&self, source: &dyn ImageSource) -> Result<ImageRecord> {
        let wanted = self.names.iter().find_map(|name| name.digest.as_ref());
        let mut chosen = choose(source, self.platform, wanted)?;
        chosen.manifest.check_is_image()?;
        chosen.manifest.add_sizes(|descriptor| source.size(&descriptor.digest))?;
        (self.approve)(&chosen.digest)?;
        let mut held = vec![self.store.add_blob(&chosen.digest, &chosen.bytes)?];
        if let Some((digest, bytes)) = &chosen.index {
            held.push(self.store.add_blob(digest, bytes)?);
        }
        let descriptor = &chosen.manifest.config;
        held.push(self.fetch_config(source, descriptor)?);
        let bytes = self.store.read_blob(&descriptor.digest)?;
        let descriptors = &chosen.manifest.layers;
        let (config, diff_ids) = parse_config(&bytes, descriptors.len())?;
        let names: Vec<Reference> =
            self.names.iter().filter(|name| name.digest.is_none()).cloned().collect();
        let published = chosen.index.as_ref().map_or(&chosen.digest, |(digest, _)| digest);
        let digests = match source.has_published_manifest() {
            true => self.references_by_digest(published),
            false => Vec::new(),
        };
        if digests.is_empty()
            && let Some((known, _held)) = self.find_whole(&descriptor.digest)?
        {
            return self.record(ImageRecord { names, digests, ..known });
        }
        let layers: Vec<PulledLayer> = descriptors
            .iter()
            .zip(&diff_ids)
            .map(|(blob, diff_id)| PulledLayer { blob, diff_id })
            .collect();
        let locks = layers::fetch_layers(self, source, &layers)?;
        let record = |(layer, lock): (&PulledLayer, &LayerLocks)| ImageLayer {
            blob: layer.blob.digest.clone(),
            packed: layer.blob.size,
            diff_id: layer.diff_id.clone(),
            size: lock.unpacked_size(),
        };
        let image = ImageRecord {
            manifest: chosen.digest,
            index: chosen.index.map(|(digest, _)| digest),
            config: descriptor.digest.clone(),
            layers: layers.iter().zip(&locks).map(record).collect(),
            platform: config.platform(),
            names,
            digests,
            created: config.created.as_ref().and_then(|text| text.parse().ok()),
            added: jiff::Timestamp::now(),
        };
        self.record(image)
    }

    fn fetch_config(&self, source: &dyn ImageSource, descriptor: &Descriptor) -> Result<HeldBlob> {
        if descriptor.size > LARGEST {
            fail!("the image's config is larger than {LARGEST} bytes");
        }
        let on_wait = || self.progress.waiting(None);
        layers::fetch_blob(self.store, source, descriptor, &|_| (), &on_wait)
    }

    /// The names as references with this digest and no tag.
    fn references_by_digest(&self, digest: &Digest) -> Vec<Reference> {
        let of = |name: &Reference| Reference {
            tag: None,
            digest: Some(digest.clone()),
            ..name.clone()
        };
        let mut digests: Vec<Reference> = self.names.iter().map(of).collect();
        digests.dedup();
        digests
    }

    /// The image with this ID if the store has it whole, by whatever manifest, and a lock on its manifest.
    fn find_whole(&self, config: &Digest) -> Result<Option<(ImageRecord, HeldBlob)>> {
        let images = self.store.images()?;
        let is_whole = |image: &&ImageRecord| self.store.is_whole(image, self.owners);
        let Some(known) = images.of_config(config).find(is_whole) else { return Ok(None) };
        Ok(self.store.blob(&known.manifest)?.map(|held| (known.clone(), held)))
    }

    /// Flushes all to the disk before the image is recorded: after a power cut a recorded image is whole.
    fn record(&self, image: ImageRecord) -> Result<ImageRecord> {
        self.store.flush()?;
        self.store.record(image)
    }
}
