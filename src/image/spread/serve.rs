//! Listener of a rank: serves blocks, and at rank 0 the ledger. A thread for each connection.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::channel::{self, ChannelPurpose, FrameReceiver, FrameSender, SpreadChannel};
use super::frame::SpreadFrame;
use super::ledger::{Ledger, LedgerCursor};
use super::members::{MemberState, Members};
use super::shared_blob::{SharedBlob, SharedBlobs, block_digest};
use super::{SpreadSettings, SpreadShape, SpreadTempo, SpreadToken, block_count};
use crate::digest::Digest;
use crate::error::{Context, Result};
use crate::fail;

/// Time between two signs of life.
pub const PULSE: Duration = Duration::from_secs(1);
/// Wait for the first frame of a connection, and for its end.
const PROMPT: Duration = Duration::from_secs(5);
/// Largest number of connections, whatever the number of ranks.
const MOST_CONNECTIONS: usize = 8192;
/// Stack of a thread in bytes.
const STACK: usize = 512 * 1024;

/// Records of rank 0 about the others.
#[derive(Debug)]
pub struct RootDesk {
    /// States of the ranks.
    pub members: Members,
    /// Shape of the tree.
    pub shape: SpreadShape,
    /// Image as the command names it.
    pub image: String,
}

/// Server of a rank.
#[derive(Debug)]
pub struct SpreadServer {
    token: SpreadToken,
    tempo: SpreadTempo,
    ledger: Arc<Ledger>,
    blobs: Arc<SharedBlobs>,
    desk: Option<RootDesk>,
    most: usize,
    open: AtomicUsize,
    /// Number of ranks that are informed.
    informed: AtomicUsize,
    stopped: AtomicBool,
    used: Mutex<Instant>,
}

impl SpreadServer {
    /// Creates the server; `desk` for rank 0 alone.
    pub fn new(
        settings: &SpreadSettings,
        ledger: &Arc<Ledger>,
        blobs: &Arc<SharedBlobs>,
        desk: Option<RootDesk>,
    ) -> Arc<Self> {
        let ranks = usize::try_from(settings.shape.ranks).unwrap_or(MOST_CONNECTIONS);
        Arc::new(Self {
            token: settings.token.clone(),
            tempo: settings.tempo,
            ledger: ledger.clone(),
            blobs: blobs.clone(),
            desk,
            most: ranks.saturating_mul(8).saturating_add(64).min(MOST_CONNECTIONS),
            open: AtomicUsize::new(0),
            informed: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
            used: Mutex::new(Instant::now()),
        })
    }

    /// The records of rank 0.
    pub fn desk(&self) -> Option<&RootDesk> {
        self.desk.as_ref()
    }

