//! Rank 0: pulls from the registry, and shares what arrives.

use std::fs::File;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::file::{FileBlocks, file_manifest};
use super::frame::BlockDigest;
use super::ledger::{Ledger, SpreadEnd, SpreadImage};
use super::members::Members;
use super::serve::{RootDesk, SpreadServer, spawn};
use super::shared_blob::{SharedBlob, SharedBlobs, block_digest};
use super::{BLOCK, SpreadSettings, block_count};
use crate::digest::{Digest, Hasher};
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::hint;
use crate::image::manifest::{Descriptor, ManifestDocument};
use crate::image::source::{BlobReader, FetchedManifest, ImageSource};
use crate::image::store::{ImageRecord, Store};

/// Time for the ranks to hear of a failure, or of the end.
const FAREWELL: Duration = Duration::from_secs(10);
/// Largest number of ranks that a message names.
const MOST_NAMED: usize = 20;

/// Parts of rank 0 that its threads share.
#[derive(Clone, Debug)]
struct SharedImage {
    ledger: Arc<Ledger>,
    blobs: Arc<SharedBlobs>,
}

/// Source of rank 0's pull: the registry, and all ranks get what is read from it.
pub struct SharingSource<'a> {
    inner: &'a dyn ImageSource,
    shared: SharedImage,
    top: Mutex<Option<Digest>>,
}

/// Rank 0 at work, for the pull.
#[derive(Debug)]
pub struct SpreadRoot {
    shared: SharedImage,
}

impl SpreadRoot {
    /// Shares all that is read from `inner`.
    pub fn share<'a>(&self, inner: &'a dyn ImageSource) -> SharingSource<'a> {
        SharingSource { inner, shared: self.shared.clone(), top: Mutex::new(None) }
    }

    /// Shares all blobs of a pulled image that were not read from the registry.
    pub fn add_stored(&self, image: &ImageRecord) -> Result<()> {
        self.shared.add_stored(image)
    }

    /// Shares a file, which is read once before: from now on the other ranks fetch it. `reference`: name of the image in
    /// the file. Errors: unreadable; too large.
    pub fn share_file(&self, reference: &str, file: File) -> Result<()> {
        let SharedImage { ledger, blobs } = &self.shared;
        let size = file.metadata().context(|| "cannot look at the file")?.len();
        let content = FileBlocks::read(&file, size)?;
        let digest = &content.digest;
        blobs.add_file(digest, file, size);
        ledger.add_blob(digest, size)?;
        ledger.add_blocks(digest, 0, &content.blocks)?;
        let manifest = file_manifest(digest, size);
        let top = Digest::of(&manifest.bytes);
        ledger.add_manifest(top.clone(), manifest)?;
        ledger.set_image(SpreadImage { reference: reference.to_owned(), top })
    }
}

/// Runs rank 0: `pull` pulls through [`SpreadRoot::share`] and [`SpreadRoot::add_stored`], or makes a file for
/// [`SpreadRoot::share_file`]; then the others are served until all are done or gone. Errors: those of the pull; ranks
/// that never came.
pub fn run_root<T>(
    settings: &SpreadSettings,
    store: &Store,
    pull: impl FnOnce(&SpreadRoot) -> Result<T>,
) -> Result<T> {
    let arrival = Instant::now() + settings.tempo.arrival;
    let (ledger, blobs) = (Arc::new(Ledger::default()), Arc::new(SharedBlobs::new(store)));
    let desk = RootDesk {
        members: Members::new(settings.shape.ranks),
        shape: settings.shape.clone(),
        image: settings.image.clone(),
    };
    let server = SpreadServer::new(settings, &ledger, &blobs, Some(desk));
    server.listen(settings.root_listen()).hint(|| hint::SPREAD_ADDRESS)?;
    let root = SpreadRoot { shared: SharedImage { ledger: ledger.clone(), blobs } };
    let result = match pull(&root) {
        Ok(image) => wait_for_ranks(&server, arrival).map(|()| image),
        Err(error) => {
            let soon = Instant::now() + FAREWELL;
            ledger.set_end(SpreadEnd::Failed(error.to_string()));
            // A rank that comes a moment later would wait in vain.
            if let Some(desk) = server.desk() {
                desk.members.wait(arrival.min(soon));
            }
            Err(error)
        }
    };
    ledger.set_end(SpreadEnd::Finished);
    let deadline = Instant::now() + FAREWELL;
    while server.informs_any() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    server.stop();
    result
}

/// Waits until all ranks are done or gone. Errors: ranks that never came.
fn wait_for_ranks(server: &SpreadServer, arrival: Instant) -> Result<()> {
    let Some(desk) = server.desk() else { return Ok(()) };
    let missing = desk.members.wait(arrival);
    let failures = desk.members.failures();
    for (rank, reason) in failures.iter().take(MOST_NAMED) {
        log::warn!("rank {rank} does not have the image: {reason}");
    }
    if failures.len() > MOST_NAMED {
        log::warn!("{} ranks do not have the image", failures.len());
    }
    if missing.is_empty() {
        return Ok(());
    }
    let named: Vec<String> = missing.iter().take(MOST_NAMED).map(u32::to_string).collect();
    let more = match missing.len().saturating_sub(MOST_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let error = format!("ranks that never came: {}{more}", named.join(", "));
    Err(Error::new(error).hint(hint::SPREAD_MISSING))
}

impl SharingSource<'_> {
    /// Announces the image, whose manifest is accepted: from now on the other ranks fetch it.
    pub fn announce(&self, reference: &str, manifest: &Digest) -> Result<()> {
        let top = self.top.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(top) = top else { fail!("no manifest was read") };
        let image = SpreadImage { reference: reference.to_owned(), top };
        self.shared.ledger.set_image(image)?;
        let Some(found) = self.shared.ledger.manifest(manifest) else { return Ok(()) };
        let document = ManifestDocument::parse(&found.bytes, found.media_type.as_deref())?;
        let ManifestDocument::Manifest(manifest) = document else { return Ok(()) };
        let all: Vec<Digest> = std::iter::once(&manifest.config)
            .chain(&manifest.layers)
            .map(|descriptor| descriptor.digest.clone())
            .collect();
        let shared = self.shared.clone();
        // Blobs that the store has already are not read from the registry.
        let share = move || {
            for digest in &all {
                if let Err(error) = shared.add_blob_of_store(digest) {
                    log::debug!("{error}");
                }
            }
        };
        spawn(share).context(|| "cannot start a thread")
    }
}

