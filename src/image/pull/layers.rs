//! The layers of a pull, several at once, each unpacked while it is downloaded.

use std::collections::HashSet;
use std::io::Read;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::writeback::Writeback;
use super::{ImagePull, TransferOutcome};
use crate::config::LayerLimits;
use crate::digest::{Digest, Hashed};
use crate::error::{Error, ErrorKind, Result};
use crate::fail;
use crate::hint;
use crate::image::manifest::Descriptor;
use crate::image::owners::Owners;
use crate::image::source::ImageSource;
use crate::image::store::{
    BlobClaim, HeldBlob, HeldLayer, ImageLayer, ImageRecord, LayerClaim, LayerTrust, PartialBlob,
    Store, Unpacking,
};

/// A layer to fetch: its packed blob, and the digest of its tar.
#[derive(Clone, Copy)]
pub struct PulledLayer<'a> {
    /// Descriptor of the packed blob.
    pub blob: &'a Descriptor,
    /// Digest of the tar in the blob.
    pub diff_id: &'a Digest,
}

/// Locks on a fetched layer and its blob, held until the image is recorded.
pub struct LayerLocks {
    _blob: HeldBlob,
    layer: HeldLayer,
}

impl LayerLocks {
    /// Bytes of the layer's files, unpacked.
    pub fn unpacked_size(&self) -> u64 {
        self.layer.facts.size
    }
}

/// Returns the blob, fetched if it is missing.
pub fn fetch_blob(
    store: &Store,
    source: &dyn ImageSource,
    descriptor: &Descriptor,
    on_progress: &dyn Fn(u64),
    on_wait: &dyn Fn(),
) -> Result<HeldBlob> {
    match store.claim_blob(&descriptor.digest, on_wait)? {
        BlobClaim::Present(held) => Ok(held),
        BlobClaim::Ours(partial) => finish_blob(&partial, store, source, descriptor, on_progress),
    }
}

fn finish_blob(
    partial: &PartialBlob,
    store: &Store,
    source: &dyn ImageSource,
    descriptor: &Descriptor,
    on_progress: &dyn Fn(u64),
) -> Result<HeldBlob> {
    let open = |from| source.blob(descriptor, from);
    partial.finish(store, descriptor.size, &open, on_progress)
}

/// Fetches and unpacks all layers. Returns the locks on them, in the order of `layers`.
pub fn fetch_layers(
    pull: &ImagePull<'_>,
    source: &dyn ImageSource,
    layers: &[PulledLayer<'_>],
) -> Result<Vec<LayerLocks>> {
    let row = |layer: &PulledLayer| (layer.blob.digest.short().to_owned(), layer.blob.size);
    pull.progress.layers(&layers.iter().map(row).collect::<Vec<_>>());
    let fetch = LayersFetch::new(pull, source, layers)?;
    std::thread::scope(|scope| {
        if !pull.store.is_temporary() {
            scope.spawn(|| fetch.writeback.run(pull.store.root()));
        }
        let workers: Vec<_> =
            (0..pull.parallel.min(layers.len())).map(|_| scope.spawn(|| fetch.work())).collect();
        workers.into_iter().for_each(|worker| drop(worker.join()));
        fetch.writeback.end();
    });
    fetch.into_locks()
}

/// State that the threads of [`fetch_layers`] share.
struct LayersFetch<'a> {
    pull: &'a ImagePull<'a>,
    source: &'a dyn ImageSource,
    layers: &'a [PulledLayer<'a>],
    /// Indexes of the layers, in the order in which they are started.
    order: Vec<usize>,
    /// Number of layers that were started.
    started: AtomicUsize,
    /// Diff IDs of the layers that recorded images need.
    recorded: HashSet<Digest>,
    writeback: Writeback,
    results: Vec<Mutex<Option<Result<LayerLocks>>>>,
}

