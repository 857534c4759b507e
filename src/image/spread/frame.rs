//! Frames of a spread: a byte for the kind, the length as four bytes (big endian), the content.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::BLOCK;
use crate::digest::Digest;
use crate::image::manifest::LARGEST;

/// SHA-256 of a block.
pub type BlockDigest = [u8; 32];

/// Bytes before the content of a frame.
pub const HEADER: usize = 5;
/// Largest number of digests in a frame.
pub const MOST_DIGESTS: usize = 1024;
/// Longest text in a frame.
const LONGEST_TEXT: usize = 4096;

/// Message between two ranks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpreadFrame {
    /// Manifest or index of the image.
    Manifest {
        /// Media type; empty: unknown.
        media_type: String,
        /// Content, at most [`LARGEST`] bytes.
        bytes: Vec<u8>,
    },
    /// Image that rank 0 pulls.
    Image {
        /// Whole name of the image.
        reference: String,
        /// Digest of the manifest, or of the index that led to it.
        top: Digest,
    },
    /// Blob of the image. Blobs are numbered by the order of these frames, from 0 on.
    Blob {
        /// Digest of the blob.
        digest: Digest,
        /// Length in bytes.
        size: u64,
    },
    /// Digests of blocks that rank 0 has.
    Blocks {
        /// Number of the blob.
        blob: u32,
        /// Number of the first block.
        first: u32,
        /// Digests of this block and the next ones.
        digests: Vec<BlockDigest>,
    },
    /// Address at which a rank serves blocks.
    Peer {
        /// Number of the rank.
        rank: u32,
        /// Address of the rank.
        address: SocketAddr,
    },
    /// Sign of life.
    Ping,
    /// End of the sender's work, by an error.
    Failed(String),
    /// All ranks are done or gone.
    Finish,
    /// First frame of a rank to rank 0.
    Hello {
        /// Number of the rank.
        rank: u32,
        /// Number of ranks.
        ranks: u32,
        /// Port at which the rank serves blocks.
        port: u16,
        /// Image as the command names it.
        image: String,
    },
    /// The sender has the image.
    Done,
    /// Request for a blob's blocks.
    Request {
        /// Digest of the blob.
        digest: Digest,
        /// Number of the first block.
        first: u32,
    },
    /// The next block.
    Block(Vec<u8>),
}

/// Largest content of a frame of this kind; `None`: no such kind.
pub fn limit(kind: u8) -> Option<usize> {
    match kind {
        1 => usize::try_from(LARGEST).ok()?.checked_add(2 + LONGEST_TEXT),
        2 | 7 | 9 | 11 => Some(2 * LONGEST_TEXT),
        3 | 5 => Some(256),
        4 => Some(8 + 32 * MOST_DIGESTS),
        6 | 8 | 10 => Some(0),
        12 => usize::try_from(BLOCK).ok(),
        _ => None,
    }
}

impl SpreadFrame {
    /// Bytes of the frame, with its header. A text that is too long is cut.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; HEADER];
        let kind = self.encode_content(&mut out);
        let length = u32::try_from(out.len() - HEADER).unwrap_or(u32::MAX);
        if let Some((first, rest)) = out.split_first_mut() {
            *first = kind;
            rest.iter_mut().zip(length.to_be_bytes()).for_each(|(to, from)| *to = from);
        }
        out
    }

    /// Adds the content; returns the kind.
    fn encode_content(&self, out: &mut Vec<u8>) -> u8 {
        match self {
            Self::Manifest { media_type, bytes } => {
                put_text(out, media_type);
                out.extend(bytes);
                1
            }
            Self::Image { reference, top } => {
                put_text(out, reference);
                put_text(out, &top.to_string());
                2
            }
            Self::Blob { digest, size } => {
                put_text(out, &digest.to_string());
                out.extend(size.to_be_bytes());
                3
            }
            Self::Blocks { blob, first, digests } => {
                out.extend(blob.to_be_bytes());
                out.extend(first.to_be_bytes());
                out.extend(digests.iter().flatten());
                4
            }
            Self::Peer { rank, address } => {
                out.extend(rank.to_be_bytes());
                out.extend(address.port().to_be_bytes());
                match address.ip() {
                    IpAddr::V4(ip) => out.extend(ip.octets()),
                    IpAddr::V6(ip) => out.extend(ip.octets()),
                }
                5
            }
            Self::Ping => 6,
            Self::Failed(text) => {
                put_text(out, text);
                7
            }
            Self::Finish => 8,
            Self::Hello { rank, ranks, port, image } => {
                out.extend(rank.to_be_bytes());
                out.extend(ranks.to_be_bytes());
                out.extend(port.to_be_bytes());
                put_text(out, image);
                9
            }
            Self::Done => 10,
            Self::Request { digest, first } => {
                out.extend(first.to_be_bytes());
                put_text(out, &digest.to_string());
                11
            }
            Self::Block(bytes) => {
                out.extend(bytes);
                12
            }
        }
    }

    /// Reads the content of a frame of this kind. `None`: not a frame.
    pub fn decode(kind: u8, content: &[u8]) -> Option<Self> {
        if content.len() > limit(kind)? {
            return None;
        }
        let mut from = FrameContent(content);
        let frame = match kind {
            1 => Self::Manifest { media_type: from.text()?, bytes: from.rest() },
            2 => Self::Image { reference: from.text()?, top: from.digest()? },
            3 => Self::Blob { digest: from.digest()?, size: u64::from_be_bytes(from.take()?) },
            4 => {
                let (blob, first) = (from.number()?, from.number()?);
                let (digests, odd) = from.0.as_chunks::<32>();
                if !odd.is_empty() {
                    return None;
                }
                let digests = digests.to_vec();
                from.0 = &[];
                Self::Blocks { blob, first, digests }
            }
            5 => {
                let (rank, port) = (from.number()?, u16::from_be_bytes(from.take()?));
                let ip = match from.0.len() {
                    4 => IpAddr::V4(Ipv4Addr::from(from.take::<4>()?)),
                    _ => IpAddr::V6(Ipv6Addr::from(from.take::<16>()?)),
                };
                Self::Peer { rank, address: SocketAddr::new(ip, port) }
            }
            6 => Self::Ping,
            7 => Self::Failed(from.text()?),
            8 => Self::Finish,
            9 => Self::Hello {
                rank: from.number()?,
                ranks: from.number()?,
                port: u16::from_be_bytes(from.take()?),
                image: from.text()?,
            },
            10 => Self::Done,
            11 => {
                let first = from.number()?;
                Self::Request { digest: from.digest()?, first }
            }
            12 => Self::Block(from.rest()),
            _ => return None,
        };
        from.0.is_empty().then_some(frame)
    }
}

