//! Source of a pull: other ranks. Each block is compared with its digest from rank 0.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::channel::{self, ChannelPurpose, SpreadChannel};
use super::frame::{BlockDigest, SpreadFrame};
use super::ledger::{Ledger, SpreadEnd, SpreadImage, error_of};
use super::serve::PULSE;
use super::shared_blob::{SharedBlob, SharedBlobs, block_digest};
use super::{BLOCK, SpreadTempo, SpreadToken, block_count};
use crate::digest::Digest;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::image::manifest::Descriptor;
use crate::image::source::{BlobReader, FetchedManifest, ImageSource};

/// Longest time to connect to a rank.
const CONNECT: Duration = Duration::from_secs(3);
/// Pause between two rounds through all ranks.
const ROUND_PAUSE: Duration = Duration::from_millis(300);
/// Longest wait for a block from one rank once rank 0 is gone.
const ORPHAN_PATIENCE: Duration = Duration::from_secs(5);
/// Number of times that each rank is asked for a block in vain once rank 0 is gone.
const MOST_ROUNDS: usize = 2;

/// Access to other ranks.
#[derive(Debug)]
pub struct PeerFetch {
    /// Token of the job.
    pub token: SpreadToken,
    /// Time limits.
    pub tempo: SpreadTempo,
    /// Address of rank 0.
    pub root: SocketAddr,
    /// Ranks to ask, in this order.
    pub candidates: Vec<u32>,
    /// Knowledge from rank 0.
    pub ledger: Arc<Ledger>,
    /// Blobs that this rank serves.
    pub blobs: Arc<SharedBlobs>,
    /// Ranks that sent a wrong block.
    pub banned: Mutex<BTreeSet<u32>>,
}

impl PeerFetch {
    fn is_banned(&self, rank: u32) -> bool {
        self.banned.lock().unwrap_or_else(PoisonError::into_inner).contains(&rank)
    }

    fn ban(&self, rank: u32) {
        log::warn!("rank {rank} sent a wrong block, and is not asked again");
        self.banned.lock().unwrap_or_else(PoisonError::into_inner).insert(rank);
    }

    /// Connects to a rank, and requests the blob from this block on.
    fn request(&self, address: SocketAddr, digest: &Digest, first: u64) -> Result<SpreadChannel> {
        let stream = TcpStream::connect_timeout(&address, CONNECT)?;
        let mut channel = channel::connect(stream, &self.token, ChannelPurpose::Data)?;
        let first = u32::try_from(first).map_err(|_| Error::new("the blob is too large"))?;
        channel.sender.send(&SpreadFrame::Request { digest: digest.clone(), first })?;
        Ok(channel)
    }
}

/// The image that rank 0 pulls, from other ranks.
#[derive(Debug)]
pub struct PeerSource {
    fetch: Arc<PeerFetch>,
    image: SpreadImage,
}

impl PeerSource {
    /// Reads this image.
    pub fn new(fetch: PeerFetch, image: SpreadImage) -> Self {
        Self { fetch: Arc::new(fetch), image }
    }

    /// Serves a file that has this digest, so that the ranks below need not wait for a download.
    pub fn share_file(&self, digest: &Digest, file: File, size: u64) {
        self.fetch.blobs.add_file(digest, file, size);
    }
}

impl ImageSource for PeerSource {
    fn describe(&self) -> String {
        format!("{} from the ranks of the job", self.image.reference)
    }

    fn manifest(&self, digest: Option<&Digest>) -> Result<FetchedManifest> {
        let digest = digest.unwrap_or(&self.image.top);
        self.fetch.ledger.manifest(digest).ok_or_else(|| {
            Error::new(format!("manifest {digest}: rank 0 pulls the image of another platform"))
                .hint("let all ranks ask for the same platform")
        })
    }

    fn blob(&self, descriptor: &Descriptor, from: u64) -> Result<BlobReader> {
        let digest = &descriptor.digest;
        // The connection to rank 0 has its own limit of silence.
        let size = loop {
            match self.fetch.ledger.wait_size(digest, self.fetch.tempo.arrival) {
                Ok(size) => break size,
                Err(error) if self.fetch.ledger.end().is_some() => return Err(error),
                Err(_) => {}
            }
        };
        let shared = self.fetch.blobs.add_download(digest, size, from)?;
        Ok(Box::new(PeerReader {
            fetch: self.fetch.clone(),
            digest: digest.clone(),
            count: block_count(size),
            next: from / BLOCK,
            skip: usize::try_from(from % BLOCK).unwrap_or_default(),
            block: Vec::new(),
            at: 0,
            shared,
            connection: None,
            position: 0,
            failures: 0,
        }))
    }

    fn size(&self, digest: &Digest) -> Result<u64> {
        self.fetch.ledger.wait_size(digest, self.fetch.tempo.arrival)
    }
}

/// Connection to a rank that sends blocks.
#[derive(Debug)]
struct BlockStream {
    rank: u32,
    channel: SpreadChannel,
    /// Time of the last frame.
    heard: Instant,
    /// Time of the last block, or of the request.
    moved: Instant,
}