impl<'a> LayersFetch<'a> {
    fn new(
        pull: &'a ImagePull<'a>,
        source: &'a dyn ImageSource,
        layers: &'a [PulledLayer<'a>],
    ) -> Result<Self> {
        // The largest layer first: started last, it would finish alone.
        let mut order: Vec<usize> = (0..layers.len()).collect();
        order.sort_by_key(|at| std::cmp::Reverse(layers[*at].blob.size));
        Ok(Self {
            pull,
            source,
            layers,
            order,
            started: AtomicUsize::new(0),
            recorded: recorded_layers(pull.store)?,
            writeback: Writeback::default(),
            results: layers.iter().map(|_| Mutex::new(None)).collect(),
        })
    }

    /// Fetches one layer after the other, until all are started or one has failed.
    fn work(&self) {
        loop {
            let rank = self.started.fetch_add(1, Ordering::Relaxed);
            let Some(&at) = self.order.get(rank) else { return };
            lower_priority(rank);
            let result = self.fetch(at);
            if result.is_err() {
                // The pull has failed: no thread starts another layer.
                self.started.store(self.order.len(), Ordering::Relaxed);
            }
            *self.results[at].lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        }
    }

    /// Fetches and unpacks the layer at this index, and reports its progress.
    fn fetch(&self, at: usize) -> Result<LayerLocks> {
        let (progress, layer) = (self.pull.progress, &self.layers[at]);
        let same = self.layers.iter().filter(|other| other.diff_id == layer.diff_id).count();
        // A layer that the image has twice waits for another thread of ours: this is not reported.
        let on_wait = || {
            if same == 1 {
                progress.waiting(Some(at));
            }
        };
        let so_far = AtomicU64::new(0);
        let on_progress = |bytes: u64| {
            let new = bytes.saturating_sub(so_far.swap(bytes, Ordering::Relaxed));
            self.writeback.received(new);
            progress.transferred(at, bytes);
        };
        let (locks, outcome) = self.fetch_and_unpack(layer, &on_progress, &on_wait)?;
        progress.done(at, outcome);
        Ok(locks)
    }

    fn fetch_and_unpack(
        &self,
        layer: &PulledLayer<'_>,
        on_progress: &(dyn Fn(u64) + Sync),
        on_wait: &dyn Fn(),
    ) -> Result<(LayerLocks, TransferOutcome)> {
        let (store, source, descriptor) = (self.pull.store, self.source, layer.blob);
        let trust = match self.recorded.contains(layer.diff_id) {
            true => LayerTrust::Recorded,
            false => LayerTrust::OfThisBoot,
        };
        let unpacking = match store.claim_layer(layer.diff_id, self.pull.owners, trust, on_wait)? {
            LayerClaim::Present(layer) => {
                let blob = fetch_blob(store, source, descriptor, on_progress, on_wait)?;
                return Ok((LayerLocks { _blob: blob, layer }, TransferOutcome::AlreadyPresent));
            }
            LayerClaim::Ours(unpacking) => unpacking,
        };
        let claim = match store.claim_blob(&descriptor.digest, on_wait)? {
            BlobClaim::Ours(partial) => match source.spool(&descriptor.digest) {
                // Taken over, not copied: a new image needs the space of its layer only once.
                Some(spool) => BlobClaim::Present(store.adopt(&partial, spool)?),
                None => BlobClaim::Ours(partial),
            },
            present => present,
        };
        let (blob, layer) = match claim {
            BlobClaim::Present(blob) => {
                on_progress(descriptor.size);
                let layer = unpack_blob(store, unpacking, &blob, descriptor, self.pull.limits)?;
                (blob, layer)
            }
            BlobClaim::Ours(partial) => {
                self.download_and_unpack(descriptor, &partial, unpacking, on_progress)?
            }
        };
        Ok((LayerLocks { _blob: blob, layer }, TransferOutcome::Transferred))
    }

    fn download_and_unpack(
        &self,
        descriptor: &Descriptor,
        partial: &PartialBlob,
        unpacking: Unpacking<'_>,
        on_progress: &(dyn Fn(u64) + Sync),
    ) -> Result<(HeldBlob, HeldLayer)> {
        let pull = self.pull;
        std::thread::scope(|scope| {
            let unpacked =
                scope.spawn(|| unpacking.unpack(partial.follow(), descriptor.size, pull.limits));
            // The download continues even if the unpacking fails: fetched bytes are not fetched again.
            let blob = finish_blob(partial, pull.store, self.source, descriptor, on_progress);
            let layer = match unpacked.join() {
                Ok(layer) => layer,
                Err(_) => fail!("unpacking broke down"),
            };
            // If both failed, the download's error is the cause.
            Ok((blob?, layer?))
        })
    }

    /// Returns the locks on all layers. Errors: of the failures, preferably one that does not depend on this source.
    fn into_locks(self) -> Result<Vec<LayerLocks>> {
        let mut locks = Vec::new();
        let mut failure: Option<Error> = None;
        for slot in self.results {
            match slot.into_inner().unwrap_or_else(PoisonError::into_inner) {
                Some(Ok(lock)) => locks.push(lock),
                Some(Err(error)) if failure.as_ref().is_none_or(Error::is_endpoint_specific) => {
                    failure = Some(error);
                }
                _ => {}
            }
        }
        match failure {
            Some(error) if error.kind() == ErrorKind::Full => {
                drop(locks);
                discard_layers(self.pull.store, self.layers);
                Err(error)
            }
            Some(error) => Err(error),
            None if locks.len() < self.layers.len() => fail!("a layer was left out"),
            None => Ok(locks),
        }
    }
}