impl ImageSource for SharingSource<'_> {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    fn manifest(&self, digest: Option<&Digest>) -> Result<FetchedManifest> {
        let fetched = self.inner.manifest(digest)?;
        let found = digest.cloned().unwrap_or_else(|| Digest::of(&fetched.bytes));
        let ledger = &self.shared.ledger;
        ledger.add_manifest(Digest::of(&fetched.bytes), fetched.clone())?;
        self.top.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(found);
        Ok(fetched)
    }

    fn blob(&self, descriptor: &Descriptor, from: u64) -> Result<BlobReader> {
        let inner = self.inner.blob(descriptor, from)?;
        let (digest, size) = (&descriptor.digest, descriptor.size);
        self.shared.ledger.add_blob(digest, size)?;
        let shared = self.shared.blobs.add_download(digest, size, 0)?;
        let mut reader = RootReader {
            inner,
            shared,
            ledger: self.shared.ledger.clone(),
            digest: digest.clone(),
            size,
            at: 0,
            hash: ring::digest::Context::new(&ring::digest::SHA256),
            new: Vec::new(),
            published: 0,
        };
        reader.skip(from)?;
        Ok(Box::new(reader))
    }

    fn size(&self, digest: &Digest) -> Result<u64> {
        self.inner.size(digest)
    }

    fn has_published_manifest(&self) -> bool {
        self.inner.has_published_manifest()
    }
}

impl SharedImage {
    /// Adds all blobs of the image that were not read from the registry.
    fn add_stored(&self, image: &ImageRecord) -> Result<()> {
        let layers = image.layers.iter().map(|layer| &layer.blob);
        for digest in std::iter::once(&image.config).chain(layers) {
            if !self.ledger.is_whole(digest) {
                self.add_blob_of_store(digest)?;
            }
        }
        Ok(())
    }

    /// Adds a blob, if the store has it. Errors: it is damaged.
    fn add_blob_of_store(&self, digest: &Digest) -> Result<()> {
        let Some(held) = self.blobs.store().blob(digest)? else { return Ok(()) };
        let size = held.file.metadata().context(|| "cannot look at a blob")?.len();
        self.ledger.add_blob(digest, size)?;
        let Some(shared) = self.blobs.find(digest, size)? else { return Ok(()) };
        let mut hasher = Hasher::new(digest.algorithm());
        for block in 0..block_count(size) {
            let bytes = shared.read(block)?;
            hasher.update(&bytes);
            self.ledger.add_blocks(digest, block, &[block_digest(&bytes)])?;
        }
        if hasher.finish() != *digest {
            let error = Error::new(format!("blob {digest} of the store is damaged"));
            return Err(error.hint(hint::REPAIR_AND_PULL));
        }
        Ok(())
    }
}

/// Reader of a blob from the registry, which publishes the blocks that the download has written.
struct RootReader {
    inner: BlobReader,
    shared: Arc<SharedBlob>,
    ledger: Arc<Ledger>,
    digest: Digest,
    size: u64,
    /// Number of bytes read.
    at: u64,
    /// Hash of the current block.
    hash: ring::digest::Context,
    /// Digests of blocks that are read, and not published.
    new: Vec<BlockDigest>,
    /// Number of blocks published.
    published: u64,
}

impl RootReader {
    /// Hashes the first `from` bytes, which an earlier pull left in the file.
    fn skip(&mut self, from: u64) -> Result<()> {
        while self.at < from {
            let block = self.shared.read_part(self.at / BLOCK, from)?;
            if block.is_empty() {
                fail!("the download breaks off");
            }
            self.add(&block);
            self.publish()?;
        }
        Ok(())
    }

    /// Adds bytes of one block.
    fn add(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.at += bytes.len() as u64;
        if self.at.is_multiple_of(BLOCK) || self.at == self.size {
            let new = ring::digest::Context::new(&ring::digest::SHA256);
            let done = std::mem::replace(&mut self.hash, new).finish();
            let mut digest = [0; 32];
            digest.iter_mut().zip(done.as_ref()).for_each(|(to, from)| *to = *from);
            self.new.push(digest);
        }
    }

    /// Publishes the blocks that are written.
    fn publish(&mut self) -> Result<()> {
        if self.new.is_empty() {
            return Ok(());
        }
        let end = self.published + self.new.len() as u64;
        self.shared.set_ready(end);
        self.ledger.add_blocks(&self.digest, self.published, &self.new)?;
        self.published = end;
        self.new.clear();
        Ok(())
    }
}

impl Read for RootReader {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        // The download writes what it has read before it reads on.
        self.publish().map_err(io::Error::other)?;
        let left = usize::try_from(BLOCK - self.at % BLOCK).unwrap_or(usize::MAX);
        let most = left.min(room.len());
        let room = room.get_mut(..most).unwrap_or_default();
        let length = self.inner.read(room)?;
        if self.at < self.size {
            self.add(room.get(..length).unwrap_or_default());
        }
        Ok(length)
    }
}
