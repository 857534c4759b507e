//! A pull: from a [`Source`] into the store, layers unpacked while they come in.
//!
//! ```text
//!  manifest (or index, then manifest) --> config --> layers, several at once:
//!      download (a thread): source --> downloads/ --verified--> blobs/
//!      unpack (a thread): follows the download --> tmp/ --diff ID verified--> layers/
//!  one flush of the file system --> images.json
//! ```
//!
//! Runs in a process of its own that is root of the base user namespace, and starts threads. It may be killed at any
//! instant: what was fetched goes on where it stopped.

mod layers;
mod writeback;

use super::Reference;
use super::manifest::{Descriptor, Document, LARGEST, Manifest, Platform, parse_config};
use super::owners::Owners;
use super::source::{Fetched, Source};
use super::store::{HeldBlob, Image, Layer, Store};
use crate::config::Limits;
use crate::digest::{Algorithm, Digest, Hasher};
use crate::error::{Context, Result};
use crate::fail;
use crate::files;

pub use layers::unpack_missing;

/// Most indexes one in the other.
const DEEPEST: usize = 4;

/// How a pull is told of. Called by several threads.
pub trait Progress: Sync {
    /// These layers make the image: short digest and packed size in bytes.
    fn layers(&self, layers: &[(String, u64)]);
    /// Another command fetches or unpacks layer `at` (`None`: the config), and is waited for.
    fn waits(&self, at: Option<usize>);
    /// Layer `at` has come so far, in bytes.
    fn came(&self, at: usize, bytes: u64);
    /// Layer `at` is there, unpacked.
    fn done(&self, at: usize, was_there: bool);
}

/// What is pulled, and how.
pub struct Pull<'a> {
    /// The verb of errors: cannot ACTION SOURCE.
    pub action: &'static str,
    /// Where it is kept.
    pub store: &'a Store,
    /// Which image of an index.
    pub platform: &'a Platform,
    /// What it will be called: by their tags. What one with a digest names must have that digest, which alone it is called
    /// by then: nobody has said that the tag stands for it.
    pub names: &'a [Reference],
    /// How its files' owners are kept.
    pub owners: &'a Owners,
    /// What a layer may hold.
    pub limits: &'a Limits,
    /// How many layers at once.
    pub parallel: usize,
    /// Who is told.
    pub progress: &'a dyn Progress,
    /// Whether the image with this manifest may come here: asked before any layer is fetched.
    pub approve: &'a (dyn Fn(&Digest) -> Result<()> + Sync),
}

/// A manifest that is verified, and what led to it.
pub struct Chosen {
    /// The manifest.
    pub manifest: Manifest,
    /// Its digest.
    pub digest: Digest,
    /// Its bytes.
    bytes: Vec<u8>,
    /// The index that it was chosen from.
    index: Option<(Digest, Vec<u8>)>,
}

