//! Connection between two ranks: mutual proof of the token, then frames.
//!
//! ```text
//!  server --> MAGIC, nonce S
//!  client --> purpose, nonce C, HMAC(token, "client" purpose S C)
//!  server --> HMAC(token, "server" purpose S C)                   then frames in both directions
//! ```
//!
//! Frames of a control connection end with HMAC(key, number of the frame, frame). The key is derived from the token and
//! both nonces, one for each direction: no frame can be changed, repeated or moved. HMAC is HMAC-SHA-256 (RFC 2104).

use std::fmt;
use std::io::{ErrorKind as IoKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use ring::hmac;

use super::frame::{HEADER, SpreadFrame, limit};
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::hint;

/// First bytes of a server: protocol and version.
const MAGIC: [u8; 16] = *b"usnea-spread-1\r\n";
/// Longest time for the proofs.
const PROOF_LIMIT: Duration = Duration::from_secs(5);
/// Longest time to send one frame.
const SEND_LIMIT: Duration = Duration::from_secs(30);
/// Bytes of a nonce, and of an HMAC.
const LENGTH: usize = 32;
/// Shortest token in bytes.
const SHORTEST: usize = 16;

/// Secret that all ranks of a job share. `Debug` hides it.
#[derive(Clone)]
pub struct SpreadToken(hmac::Key);

impl SpreadToken {
    /// Takes the token from its text. Errors: shorter than 16 bytes.
    pub fn new(text: &str) -> Result<Self> {
        if text.len() < SHORTEST {
            let error = format!("the token of the job has fewer than {SHORTEST} characters");
            return Err(Error::invalid(error).hint(hint::SPREAD_TOKEN));
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes())))
    }
}

impl fmt::Debug for SpreadToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SpreadToken(***)")
    }
}

/// Purpose of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelPurpose {
    /// Image, digests and addresses from rank 0.
    Control,
    /// Blocks of a blob.
    Data,
}

impl ChannelPurpose {
    fn byte(self) -> u8 {
        match self {
            Self::Control => 1,
            Self::Data => 2,
        }
    }

    fn of_byte(byte: u8) -> Option<Self> {
        [Self::Control, Self::Data].into_iter().find(|purpose| purpose.byte() == byte)
    }
}

/// Both nonces and the purpose: the input of all proofs.
struct Transcript(Vec<u8>);

impl Transcript {
    fn new(purpose: ChannelPurpose, server: &[u8], client: &[u8]) -> Self {
        Self([&[purpose.byte()], server, client].concat())
    }

    fn labelled(&self, label: &str) -> Vec<u8> {
        [label.as_bytes(), &self.0].concat()
    }

    fn proof(&self, token: &SpreadToken, label: &str) -> hmac::Tag {
        hmac::sign(&token.0, &self.labelled(label))
    }

    /// Compares in constant time.
    fn check(&self, token: &SpreadToken, label: &str, proof: &[u8]) -> Result<()> {
        hmac::verify(&token.0, &self.labelled(label), proof)
            .map_err(|_| Error::refused("the other side has another token"))
    }

    /// The MACs of frames from the side `label`; `None` for data.
    fn seal(&self, token: &SpreadToken, purpose: ChannelPurpose, label: &str) -> Option<FrameSeal> {
        let key = self.proof(token, &format!("{label} frames"));
        let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_ref());
        (purpose == ChannelPurpose::Control).then_some(FrameSeal { key, count: 0 })
    }
}

/// MACs of the frames in one direction.
#[derive(Debug)]
struct FrameSeal {
    key: hmac::Key,
    count: u64,
}

impl FrameSeal {
    fn input(&mut self, frame: &[u8]) -> Vec<u8> {
        let input = [&self.count.to_be_bytes()[..], frame].concat();
        self.count += 1;
        input
    }
}

/// Sending side of a connection.
#[derive(Debug)]
pub struct FrameSender {
    stream: TcpStream,
    seal: Option<FrameSeal>,
}

/// Receiving side of a connection.
#[derive(Debug)]
pub struct FrameReceiver {
    stream: TcpStream,
    seal: Option<FrameSeal>,
    buffer: Vec<u8>,
}

/// Connection whose ends have proved the token.
#[derive(Debug)]
pub struct SpreadChannel {
    /// Sending side.
    pub sender: FrameSender,
    /// Receiving side.
    pub receiver: FrameReceiver,
}

/// Proves and checks the token as the side that connected. Errors: another token, another protocol, no answer.
pub fn connect(
    stream: TcpStream,
    token: &SpreadToken,
    purpose: ChannelPurpose,
) -> Result<SpreadChannel> {
    let deadline = Instant::now() + PROOF_LIMIT;
    let hello: [u8; MAGIC.len() + LENGTH] = read_by(&stream, deadline)?;
    let (magic, server) = hello.split_at(MAGIC.len());
    if magic != MAGIC {
        fail!("the other side speaks another protocol");
    }
    let client = nonce()?;
    let transcript = Transcript::new(purpose, server, &client);
    let proof = transcript.proof(token, "client");
    send_all(&stream, &[&[purpose.byte()], &client[..], proof.as_ref()].concat())?;
    // A server that rejects the proof closes the connection.
    let answer: [u8; LENGTH] = read_by(&stream, deadline)
        .map_err(|_| Error::refused("the other side does not accept the token"))?;
    transcript.check(token, "server", &answer)?;
    SpreadChannel::new(stream, |label| transcript.seal(token, purpose, label), ["client", "server"])
}