/// Reader of a blob: blocks, each verified.
#[derive(Debug)]
struct PeerReader {
    fetch: Arc<PeerFetch>,
    digest: Digest,
    /// Number of blocks.
    count: u64,
    /// Number of the next block.
    next: u64,
    /// Bytes of the next block that are not wanted.
    skip: usize,
    block: Vec<u8>,
    at: usize,
    shared: Arc<SharedBlob>,
    connection: Option<BlockStream>,
    /// Index of the rank to ask.
    position: usize,
    /// Number of ranks that were given up since the last block and the end of rank 0.
    failures: usize,
}

impl Read for PeerReader {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.block.len() {
            // The download writes what it has read before it reads on: the file has all blocks so far.
            self.shared.set_ready(self.next);
            if self.next >= self.count {
                return Ok(0);
            }
            self.block = self.fetch_block().map_err(io::Error::other)?;
            self.at = std::mem::take(&mut self.skip);
            self.next += 1;
        }
        let rest = self.block.get(self.at..).unwrap_or_default();
        let length = rest.len().min(room.len());
        room.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        self.at += length;
        Ok(length)
    }
}

impl PeerReader {
    /// Fetches the next block. Errors: no rank sends it.
    fn fetch_block(&mut self) -> Result<Vec<u8>> {
        let expected = loop {
            let known = self.fetch.ledger.wait_block(&self.digest, self.next, PULSE)?;
            if let Some(known) = known {
                break known;
            }
        };
        let began = Instant::now();
        if let Some(stream) = &mut self.connection {
            (stream.heard, stream.moved) = (began, began);
        }
        while began.elapsed() < self.fetch.tempo.give_up {
            match self.connection.take() {
                None => self.connect()?,
                Some(stream) => {
                    if let Some(block) = self.receive(stream, &expected) {
                        return Ok(block);
                    }
                }
            }
        }
        Err(Error::new("no rank sends the next block").of_kind(ErrorKind::Unreachable))
    }

    /// Receives a block. `None`: not yet; the connection is kept or given up.
    fn receive(&mut self, mut stream: BlockStream, expected: &BlockDigest) -> Option<Vec<u8>> {
        let (rank, tempo) = (stream.rank, self.fetch.tempo);
        let patience = match self.fetch.ledger.end() {
            None => tempo.patience,
            Some(_) => tempo.patience.min(ORPHAN_PATIENCE),
        };
        let reason = match stream.channel.receiver.receive(PULSE) {
            Ok(Some(SpreadFrame::Block(block))) if block_digest(&block) == *expected => {
                self.connection = Some(stream);
                self.failures = 0;
                return Some(block);
            }
            Ok(Some(SpreadFrame::Ping)) => {
                stream.heard = Instant::now();
                (stream.moved.elapsed() > patience).then(|| "no block comes".to_owned())
            }
            Ok(None) => (stream.heard.elapsed() > tempo.silence.min(patience))
                .then(|| "nothing comes".to_owned()),
            Ok(Some(_)) => {
                self.fetch.ban(rank);
                Some("a wrong block came".to_owned())
            }
            Err(error) => Some(error.to_string()),
        };
        match reason {
            None => self.connection = Some(stream),
            Some(reason) => {
                log::info!("rank {rank}, blob {}: {reason}", self.digest.short());
                self.give_up_rank();
            }
        }
        None
    }

    /// Connects to the next rank that answers; without one, waits a moment. Errors: there is none left.
    fn connect(&mut self) -> Result<()> {
        let fetch = self.fetch.clone();
        // Ranks that are left may all lack the block, and wait for each other.
        if let Some(end @ (SpreadEnd::Lost(_) | SpreadEnd::Failed(_))) = fetch.ledger.end()
            && self.failures > MOST_ROUNDS * fetch.candidates.len()
        {
            return Err(error_of(&end)).context(|| "no other rank has the next block");
        }
        for _ in 0..fetch.candidates.len() {
            let index = self.position % fetch.candidates.len().max(1);
            let Some(&rank) = fetch.candidates.get(index) else { break };
            let grace = if self.position == 0 { fetch.tempo.grace } else { Duration::ZERO };
            let address = match rank {
                0 => Some(fetch.root),
                _ => fetch.ledger.wait_peer(rank, grace),
            };
            let address = address.filter(|_| !fetch.is_banned(rank));
            let request = |address| fetch.request(address, &self.digest, self.next);
            match address.map(request) {
                Some(Ok(channel)) => {
                    let now = Instant::now();
                    self.connection = Some(BlockStream { rank, channel, heard: now, moved: now });
                    return Ok(());
                }
                Some(Err(error)) => log::info!("rank {rank}: {error}"),
                None => {}
            }
            self.give_up_rank();
        }
        if fetch.candidates.iter().all(|rank| fetch.is_banned(*rank)) {
            return Err(Error::new("all ranks sent wrong blocks"));
        }
        std::thread::sleep(ROUND_PAUSE);
        Ok(())
    }

    fn give_up_rank(&mut self) {
        self.position += 1;
        self.failures += usize::from(self.fetch.ledger.end().is_some());
    }
}