/// The digest of `bytes`, by the algorithm of `wanted` if there is one. Errors: it is another than `wanted`.
fn verified(fetched: &Fetched, wanted: Option<&Digest>) -> Result<Digest> {
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

/// Fetches what `source` stands for and, where that is an index, the manifest for `platform`.
pub fn choose(source: &dyn Source, platform: &Platform, wanted: Option<&Digest>) -> Result<Chosen> {
    let mut fetched = source.manifest(wanted)?;
    let mut digest = verified(&fetched, wanted)?;
    let mut index = None;
    for _ in 0..DEEPEST {
        match Document::parse(&fetched.bytes, fetched.media_type.as_deref())? {
            Document::Manifest(manifest) => {
                return Ok(Chosen { manifest, digest, bytes: fetched.bytes, index });
            }
            Document::Index(list) => {
                let entry = list.choose(platform)?;
                let next = source.manifest(Some(&entry.digest))?;
                if entry.is_size_known() && next.bytes.len() as u64 != entry.size {
                    fail!("manifest {}: not as long as its index says", entry.digest);
                }
                let next_digest = verified(&next, Some(&entry.digest))?;
                // The outermost is what the name stands for.
                index.get_or_insert((digest, fetched.bytes));
                (fetched, digest) = (next, next_digest);
            }
        }
    }
    fail!("more than {DEEPEST} indexes, one in the other")
}

/// Asks for the sizes that the manifest does not say.
fn add_sizes(source: &dyn Source, manifest: &mut Manifest) -> Result<()> {
    let Manifest { config, layers, .. } = manifest;
    for descriptor in std::iter::once(config).chain(layers) {
        if !descriptor.is_size_known() {
            descriptor.size = source.size(&descriptor.digest)?;
        }
    }
    Ok(())
}

impl Pull<'_> {
    /// Pulls and records the image.
    pub fn run(&self, source: &dyn Source) -> Result<Image> {
        self.run_inner(source).context(|| format!("cannot {} {}", self.action, source.describe()))
    }

    fn run_inner(&self, source: &dyn Source) -> Result<Image> {
        let wanted = self.names.iter().find_map(|name| name.digest.as_ref());
        let mut chosen = choose(source, self.platform, wanted)?;
        chosen.manifest.check_is_image()?;
        add_sizes(source, &mut chosen.manifest)?;
        (self.approve)(&chosen.digest)?;
        let mut held = vec![self.store.add_blob(&chosen.digest, &chosen.bytes)?];
        if let Some((digest, bytes)) = &chosen.index {
            held.push(self.store.add_blob(digest, bytes)?);
        }
        let descriptor = &chosen.manifest.config;
        held.push(self.fetch_small(source, descriptor)?);
        let bytes = self.store.read_blob(&descriptor.digest)?;
        let descriptors = &chosen.manifest.layers;
        let (config, diff_ids) = parse_config(&bytes, descriptors.len())?;
        let names: Vec<Reference> =
            self.names.iter().filter(|name| name.digest.is_none()).cloned().collect();
        let published = chosen.index.as_ref().map_or(&chosen.digest, |(digest, _)| digest);
        let digests = match source.has_published_manifest() {
            true => self.digests(published),
            false => Vec::new(),
        };
        if digests.is_empty()
            && let Some((known, _held)) = self.known(&descriptor.digest)?
        {
            return self.record(Image { names, digests, ..known });
        }
        let pairs: Vec<(&Descriptor, &Digest)> = descriptors.iter().zip(&diff_ids).collect();
        let (sizes, _held_layers) = layers::fetch(self, source, &pairs)?;
        let layer = |((descriptor, diff_id), size): (&(&Descriptor, &Digest), u64)| Layer {
            blob: descriptor.digest.clone(),
            packed: descriptor.size,
            diff_id: (*diff_id).clone(),
            size,
        };
        let image = Image {
            manifest: chosen.digest,
            index: chosen.index.map(|(digest, _)| digest),
            config: descriptor.digest.clone(),
            layers: pairs.iter().zip(sizes).map(layer).collect(),
            platform: config.platform(),
            names,
            digests,
            created: config.created.as_ref().and_then(|text| text.parse().ok()),
            added: jiff::Timestamp::now(),
        };
        self.record(image)
    }

    fn fetch_small(&self, source: &dyn Source, descriptor: &Descriptor) -> Result<HeldBlob> {
        if descriptor.size > LARGEST {
            fail!("the image's config is larger than {LARGEST} bytes");
        }
        let waits = || self.progress.waits(None);
        layers::blob(self.store, source, descriptor, &|_| (), &waits)
    }

    /// The names by which the image is found by this digest.
    fn digests(&self, digest: &Digest) -> Vec<Reference> {
        let of = |name: &Reference| Reference {
            tag: None,
            digest: Some(digest.clone()),
            ..name.clone()
        };
        let mut digests: Vec<Reference> = self.names.iter().map(of).collect();
        digests.dedup();
        digests
    }

    /// The image with this ID where it is here already, whole, by whatever manifest; and what keeps it.
    fn known(&self, config: &Digest) -> Result<Option<(Image, HeldBlob)>> {
        let images = self.store.images()?;
        let is_whole = |image: &&Image| self.store.is_whole(image, self.owners);
        let Some(known) = images.of_config(config).find(is_whole) else { return Ok(None) };
        Ok(self.store.blob(&known.manifest)?.map(|held| (known.clone(), held)))
    }

    /// Flushes all to the disk, then names it: after a power cut a recorded image is whole.
    fn record(&self, image: Image) -> Result<Image> {
        files::sync_filesystem(self.store.root())?;
        self.store.record(image)
    }
}
