//! Public keys of version 4 (RFC 9580, 5.5.2.2), and signatures that they verify.

use std::fmt;
use std::ops::RangeInclusive;

use ring::digest;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1,
    ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};

use super::octets::Octets;

/// Lengths in bytes of the moduli of known RSA keys: from 2048 to 8192 bits.
const MODULUS: RangeInclusive<usize> = 256..=1024;
/// Object identifier of the curve P-256.
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
/// Object identifier of the curve P-384.
const P384: &[u8] = &[0x2b, 0x81, 4, 0, 0x22];
/// Object identifier of the curve of Ed25519.
const EDWARDS: &[u8] = &[0x2b, 6, 1, 4, 1, 0xda, 0x47, 0x0f, 1];

/// Hash algorithm of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SignatureHash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl SignatureHash {
    /// Finds the algorithm with this number. `None`: one that is too weak, or not known here.
    pub(super) fn of_number(number: u8) -> Option<Self> {
        match number {
            8 => Some(Self::Sha256),
            9 => Some(Self::Sha384),
            10 => Some(Self::Sha512),
            _ => None,
        }
    }

    fn of_data(self, data: &[u8]) -> digest::Digest {
        let algorithm = match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        };
        digest::digest(algorithm, data)
    }
}

/// Outcome of a check by a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SignatureVerdict {
    /// Made by the key, of the data.
    Valid,
    /// Made by another key, or of other data.
    Wrong,
    /// Made with algorithms that are not known here, or too weak.
    Unsupported,
}

/// Fingerprint of a key of version 4.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint(pub(super) [u8; 20]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Numbers of a public key.
#[derive(Clone, Debug)]
enum KeyNumbers {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    P256(Vec<u8>),
    P384(Vec<u8>),
    /// Keys of the older form, whose signatures are two integers.
    EdDsa(Vec<u8>),
    /// Keys of the newer form (RFC 9580, 5.2.3.3): their signatures have no integers.
    Ed25519(Vec<u8>),
    Unsupported,
}

/// Public key.
#[derive(Clone, Debug)]
pub(super) struct KeyMaterial {
    /// Body of the packet, which signatures cover.
    pub(super) body: Vec<u8>,
    /// Time of creation, in seconds since 1970.
    pub(super) created: u64,
    /// Fingerprint.
    pub(super) fingerprint: Fingerprint,
    numbers: KeyNumbers,
}

