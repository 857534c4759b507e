//! Signature packets of version 4 (RFC 9580, 5.2.3).

use super::material::{Fingerprint, KeyMaterial, SignatureHash, SignatureVerdict};
use super::octets::Octets;
use super::packet::subpacket_length;

/// Type of a signature.
pub(super) type SignatureType = u8;

/// Signature of a text, with line ends of CR and LF.
pub(super) const OF_TEXT: SignatureType = 0x01;
/// Signature by a subkey that may sign, of its primary key.
pub(super) const PRIMARY_BINDING: SignatureType = 0x19;

/// Key that made a signature, as the signature says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Issuer {
    /// Fingerprint.
    Fingerprint(Fingerprint),
    /// Last eight bytes of the fingerprint.
    KeyId([u8; 8]),
}

impl Issuer {
    /// True if `key` is the issuer.
    pub(super) fn is(&self, key: &KeyMaterial) -> bool {
        match self {
            Self::Fingerprint(fingerprint) => *fingerprint == key.fingerprint,
            Self::KeyId(id) => key.fingerprint.0.ends_with(id),
        }
    }
}

impl std::fmt::Display for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fingerprint(fingerprint) => fingerprint.fmt(f),
            Self::KeyId(id) => id.iter().try_for_each(|byte| write!(f, "{byte:02X}")),
        }
    }
}

/// Statements in a signature.
#[derive(Clone, Debug, Default)]
pub(super) struct SignatureFacts {
    /// Time of the signature, in seconds since 1970.
    pub(super) created: u64,
    /// Seconds from `created` to the end of the signature.
    lifetime: Option<u64>,
    /// Seconds from the creation of a key to its end.
    pub(super) key_lifetime: Option<u64>,
    /// Uses of a key: bits of the first byte.
    pub(super) key_flags: Option<u8>,
    /// Issuer; not covered by the signature in all cases, so a way to find the key alone.
    pub(super) issuer: Option<Issuer>,
    /// Signature packet in the signature: that of a subkey of its primary key.
    pub(super) embedded: Option<Vec<u8>>,
    /// True if a statement that must be understood is unknown.
    has_unknown: bool,
}

/// Signature.
#[derive(Clone, Debug)]
pub(super) struct SignaturePacket {
    /// Type.
    pub(super) r#type: SignatureType,
    /// Statements.
    pub(super) facts: SignatureFacts,
    hash: Option<SignatureHash>,
    /// Part of the packet that the signature covers.
    covered: Vec<u8>,
    numbers: Vec<u8>,
}

impl SignaturePacket {
    /// Parses the body of a signature packet. `None`: damaged, or of another version than 4.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let mut rest = Octets(body);
        if rest.byte()? != 4 {
            return None;
        }
        let r#type = rest.byte()?;
        let _algorithm = rest.byte()?;
        let hash = SignatureHash::of_number(rest.byte()?);
        let length = rest.short()?.into();
        let hashed = rest.take(length)?;
        let covered = body.get(..6 + length)?.to_owned();
        let length = rest.short()?.into();
        let unhashed = rest.take(length)?;
        // The first two bytes of the hash.
        rest.take(2)?;
        let mut facts = SignatureFacts::default();
        facts.read(hashed, Coverage::Signed)?;
        facts.read(unhashed, Coverage::Unsigned)?;
        Some(Self { r#type, facts, hash, covered, numbers: rest.0.to_owned() })
    }

    /// Checks that `key` made the signature, of `data`.
    pub(super) fn verify(&self, key: &KeyMaterial, data: &[u8]) -> SignatureVerdict {
        let Some(hash) = self.hash.filter(|_| !self.facts.has_unknown) else {
            return SignatureVerdict::Unsupported;
        };
        let length = u32::try_from(self.covered.len()).unwrap_or_default().to_be_bytes();
        let data = [data, &self.covered, &[4, 0xff], &length].concat();
        key.verify(hash, &data, Octets(&self.numbers))
    }

    /// Second since 1970 at which the signature ends.
    pub(super) fn end(&self) -> Option<u64> {
        self.facts.lifetime.map(|seconds| self.facts.created.saturating_add(seconds))
    }
}

/// Relation of a signature to a part of its packet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Coverage {
    Signed,
    Unsigned,
}

impl SignatureFacts {
    /// Reads subpackets. `None`: damaged. Those that the signature does not cover can help to find a key, no more; an
    /// embedded signature is one itself.
    fn read(&mut self, bytes: &[u8], coverage: Coverage) -> Option<()> {
        let mut rest = Octets(bytes);
        while !rest.is_empty() {
            let length = usize::try_from(subpacket_length(&mut rest)?).ok()?;
            let mut body = Octets(rest.take(length)?);
            let first = body.byte()?;
            match (first & 0x7f, coverage) {
                (16, _) => {
                    let id = Issuer::KeyId(body.0.try_into().ok()?);
                    self.issuer.get_or_insert(id);
                }
                (33, _) if body.byte()? == 4 => {
                    // More exact than the ID.
                    let fingerprint = Fingerprint(body.0.try_into().ok()?);
                    self.issuer = Some(Issuer::Fingerprint(fingerprint));
                }
                (32, _) => self.embedded = Some(body.0.to_owned()),
                (2, Coverage::Signed) => self.created = body.long()?.into(),
                (3, Coverage::Signed) => self.lifetime = seconds(body.long()?),
                (9, Coverage::Signed) => self.key_lifetime = seconds(body.long()?),
                (27, Coverage::Signed) => self.key_flags = Some(body.byte().unwrap_or_default()),
                // A notation that must be understood.
                (20, Coverage::Signed) if first & 0x80 != 0 => self.has_unknown = true,
                // Without effect on the verdict: preferences, names, notations, reasons and the like (5.2.3.7).
                (4 | 7 | 11 | 20..=26 | 28..=31 | 33..=35, _) => {}
                (_, Coverage::Signed) if first & 0x80 != 0 => self.has_unknown = true,
                _ => {}
            }
        }
        Some(())
    }
}

/// A lifetime. `None`: unlimited.
fn seconds(number: u32) -> Option<u64> {
    (number != 0).then_some(number.into())
}