    /// Listens at `address`; returns the address with its port. Errors: the address is in use, or not of this machine.
    pub fn listen(self: &Arc<Self>, address: SocketAddr) -> Result<SocketAddr> {
        let listener = match TcpListener::bind(address) {
            // All addresses of a machine without IPv6.
            Err(error) if address.ip().is_unspecified() && address.is_ipv6() => {
                let ipv4 = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port());
                TcpListener::bind(ipv4).map_err(|_| error)
            }
            bound => bound,
        };
        let listener = listener.context(|| format!("cannot listen at {address}"))?;
        listener.set_nonblocking(true).context(|| "cannot listen")?;
        let bound = listener.local_addr().context(|| "cannot listen")?;
        let server = self.clone();
        spawn(move || server.run(&listener)).context(|| "cannot start a thread")?;
        Ok(bound)
    }

    /// Accepts connections until the stop.
    fn run(self: &Arc<Self>, listener: &TcpListener) {
        let wait = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        while !self.is_stopped() {
            let mut ready = [PollFd::new(listener, PollFlags::IN)];
            if poll(&mut ready, Some(&wait)).unwrap_or(0) == 0 {
                continue;
            }
            match listener.accept() {
                Ok((stream, peer)) => self.begin(stream, peer),
                // Out of descriptors, or a connection that was reset before it was accepted.
                Err(error) => {
                    log::debug!("accept: {error}");
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        }
    }

    /// Starts the thread of a connection. A connection too much is closed.
    fn begin(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        if self.open.fetch_add(1, Ordering::AcqRel) >= self.most {
            log::debug!("{peer}: too many connections");
            self.end();
            return;
        }
        let server = self.clone();
        let started = spawn(move || {
            let result = stream
                .set_nonblocking(false)
                .context(|| "cannot set up a connection")
                .and_then(|()| {
                    let (purpose, channel) = channel::accept(stream, &server.token)?;
                    server.serve(purpose, channel, peer.ip().to_canonical())
                });
            if let Err(error) = result {
                log::info!("connection from {peer}: {error}");
            }
            server.end();
        });
        if let Err(error) = started {
            log::debug!("{peer}: {error}");
            self.end();
        }
    }

    fn end(&self) {
        self.open.fetch_sub(1, Ordering::AcqRel);
        self.note_use();
    }

    fn note_use(&self) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Ends the listener, and the connections soon after.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
    }

    /// True if a rank is connected for the ledger.
    pub fn informs_any(&self) -> bool {
        self.informed.load(Ordering::Acquire) > 0
    }

    /// True if no connection is open and none was for `time`.
    pub fn is_idle_for(&self, time: Duration) -> bool {
        let used = *self.used.lock().unwrap_or_else(PoisonError::into_inner);
        self.open.load(Ordering::Acquire) == 0 && used.elapsed() >= time
    }

    fn serve(&self, purpose: ChannelPurpose, channel: SpreadChannel, peer: IpAddr) -> Result<()> {
        match (purpose, &self.desk) {
            (ChannelPurpose::Data, _) => self.serve_blob(channel),
            (ChannelPurpose::Control, Some(desk)) => self.serve_rank(channel, peer, desk),
            (ChannelPurpose::Control, None) => fail!("this is not rank 0"),
        }
    }

    /// Sends the blocks of a blob, each as soon as it is there.
    fn serve_blob(&self, channel: SpreadChannel) -> Result<()> {
        let SpreadChannel { mut sender, mut receiver } = channel;
        let Some(SpreadFrame::Request { digest, first }) = receiver.receive(PROMPT)? else {
            fail!("no request came");
        };
        let Some(shared) = self.find(&digest, &mut sender)? else { return Ok(()) };
        for block in u64::from(first)..block_count(shared.size()) {
            while !shared.wait_ready(block, PULSE) {
                if self.is_stopped() {
                    return Ok(());
                }
                sender.send(&SpreadFrame::Ping)?;
            }
            let bytes = shared.read(block)?;
            if shared.is_unchecked(block) {
                self.check(&digest, block, &bytes, &mut sender)?;
            }
            sender.send(&SpreadFrame::Block(bytes))?;
            self.note_use();
        }
        Ok(())
    }

    /// Waits for a blob of the image. `None`: the stop came first.
    fn find(&self, digest: &Digest, sender: &mut FrameSender) -> Result<Option<Arc<SharedBlob>>> {
        while !self.is_stopped() {
            // Other blobs of the store are nobody's business.
            if let Some(size) = self.ledger.size(digest) {
                if let Some(shared) = self.blobs.wait(digest, size, PULSE)? {
                    return Ok(Some(shared));
                }
            } else if self.ledger.wait_size(digest, PULSE).is_ok() {
                continue;
            }
            sender.send(&SpreadFrame::Ping)?;
        }
        Ok(None)
    }

    /// Compares a block from before this command with its digest.
    fn check(
        &self,
        digest: &Digest,
        block: u64,
        bytes: &[u8],
        sender: &mut FrameSender,
    ) -> Result<()> {
        loop {
            match self.ledger.wait_block(digest, block, PULSE)? {
                Some(known) if known == block_digest(bytes) => return Ok(()),
                Some(_) => fail!("blob {digest}: block {block} of the store is damaged"),
                None => sender.send(&SpreadFrame::Ping)?,
            }
        }
    }

    /// Sends the ledger to a rank, until the end of the spread or of the rank.
    fn serve_rank(&self, channel: SpreadChannel, peer: IpAddr, desk: &RootDesk) -> Result<()> {
        let SpreadChannel { mut sender, mut receiver } = channel;
        let hello = receiver.receive(PROMPT)?;
        let Some(SpreadFrame::Hello { rank, ranks, port, image }) = hello else {
            fail!("no rank said its number");
        };
        let refusal = if ranks != desk.shape.ranks {
            Some(format!("rank 0 counts {} ranks, rank {rank} counts {ranks}", desk.shape.ranks))
        } else if image != desk.image {
            Some(format!("rank 0 spreads {}, rank {rank} wants {image}", desk.image))
        } else if !desk.members.join(rank) {
            Some(format!("rank {rank} came before, or is not of this job"))
        } else {
            None
        };
        if let Some(refusal) = refusal {
            sender.send(&SpreadFrame::Failed(refusal))?;
            drain(&sender, &mut receiver);
            return Ok(());
        }
        self.ledger.add_peer(rank, SocketAddr::new(peer, port));
        self.informed.fetch_add(1, Ordering::AcqRel);
        let result = self.inform(&mut sender, &mut receiver, rank, desk);
        self.informed.fetch_sub(1, Ordering::AcqRel);
        desk.members.set(rank, MemberState::Gone);
        result
    }

    fn inform(
        &self,
        sender: &mut FrameSender,
        receiver: &mut FrameReceiver,
        rank: u32,
        desk: &RootDesk,
    ) -> Result<()> {
        let peers = SpreadShape { rank, ..desk.shape.clone() }.candidates();
        // News are sent in lots: each block for each rank would be a packet.
        let pause = Duration::from_micros(2000 + 100 * u64::from(desk.shape.ranks.min(1000)));
        let mut cursor = LedgerCursor::default();
        let (mut heard, mut sent) = (Instant::now(), Instant::now());
        loop {
            let frames = self.ledger.news(&mut cursor, &peers, Duration::from_millis(50));
            for frame in &frames {
                sender.send(frame)?;
            }
            if matches!(frames.last(), Some(SpreadFrame::Finish | SpreadFrame::Failed(_))) {
                drain(sender, receiver);
                return Ok(());
            }
            if sent.elapsed() >= PULSE {
                sender.send(&SpreadFrame::Ping)?;
                sent = Instant::now();
            }
            match receiver.receive(pause)? {
                Some(SpreadFrame::Ping) => heard = Instant::now(),
                Some(SpreadFrame::Done) => desk.members.set(rank, MemberState::Done),
                Some(SpreadFrame::Failed(text)) => {
                    desk.members.set(rank, MemberState::Failed(text));
                    return Ok(());
                }
                Some(_) => fail!("rank {rank} sent a frame of rank 0"),
                None if heard.elapsed() > self.tempo.silence => fail!("rank {rank} is silent"),
                None => {}
            }
        }
    }
}

/// Closes a connection after all that was sent has arrived: a close with unread input would discard it (tcp(7)).
fn drain(sender: &FrameSender, receiver: &mut FrameReceiver) {
    sender.close();
    let deadline = Instant::now() + PROMPT;
    while Instant::now() < deadline && receiver.receive(PULSE).is_ok() {}
}

/// Starts a thread with a small stack, which nobody waits for.
pub fn spawn(work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    std::thread::Builder::new().stack_size(STACK).spawn(work).map(drop)
}