/// Proves and checks the token as the side that listens. Errors: another token, another protocol, no proof in time.
pub fn accept(stream: TcpStream, token: &SpreadToken) -> Result<(ChannelPurpose, SpreadChannel)> {
    let deadline = Instant::now() + PROOF_LIMIT;
    let server = nonce()?;
    send_all(&stream, &[&MAGIC[..], &server].concat())?;
    let answer: [u8; 1 + 2 * LENGTH] = read_by(&stream, deadline)?;
    let [purpose, rest @ ..] = &answer;
    let (client, proof) = rest.split_at(LENGTH);
    let Some(purpose) = ChannelPurpose::of_byte(*purpose) else {
        fail!("the other side speaks another protocol");
    };
    let transcript = Transcript::new(purpose, &server, client);
    transcript.check(token, "client", proof)?;
    send_all(&stream, transcript.proof(token, "server").as_ref())?;
    let seal = |label: &str| transcript.seal(token, purpose, label);
    Ok((purpose, SpreadChannel::new(stream, seal, ["server", "client"])?))
}

impl SpreadChannel {
    /// `labels`: those of this side and of the other one.
    fn new(
        stream: TcpStream,
        seal: impl Fn(&str) -> Option<FrameSeal>,
        labels: [&str; 2],
    ) -> Result<Self> {
        let [ours, theirs] = labels.map(seal);
        stream.set_nodelay(true).context(|| "cannot set up a connection")?;
        let other = stream.try_clone().context(|| "cannot set up a connection")?;
        let receiver = FrameReceiver { stream: other, seal: theirs, buffer: Vec::new() };
        Ok(Self { sender: FrameSender { stream, seal: ours }, receiver })
    }
}

impl FrameSender {
    /// Sends a frame. Errors: the other side is gone or takes nothing.
    pub fn send(&mut self, frame: &SpreadFrame) -> Result<()> {
        let mut bytes = frame.encode();
        if let Some(seal) = &mut self.seal {
            let input = seal.input(&bytes);
            bytes.extend(hmac::sign(&seal.key, &input).as_ref());
        }
        send_all(&self.stream, &bytes)
    }

    /// Ends the sending direction.
    pub fn close(&self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
    }
}

impl FrameReceiver {
    /// Receives a frame, within `wait`. `None`: not yet. Errors: the other side is gone; not a frame; a wrong MAC.
    pub fn receive(&mut self, wait: Duration) -> Result<Option<SpreadFrame>> {
        let deadline = Instant::now() + wait;
        let mut room = vec![0; 256 * 1024];
        loop {
            if let Some(frame) = self.take_frame()? {
                return Ok(Some(frame));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            // Zero would mean no limit.
            let left = left.max(Duration::from_millis(1));
            self.stream.set_read_timeout(Some(left)).context(|| "cannot read")?;
            match self.stream.read(&mut room) {
                Ok(0) => fail!("the other side has closed the connection"),
                Ok(length) => self.buffer.extend(room.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == IoKind::Interrupted => {}
                Err(error) if matches!(error.kind(), IoKind::WouldBlock | IoKind::TimedOut) => {
                    return Ok(None);
                }
                Err(error) => return Err(Error::from(error)),
            }
        }
    }

    /// Takes a frame from the buffer, if a whole one is there.
    fn take_frame(&mut self) -> Result<Option<SpreadFrame>> {
        let Some((&[kind, a, b, c, d], _)) = self.buffer.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if limit(kind).is_none_or(|most| length > most) {
            fail!("the other side sent no frame");
        }
        let end = HEADER + length;
        let whole = end + if self.seal.is_some() { LENGTH } else { 0 };
        let Some((frame, mac)) = self.buffer.get(..whole).map(|whole| whole.split_at(end)) else {
            return Ok(None);
        };
        if let Some(seal) = &mut self.seal {
            let input = seal.input(frame);
            if hmac::verify(&seal.key, &input, mac).is_err() {
                fail!("a frame was changed on its way");
            }
        }
        let content = frame.get(HEADER..).unwrap_or_default();
        let decoded = SpreadFrame::decode(kind, content);
        self.buffer.drain(..whole);
        decoded.map(Some).ok_or_else(|| Error::new("the other side sent no frame"))
    }
}

fn nonce() -> Result<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    let filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    match filled.context(|| "cannot get random bytes")? {
        LENGTH => Ok(bytes),
        _ => fail!("cannot get random bytes"),
    }
}

fn send_all(mut stream: &TcpStream, bytes: &[u8]) -> Result<()> {
    stream.set_write_timeout(Some(SEND_LIMIT)).context(|| "cannot send")?;
    stream.write_all(bytes).context(|| "cannot send")
}

/// Reads exactly N bytes until `deadline`.
fn read_by<const N: usize>(mut stream: &TcpStream, deadline: Instant) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut have = 0;
    while let Some(room) = bytes.get_mut(have..).filter(|room| !room.is_empty()) {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            fail!("the other side does not answer");
        }
        stream.set_read_timeout(Some(left)).context(|| "cannot read")?;
        match stream.read(room) {
            Ok(0) => fail!("the other side has closed the connection"),
            Ok(length) => have += length,
            Err(error) if error.kind() == IoKind::Interrupted => {}
            Err(error) if matches!(error.kind(), IoKind::WouldBlock | IoKind::TimedOut) => {}
            Err(error) => return Err(Error::from(error)),
        }
    }
    Ok(bytes)
}
