//! Certificates (RFC 9580, 10.1): a primary key, its users and subkeys, and the key's own signatures of them.

use super::armor;
use super::material::KeyMaterial;
use super::packet::{
    PUBLIC_KEY, PUBLIC_SUBKEY, Packet, SECRET_KEY, SIGNATURE, USER_ATTRIBUTE, USER_ID, packets,
};
use super::signature::SignaturePacket;
use crate::error::{Error, Result};
use crate::fail;
use crate::hint;

/// Label of public keys in ASCII armor.
const LABEL: &str = "PUBLIC KEY BLOCK";
/// Most packets of a file of keys.
const MOST_PACKETS: usize = 100_000;

/// Public key with users, subkeys and signatures; none was verified.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// Primary key.
    pub(super) primary: KeyMaterial,
    /// Signatures of the primary key.
    pub(super) direct: Vec<SignaturePacket>,
    /// Users, with the primary key's signatures.
    pub(super) users: Vec<CertifiedUser>,
    /// Subkeys, with the primary key's signatures.
    pub(super) subkeys: Vec<BoundSubkey>,
}

/// User of a key.
#[derive(Clone, Debug)]
pub(super) struct CertifiedUser {
    /// Data of the user that signatures cover.
    pub(super) signed_data: Vec<u8>,
    /// Signatures of the user.
    pub(super) signatures: Vec<SignaturePacket>,
}

/// Subkey.
#[derive(Clone, Debug)]
pub(super) struct BoundSubkey {
    /// Key.
    pub(super) key: KeyMaterial,
    /// Signatures of the subkey.
    pub(super) signatures: Vec<SignaturePacket>,
}

/// Reads the certificates in a file of `gpg --export`, with or without ASCII armor. Leaves out keys of other versions than
/// 4. Errors: damaged; no key of version 4; a secret key.
pub fn read_certificates(bytes: &[u8]) -> Result<Vec<Certificate>> {
    let decoded;
    let bytes = match std::str::from_utf8(bytes) {
        Ok(text) if text.contains(&armor::first_line(LABEL)) => {
            decoded = armor::decode(text, LABEL)?;
            &decoded[..]
        }
        Ok(_) => {
            return Err(Error::invalid("no public key of OpenPGP").hint(hint::EXPORT_KEY));
        }
        Err(_) => bytes,
    };
    let mut found = CertificateList::default();
    for (count, packet) in packets(bytes).enumerate() {
        if count == MOST_PACKETS {
            fail!(Invalid: "more than {MOST_PACKETS} packets");
        }
        found.add(packet?)?;
    }
    match found.all.is_empty() {
        true => fail!(Invalid: "no public key of OpenPGP, version 4"),
        false => Ok(found.all),
    }
}

/// Part that the next signatures are of.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum SignedPart {
    /// A part that is left out.
    #[default]
    Ignored,
    Primary,
    User,
    Subkey,
}

#[derive(Default)]
struct CertificateList {
    all: Vec<Certificate>,
    /// True if the last certificate is that of the packets that follow.
    is_open: bool,
    part: SignedPart,
}

impl CertificateList {
    fn add(&mut self, packet: Packet<'_>) -> Result<()> {
        match packet.tag {
            SECRET_KEY => {
                return Err(Error::invalid("a secret key, which nobody else should have")
                    .hint(hint::EXPORT_KEY));
            }
            PUBLIC_KEY => self.add_primary(packet.body),
            USER_ID | USER_ATTRIBUTE => self.add_user(packet),
            PUBLIC_SUBKEY => self.add_subkey(packet.body),
            SIGNATURE => self.add_signature(packet.body),
            _ => {}
        }
        Ok(())
    }

    fn current(&mut self) -> Option<&mut Certificate> {
        self.all.last_mut().filter(|_| self.is_open)
    }

    fn add_primary(&mut self, body: &[u8]) {
        let primary = KeyMaterial::parse(body);
        self.is_open = primary.is_some();
        self.part = SignedPart::Primary;
        let certificate = |primary| Certificate {
            primary,
            direct: Vec::new(),
            users: Vec::new(),
            subkeys: Vec::new(),
        };
        self.all.extend(primary.map(certificate));
    }

    fn add_user(&mut self, packet: Packet<'_>) {
        self.part = SignedPart::User;
        let Some(current) = self.current() else { return };
        // RFC 9580, 5.2.4.
        let first = if packet.tag == USER_ID { 0xb4 } else { 0xd1 };
        let length = u32::try_from(packet.body.len()).unwrap_or_default().to_be_bytes();
        let signed_data = [&[first][..], &length, packet.body].concat();
        current.users.push(CertifiedUser { signed_data, signatures: Vec::new() });
    }

    fn add_subkey(&mut self, body: &[u8]) {
        self.part = SignedPart::Ignored;
        let (Some(current), Some(key)) = (self.current(), KeyMaterial::parse(body)) else { return };
        current.subkeys.push(BoundSubkey { key, signatures: Vec::new() });
        self.part = SignedPart::Subkey;
    }

    /// Adds a signature of the primary key to its part; leaves out those of other keys.
    fn add_signature(&mut self, body: &[u8]) {
        let part = self.part;
        let (Some(current), Some(signature)) = (self.current(), SignaturePacket::parse(body))
        else {
            return;
        };
        let issuer = signature.facts.issuer;
        if issuer.is_some_and(|issuer| !issuer.is(&current.primary)) {
            return;
        }
        match part {
            SignedPart::Ignored => {}
            SignedPart::Primary => current.direct.push(signature),
            SignedPart::User => {
                current.users.last_mut().into_iter().for_each(|user| {
                    user.signatures.push(signature.clone());
                });
            }
            SignedPart::Subkey => {
                current.subkeys.last_mut().into_iter().for_each(|subkey| {
                    subkey.signatures.push(signature.clone());
                });
            }
        }
    }
}