impl KeyMaterial {
    /// Parses the body of a key packet. `None`: a damaged one, or of another version than 4.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let mut rest = Octets(body);
        if rest.byte()? != 4 {
            return None;
        }
        let created = rest.long()?.into();
        let algorithm = rest.byte()?;
        let numbers = numbers(algorithm, rest)?;
        let length = u16::try_from(body.len()).ok()?.to_be_bytes();
        let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
        [&[0x99][..], &length, body].iter().for_each(|part| context.update(part));
        let fingerprint = Fingerprint(context.finish().as_ref().try_into().ok()?);
        Some(Self { body: body.to_owned(), created, fingerprint, numbers })
    }

    /// Data of the key that signatures cover (RFC 9580, 5.2.4).
    pub(super) fn signed_data(&self) -> Vec<u8> {
        // Fits: `parse` has checked the length.
        let length = u16::try_from(self.body.len()).unwrap_or_default().to_be_bytes();
        [&[0x99][..], &length, &self.body].concat()
    }

    /// Checks a signature of `data`: `numbers` are those of the signature packet.
    pub(super) fn verify(
        &self,
        hash: SignatureHash,
        data: &[u8],
        numbers: Octets<'_>,
    ) -> SignatureVerdict {
        self.outcome(hash, data, numbers).unwrap_or(SignatureVerdict::Wrong)
    }

    fn outcome(
        &self,
        hash: SignatureHash,
        data: &[u8],
        mut numbers: Octets<'_>,
    ) -> Option<SignatureVerdict> {
        let is_valid = match &self.numbers {
            KeyNumbers::Rsa { modulus, exponent } => {
                let signature = padded(numbers.integer()?, modulus.len())?;
                let key = RsaPublicKeyComponents { n: modulus, e: exponent };
                let algorithm = match hash {
                    SignatureHash::Sha256 => &RSA_PKCS1_2048_8192_SHA256,
                    SignatureHash::Sha384 => &RSA_PKCS1_2048_8192_SHA384,
                    SignatureHash::Sha512 => &RSA_PKCS1_2048_8192_SHA512,
                };
                key.verify(algorithm, data, &signature).is_ok()
            }
            KeyNumbers::P256(point) | KeyNumbers::P384(point) => {
                let is_256 = matches!(self.numbers, KeyNumbers::P256(_));
                let algorithm: &'static dyn VerificationAlgorithm = match hash {
                    SignatureHash::Sha256 if is_256 => &ECDSA_P256_SHA256_ASN1,
                    SignatureHash::Sha384 if is_256 => &ECDSA_P256_SHA384_ASN1,
                    SignatureHash::Sha256 => &ECDSA_P384_SHA256_ASN1,
                    SignatureHash::Sha384 => &ECDSA_P384_SHA384_ASN1,
                    SignatureHash::Sha512 => return Some(SignatureVerdict::Unsupported),
                };
                let signature = asn1(numbers.integer()?, numbers.integer()?)?;
                UnparsedPublicKey::new(algorithm, point).verify(data, &signature).is_ok()
            }
            KeyNumbers::EdDsa(key) | KeyNumbers::Ed25519(key) => {
                let signature = match &self.numbers {
                    KeyNumbers::EdDsa(_) => {
                        let first = padded(numbers.integer()?, 32)?;
                        [first, padded(numbers.integer()?, 32)?].concat()
                    }
                    _ => numbers.take(64)?.to_vec(),
                };
                // OpenPGP signs the hash (RFC 9580, 5.2.4).
                let hashed = hash.of_data(data);
                UnparsedPublicKey::new(&ED25519, key).verify(hashed.as_ref(), &signature).is_ok()
            }
            KeyNumbers::Unsupported => return Some(SignatureVerdict::Unsupported),
        };
        Some(if is_valid { SignatureVerdict::Valid } else { SignatureVerdict::Wrong })
    }
}

/// Reads the numbers of a key with this algorithm (RFC 9580, 9.1). `None`: damaged.
fn numbers(algorithm: u8, mut rest: Octets<'_>) -> Option<KeyNumbers> {
    Some(match algorithm {
        1 | 3 => {
            let (modulus, exponent) = (rest.integer()?.to_owned(), rest.integer()?.to_owned());
            match MODULUS.contains(&modulus.len()) {
                true => KeyNumbers::Rsa { modulus, exponent },
                false => KeyNumbers::Unsupported,
            }
        }
        19 | 22 => {
            let length = rest.byte()?;
            let curve = rest.take(length.into())?;
            let point = rest.integer()?.to_owned();
            match (algorithm, curve) {
                (19, P256) => KeyNumbers::P256(point),
                (19, P384) => KeyNumbers::P384(point),
                (22, EDWARDS) => KeyNumbers::EdDsa(point.strip_prefix(&[0x40])?.to_owned()),
                _ => KeyNumbers::Unsupported,
            }
        }
        27 => KeyNumbers::Ed25519(rest.take(32)?.to_owned()),
        _ => KeyNumbers::Unsupported,
    })
}

/// Puts zeros before a number, up to `length` bytes. `None`: it is longer.
fn padded(number: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length.checked_sub(number.len())?];
    bytes.extend_from_slice(number);
    Some(bytes)
}

/// Encodes the numbers of an ECDSA signature in ASN.1 (RFC 3279, 2.2.3). `None`: too long for the known curves.
fn asn1(first: &[u8], second: &[u8]) -> Option<Vec<u8>> {
    let integer = |number: &[u8]| {
        // A set highest bit would mean a negative number.
        let zero: &[u8] = if number.first().is_none_or(|byte| *byte >= 0x80) { &[0] } else { &[] };
        let content = [zero, number].concat();
        let length = u8::try_from(content.len()).ok()?;
        Some([&[2, length][..], &content].concat())
    };
    let content = [integer(first)?, integer(second)?].concat();
    let length = u8::try_from(content.len()).ok().filter(|length| *length < 0x80)?;
    Some([&[0x30, length][..], &content].concat())
}
