//! Ranks other than 0: connected to rank 0 for the ledger, to other ranks for blocks.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::channel::{self, ChannelPurpose, FrameReceiver, FrameSender, SpreadChannel};
use super::fetch::{PeerFetch, PeerSource};
use super::frame::SpreadFrame;
use super::ledger::{Ledger, SpreadEnd, SpreadImage};
use super::serve::{PULSE, SpreadServer, spawn};
use super::shared_blob::SharedBlobs;
use super::{SpreadSettings, SpreadTempo};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::fail;
use crate::hint;
use crate::image::registry_client::look_up;
use crate::image::store::Store;

/// Pause between two attempts to reach rank 0.
const PAUSE: Duration = Duration::from_millis(200);
/// Longest time for one attempt.
const CONNECT: Duration = Duration::from_secs(5);

/// Connection to rank 0, and both of its addresses.
struct RootConnection {
    channel: SpreadChannel,
    local: SocketAddr,
    root: SocketAddr,
}

/// Runs a rank other than 0: `pull` pulls from the given source; then others are served until rank 0 ends the spread.
/// Errors: those of the pull; no rank 0.
pub fn run_member<T>(
    settings: &SpreadSettings,
    store: &Store,
    pull: impl FnOnce(&PeerSource, &SpreadImage) -> Result<T>,
) -> Result<T> {
    let RootConnection { channel, local, root } = connect(settings)?;
    let SpreadChannel { mut sender, receiver } = channel;
    let (ledger, blobs) = (Arc::new(Ledger::default()), Arc::new(SharedBlobs::new(store)));
    let server = SpreadServer::new(settings, &ledger, &blobs, None);
    let address = settings.listen.unwrap_or_else(|| local.ip());
    let address = server.listen(SocketAddr::new(address, 0))?;
    let (shape, image) = (&settings.shape, settings.image.clone());
    let (rank, ranks, port) = (shape.rank, shape.ranks, address.port());
    sender.send(&SpreadFrame::Hello { rank, ranks, port, image })?;
    let sender = Arc::new(Mutex::new(sender));
    keep_in_touch(settings.tempo, receiver, &ledger, &sender)?;
    let fetch = PeerFetch {
        token: settings.token.clone(),
        tempo: settings.tempo,
        root,
        candidates: shape.candidates(),
        ledger: ledger.clone(),
        blobs,
        banned: Mutex::new(BTreeSet::new()),
    };
    let result = wait_image(&ledger).and_then(|image| {
        let source = PeerSource::new(fetch, image.clone());
        pull(&source, &image)
    });
    let last = match &result {
        Ok(_) => SpreadFrame::Done,
        Err(error) => SpreadFrame::Failed(error.to_string()),
    };
    let told = sender.lock().unwrap_or_else(PoisonError::into_inner).send(&last);
    if result.is_ok() {
        if let Err(error) = told {
            ledger.set_end(SpreadEnd::Lost(error.to_string()));
        }
        serve_on(&server, &ledger, settings.tempo);
    }
    server.stop();
    result
}

/// Connects to rank 0, which may start later.
fn connect(settings: &SpreadSettings) -> Result<RootConnection> {
    let deadline = Instant::now() + settings.tempo.arrival;
    let (host, port) = (&settings.host, settings.port);
    loop {
        let error = match connect_once(settings) {
            Ok(connection) => return Ok(connection),
            Err(error) => error,
        };
        if error.kind() == ErrorKind::Refused {
            let error = error.within(format!("rank 0 at {host}, port {port}"));
            return Err(error.hint(hint::SPREAD_TOKEN));
        }
        if Instant::now() >= deadline {
            let waited = settings.tempo.arrival.as_secs();
            let error = error.without_hint().of_kind(ErrorKind::Unreachable);
            let error = error
                .within(format!("rank 0 at {host}, port {port}, did not answer within {waited} s"));
            return Err(error.hint(hint::SPREAD_ADDRESS));
        }
        log::debug!("rank 0: {error}");
        std::thread::sleep(PAUSE);
    }
}

fn connect_once(settings: &SpreadSettings) -> Result<RootConnection> {
    let mut failure = None;
    for ip in look_up(&settings.host)? {
        let root = SocketAddr::new(ip, settings.port);
        let connection = TcpStream::connect_timeout(&root, CONNECT).map_err(Error::from);
        let connection = connection.and_then(|stream| {
            let local = stream.local_addr().context(|| "cannot set up a connection")?;
            let channel = channel::connect(stream, &settings.token, ChannelPurpose::Control)?;
            Ok(RootConnection { channel, local, root })
        });
        match connection {
            Ok(connection) => return Ok(connection),
            Err(error) if error.kind() == ErrorKind::Refused => return Err(error),
            Err(error) => failure = Some(error),
        }
    }
    Err(failure.unwrap_or_else(|| Error::new("it has no address")))
}

/// Starts the threads that read the ledger and send signs of life.
fn keep_in_touch(
    tempo: SpreadTempo,
    mut receiver: FrameReceiver,
    ledger: &Arc<Ledger>,
    sender: &Arc<Mutex<FrameSender>>,
) -> Result<()> {
    let known = ledger.clone();
    let read = move || {
        let lost = read_ledger(&mut receiver, &known, tempo);
        if let Err(error) = lost {
            known.set_end(SpreadEnd::Lost(error.to_string()));
        }
    };
    spawn(read).context(|| "cannot start a thread")?;
    let (ledger, sender) = (ledger.clone(), sender.clone());
    let pulse = move || {
        while ledger.end().is_none() {
            let sent =
                sender.lock().unwrap_or_else(PoisonError::into_inner).send(&SpreadFrame::Ping);
            if sent.is_err() {
                return;
            }
            std::thread::sleep(PULSE);
        }
    };
    spawn(pulse).context(|| "cannot start a thread")
}

fn read_ledger(receiver: &mut FrameReceiver, ledger: &Ledger, tempo: SpreadTempo) -> Result<()> {
    let mut heard = Instant::now();
    while ledger.end().is_none() {
        match receiver.receive(PULSE)? {
            Some(frame) => {
                ledger.enter(frame)?;
                heard = Instant::now();
            }
            None if heard.elapsed() > tempo.silence => fail!("it is silent"),
            None => {}
        }
    }
    Ok(())
}

fn wait_image(ledger: &Ledger) -> Result<SpreadImage> {
    loop {
        if let Some(image) = ledger.wait_image(PULSE)? {
            return Ok(image);
        }
    }
}

/// Serves others until rank 0 ends the spread. Without rank 0: until nobody asks any more.
fn serve_on(server: &SpreadServer, ledger: &Ledger, tempo: SpreadTempo) {
    loop {
        match ledger.wait_end(Duration::from_millis(100)) {
            None => {}
            Some(SpreadEnd::Finished) => return,
            Some(_) if server.is_idle_for(tempo.linger) => return,
            Some(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}