/// Adds a text behind its length (two bytes), cut at [`LONGEST_TEXT`] bytes.
fn put_text(out: &mut Vec<u8>, text: &str) {
    let mut end = text.len().min(LONGEST_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let text = text.get(..end).unwrap_or_default();
    out.extend(u16::try_from(text.len()).unwrap_or_default().to_be_bytes());
    out.extend(text.as_bytes());
}

/// Content of a frame that is not read yet.
struct FrameContent<'a>(&'a [u8]);

impl FrameContent<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn number(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::from(u16::from_be_bytes(self.take()?));
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        (length <= LONGEST_TEXT).then(|| String::from_utf8(text.to_vec()).ok()).flatten()
    }

    fn digest(&mut self) -> Option<Digest> {
        self.text()?.parse().ok()
    }

    fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0).to_vec()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_frame_is_read_back() {
        let digest = Digest::of(b"x");
        for frame in [
            SpreadFrame::Manifest { media_type: "a/b".into(), bytes: vec![1, 2] },
            SpreadFrame::Image { reference: "q.io/x:1".into(), top: digest.clone() },
            SpreadFrame::Blob { digest: digest.clone(), size: 1 << 40 },
            SpreadFrame::Blocks { blob: 1, first: 2, digests: vec![[3; 32]; MOST_DIGESTS] },
            SpreadFrame::Peer { rank: 7, address: "192.0.2.1:80".parse().unwrap() },
            SpreadFrame::Peer { rank: 7, address: "[2001:db8::1]:80".parse().unwrap() },
            SpreadFrame::Ping,
            SpreadFrame::Failed("ü".into()),
            SpreadFrame::Finish,
            SpreadFrame::Hello { rank: 1, ranks: 2, port: 3, image: "x".into() },
            SpreadFrame::Done,
            SpreadFrame::Request { digest, first: 9 },
            SpreadFrame::Block(vec![0; BLOCK as usize]),
        ] {
            let bytes = frame.encode();
            assert_eq!(SpreadFrame::decode(bytes[0], &bytes[HEADER..]), Some(frame));
        }
    }

    #[test]
    fn odd_frames_are_refused() {
        for (kind, content) in [
            (0, &b""[..]),
            (13, b""),
            (6, b"x"),
            (12, &vec![0; BLOCK as usize + 1]),
            (4, &[0; 8 + 33]),
            (4, &[0; 7]),
            (5, &[0; 6 + 5]),
            (7, &[0, 2, b'x']),
            (7, &[0, 1, 0xff]),
            (7, &[0, 1, b'x', b'x']),
            (7, &[0xff; 8000]),
            (11, &[0, 0, 0, 0, 0, 1, b'x']),
        ] {
            assert_eq!(SpreadFrame::decode(kind, content), None, "{kind}");
        }
        let long = SpreadFrame::Failed("ü".repeat(LONGEST_TEXT)).encode();
        assert!(SpreadFrame::decode(long[0], &long[HEADER..]).is_some());
    }

    proptest! {
        #[test]
        fn a_frame_that_is_read_is_sent_as_the_same_bytes(kind in 0..14u8, content in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some(frame) = SpreadFrame::decode(kind, &content) {
                prop_assert_eq!(&frame.encode()[HEADER..], &content[..]);
            }
        }
    }
}
