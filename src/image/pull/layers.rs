//! The layers of a pull, several at once, each unpacked while it is downloaded.

use std::io::Read;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::ImagePull;
use super::writeback::Writeback;
use crate::config::Limits;
use crate::digest::{Digest, Hashed};
use crate::error::{Error, ErrorKind, Result};
use crate::fail;
use crate::image::manifest::Descriptor;
use crate::image::owners::Owners;
use crate::image::source::ImageSource;
use crate::image::store::{
    BlobClaim, HeldBlob, HeldLayer, ImageRecord, LayerClaim, PartialBlob, Store, Unpacking,
};

/// Locks on a fetched layer and its blob, held until the image is recorded.
pub struct LayerLocks {
    _blob: HeldBlob,
    layer: HeldLayer,
}

/// Returns the blob, fetched if it is missing.
pub fn blob(
    store: &Store,
    source: &dyn ImageSource,
    descriptor: &Descriptor,
    told: &dyn Fn(u64),
    waits: &dyn Fn(),
) -> Result<HeldBlob> {
    match store.download(&descriptor.digest, waits)? {
        BlobClaim::There(held) => Ok(held),
        BlobClaim::Ours(partial) => finish(&partial, store, source, descriptor, told),
    }
}

fn finish(
    partial: &PartialBlob,
    store: &Store,
    source: &dyn ImageSource,
    descriptor: &Descriptor,
    told: &dyn Fn(u64),
) -> Result<HeldBlob> {
    let open = |from| source.blob(descriptor, from);
    partial.finish(store, descriptor.size, &open, told)
}

/// Fetches and unpacks all layers. Returns the unpacked size of each in bytes, and the locks on them.
pub fn fetch(
    pull: &ImagePull<'_>,
    source: &dyn ImageSource,
    layers: &[(&Descriptor, &Digest)],
) -> Result<(Vec<u64>, Vec<LayerLocks>)> {
    let shown = |(layer, _): &(&Descriptor, &Digest)| (layer.digest.short().to_owned(), layer.size);
    pull.progress.layers(&layers.iter().map(shown).collect::<Vec<_>>());
    // The largest layer first: started last, it would finish alone.
    let mut order: Vec<usize> = (0..layers.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(layers[*at].0.size));
    let recorded = recorded_layers(pull.store)?;
    let is_alone = |diff_id| layers.iter().filter(|(_, other)| *other == diff_id).count() == 1;
    let next = AtomicUsize::new(0);
    let take = || {
        let rank = next.fetch_add(1, Ordering::Relaxed);
        order.get(rank).map(|at| (rank, *at))
    };
    let writeback = Writeback::default();
    let results: Vec<Mutex<Option<Result<LayerLocks>>>> =
        layers.iter().map(|_| Mutex::new(None)).collect();
    let work = || {
        while let Some((rank, at)) = take() {
            let (descriptor, diff_id) = layers[at];
            let is_recorded = recorded.contains(diff_id);
            give_way(rank);
            // A layer that the image has twice waits for another thread of ours: this is not reported.
            let waits = || {
                if is_alone(diff_id) {
                    pull.progress.waits(Some(at));
                }
            };
            let so_far = AtomicU64::new(0);
            let told = |bytes: u64| {
                writeback.came(bytes.saturating_sub(so_far.swap(bytes, Ordering::Relaxed)));
                pull.progress.came(at, bytes);
            };
            let result = one(pull, source, (descriptor, diff_id), is_recorded, &told, &waits);
            let result = result.map(|(held, was_there)| {
                pull.progress.done(at, was_there);
                held
            });
            if result.is_err() {
                // The pull has failed: no thread starts another layer.
                next.store(order.len(), Ordering::Relaxed);
            }
            *results[at].lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| writeback.run(pull.store.root()));
        let workers: Vec<_> =
            (0..pull.parallel.min(layers.len())).map(|_| scope.spawn(work)).collect();
        workers.into_iter().for_each(|worker| drop(worker.join()));
        writeback.end();
    });
    let mut held = Vec::new();
    let results =
        results.into_iter().map(|slot| slot.into_inner().unwrap_or_else(PoisonError::into_inner));
    let mut failure: Option<Error> = None;
    for slot in results {
        match slot {
            Some(Ok(one)) => held.push(one),
            // Prefers an error that does not depend on this source.
            Some(Err(error)) if failure.as_ref().is_none_or(Error::is_of_place) => {
                failure = Some(error);
            }
            _ => {}
        }
    }
    match failure {
        Some(error) if error.kind() == ErrorKind::Full => {
            drop(held);
            let came: Vec<_> =
                layers.iter().map(|(layer, diff_id)| (&layer.digest, *diff_id)).collect();
            give_back(pull.store, &came);
            return Err(error);
        }
        Some(error) => return Err(error),
        None if held.len() < layers.len() => fail!("a layer was left out"),
        None => {}
    }
    Ok((held.iter().map(|held| held.layer.story.size).collect(), held))
}

