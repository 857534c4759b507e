//! Packets (RFC 9580, 4): a tag, a length, a body.

use super::octets::Octets;
use crate::error::{Error, Result};

/// Type of a packet.
pub(super) type PacketTag = u8;

/// Signature.
pub(super) const SIGNATURE: PacketTag = 2;
/// Secret key.
pub(super) const SECRET_KEY: PacketTag = 5;
/// Public primary key.
pub(super) const PUBLIC_KEY: PacketTag = 6;
/// User ID.
pub(super) const USER_ID: PacketTag = 13;
/// Public subkey.
pub(super) const PUBLIC_SUBKEY: PacketTag = 14;
/// User attribute: an image.
pub(super) const USER_ATTRIBUTE: PacketTag = 17;

/// Packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet<'a> {
    /// Type.
    pub(super) tag: PacketTag,
    /// Content.
    pub(super) body: &'a [u8],
}

/// Iterates over the packets of a sequence; ends after an error. Errors: a length beyond the end, or unknown before it.
pub(super) fn packets(bytes: &[u8]) -> impl Iterator<Item = Result<Packet<'_>>> {
    let mut rest = Octets(bytes);
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let packet = next(&mut rest);
        if packet.is_none() {
            rest = Octets(&[]);
        }
        Some(packet.ok_or_else(|| Error::invalid("a damaged OpenPGP packet")))
    })
}

fn next<'a>(rest: &mut Octets<'a>) -> Option<Packet<'a>> {
    let first = rest.byte()?;
    let (tag, length) = match first {
        0xc0.. => (first & 0x3f, new_length(rest)?),
        0x80.. => {
            let length = match first & 3 {
                0 => rest.byte()?.into(),
                1 => rest.short()?.into(),
                2 => rest.long()?,
                // Up to the end: not for keys and signatures.
                _ => return None,
            };
            ((first >> 2) & 0xf, length)
        }
        _ => return None,
    };
    Some(Packet { tag, body: rest.take(usize::try_from(length).ok()?)? })
}

/// Reads a length of the newer form, also that of subpackets. `None`: a part of a body of unknown length.
fn new_length(rest: &mut Octets<'_>) -> Option<u32> {
    match rest.byte()? {
        short @ ..192 => Some(short.into()),
        first @ 192..224 => Some((u32::from(first) - 192) * 256 + u32::from(rest.byte()?) + 192),
        255 => rest.long(),
        224..255 => None,
    }
}

/// Reads the length of a subpacket (RFC 9580, 5.2.3.7): as of packets, but no body comes in parts.
pub(super) fn subpacket_length(rest: &mut Octets<'_>) -> Option<u32> {
    match rest.byte()? {
        short @ ..192 => Some(short.into()),
        first @ 192..255 => Some((u32::from(first) - 192) * 256 + u32::from(rest.byte()?) + 192),
        255 => rest.long(),
    }
}