/// On a full disk, removes the fetched parts that no image needs.
fn discard_layers(store: &Store, layers: &[PulledLayer<'_>]) {
    let layers: Vec<_> = layers.iter().map(|layer| (&layer.blob.digest, layer.diff_id)).collect();
    match store.discard_layers(&layers) {
        Ok(0) => {}
        Ok(bytes) => log::warn!("there is no room: {bytes} bytes that were fetched are removed"),
        Err(error) => log::debug!("{error}"),
    }
}

fn recorded_layers(store: &Store) -> Result<HashSet<Digest>> {
    let images = store.images()?;
    let layers = images.all().iter().flat_map(|image| &image.layers);
    Ok(layers.map(|layer| layer.diff_id.clone()).collect())
}

/// Gives the threads of larger layers priority, so that all layers end at about the same time. The threads that this
/// thread starts inherit its priority.
fn lower_priority(rank: usize) {
    let rank = i32::try_from(rank).unwrap_or(i32::MAX);
    let thread = rustix::thread::gettid();
    if let Err(error) = rustix::process::setpriority_process(Some(thread), rank.min(4) * 4) {
        log::debug!("the order of threads: {error}");
    }
}

/// Unpacks a blob of the store. Hashes the blob once more: it may be older than the last power cut.
fn unpack_blob(
    store: &Store,
    unpacking: Unpacking<'_>,
    blob: &HeldBlob,
    descriptor: &Descriptor,
    limits: &LayerLimits,
) -> Result<HeldLayer> {
    let mut hashed = Hashed::new(&blob.file, descriptor.digest.algorithm());
    let unpacked = unpacking.unpack(&mut hashed, descriptor.size, limits);
    let (digest, _) = hashed.finish();
    match unpacked {
        Ok(layer) if digest == descriptor.digest => Ok(layer),
        Ok(_) => Err(damaged(&descriptor.digest)),
        Err(error) => Err(cause(error, store, &descriptor.digest)),
    }
}

/// Finds the cause of a failed unpacking: a damaged blob, or the error itself if the blob is intact.
fn cause(error: Error, store: &Store, digest: &Digest) -> Error {
    if store.is_damaged(digest) { damaged(digest) } else { error }
}

fn damaged(digest: &Digest) -> Error {
    Error::new(format!("blob {digest} of the store is damaged")).hint(hint::REPAIR_AND_PULL)
}

/// Unpacks missing layers of a recorded image from their blobs. Layers are missing in this form after a change of the
/// subordinate IDs, or a pull without any. Has no limits: the image was accepted by the pull.
pub fn unpack_missing(
    store: &Store,
    image: &ImageRecord,
    owners: &Owners,
    on_wait: &dyn Fn(),
) -> Result<()> {
    for layer in &image.layers {
        unpack_layer(store, layer, owners, store, on_wait)?;
    }
    store.flush()
}

/// Unpacks a layer of a recorded image from its blob in `store`, if it is missing in the store `into`. Does not wait
/// for the disk.
pub fn unpack_layer(
    store: &Store,
    layer: &ImageLayer,
    owners: &Owners,
    into: &Store,
    on_wait: &dyn Fn(),
) -> Result<()> {
    let claim = into.claim_layer(&layer.diff_id, owners, LayerTrust::Recorded, on_wait)?;
    let LayerClaim::Ours(unpacking) = claim else { return Ok(()) };
    let Some(blob) = store.blob(&layer.blob)? else {
        let error = Error::new(format!("blob {} is missing", layer.blob));
        return Err(error.hint("pull the image again"));
    };
    let mut hashed = Hashed::new(&blob.file, layer.blob.algorithm());
    unpacking
        .unpack(&mut hashed, layer.packed, &LayerLimits::NONE)
        .map_err(|error| cause(error, store, &layer.blob))?;
    let (digest, _) = hashed.finish();
    if digest != layer.blob {
        return Err(damaged(&layer.blob));
    }
    Ok(())
}

// Asserts that the reader is Send, as `unpack` demands.
const _: fn() = || {
    fn sends<T: Read + Send>() {}
    sends::<Hashed<&std::fs::File>>();
};