/// On a full disk, removes the fetched parts that no image needs.
fn give_back(store: &Store, layers: &[(&Digest, &Digest)]) {
    match store.give_back(layers) {
        Ok(0) => {}
        Ok(bytes) => log::warn!("there is no room: {bytes} bytes that were fetched are removed"),
        Err(error) => log::debug!("{error}"),
    }
}

fn recorded_layers(store: &Store) -> Result<std::collections::HashSet<Digest>> {
    let images = store.images()?;
    let layers = images.all().iter().flat_map(|image| &image.layers);
    Ok(layers.map(|layer| layer.diff_id.clone()).collect())
}

/// Gives the threads of larger layers priority, so that all layers end at about the same time. The threads that this
/// thread starts inherit its priority.
fn give_way(rank: usize) {
    let rank = i32::try_from(rank).unwrap_or(i32::MAX);
    let thread = rustix::thread::gettid();
    if let Err(error) = rustix::process::setpriority_process(Some(thread), rank.min(4) * 4) {
        log::debug!("the order of threads: {error}");
    }
}

/// Fetches and unpacks one layer. Returns the locks, and true if the layer was already unpacked.
fn one(
    pull: &ImagePull<'_>,
    source: &dyn ImageSource,
    (descriptor, diff_id): (&Descriptor, &Digest),
    is_recorded: bool,
    told: &(dyn Fn(u64) + Sync),
    waits: &dyn Fn(),
) -> Result<(LayerLocks, bool)> {
    let wanted = pull.store.want_layer(diff_id, pull.owners, is_recorded, waits)?;
    Ok(match wanted {
        LayerClaim::There(layer) => {
            let blob = blob(pull.store, source, descriptor, told, waits)?;
            (LayerLocks { _blob: blob, layer }, true)
        }
        LayerClaim::Ours(unpacking) => match pull.store.download(&descriptor.digest, waits)? {
            BlobClaim::There(blob) => {
                told(descriptor.size);
                let layer = unpack_blob(pull.store, unpacking, &blob, descriptor, pull.limits)?;
                (LayerLocks { _blob: blob, layer }, false)
            }
            BlobClaim::Ours(partial) => {
                let (blob, layer) =
                    download_and_unpack(pull, source, descriptor, &partial, unpacking, told)?;
                (LayerLocks { _blob: blob, layer }, false)
            }
        },
    })
}

/// Unpacks a blob of the store. Hashes the blob once more: it may be older than the last power cut.
fn unpack_blob(
    store: &Store,
    unpacking: Unpacking<'_>,
    blob: &HeldBlob,
    descriptor: &Descriptor,
    limits: &Limits,
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
    Error::new(format!("blob {digest} of the store is damaged"))
        .hint("'usnea check --repair' removes it; then pull again")
}

fn download_and_unpack(
    pull: &ImagePull<'_>,
    source: &dyn ImageSource,
    descriptor: &Descriptor,
    partial: &PartialBlob,
    unpacking: Unpacking<'_>,
    told: &(dyn Fn(u64) + Sync),
) -> Result<(HeldBlob, HeldLayer)> {
    std::thread::scope(|scope| {
        let unpacked =
            scope.spawn(|| unpacking.unpack(partial.follow(), descriptor.size, pull.limits));
        // The download continues even if the unpacking fails: fetched bytes are not fetched again.
        let blob = finish(partial, pull.store, source, descriptor, told);
        let layer = match unpacked.join() {
            Ok(layer) => layer,
            Err(_) => fail!("unpacking broke down"),
        };
        // If both failed, the download's error is the cause.
        Ok((blob?, layer?))
    })
}

/// Unpacks missing layers of a recorded image from their blobs. Layers are missing in this form after a change of the
/// subordinate IDs, or a pull without any. Has no limits: the image was accepted by the pull.
pub fn unpack_missing(
    store: &Store,
    image: &ImageRecord,
    owners: &Owners,
    waits: &dyn Fn(),
) -> Result<()> {
    for layer in &image.layers {
        let wanted = store.want_layer(&layer.diff_id, owners, true, waits)?;
        let LayerClaim::Ours(unpacking) = wanted else {
            continue;
        };
        let Some(blob) = store.blob(&layer.blob)? else {
            let error = Error::new(format!("blob {} is missing", layer.blob));
            return Err(error.hint("pull the image again"));
        };
        let mut hashed = Hashed::new(&blob.file, layer.blob.algorithm());
        unpacking
            .unpack(&mut hashed, layer.packed, &Limits::NONE)
            .map_err(|error| cause(error, store, &layer.blob))?;
        let (digest, _) = hashed.finish();
        if digest != layer.blob {
            return Err(damaged(&layer.blob));
        }
    }
    crate::files::sync_filesystem(store.root())
}

// Asserts that the reader is Send, as `unpack` demands.
const _: fn() = || {
    fn sends<T: Read + Send>() {}
    sends::<Hashed<&std::fs::File>>();
};
