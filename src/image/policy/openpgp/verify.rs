//! Validity of keys at a time, and the verdict on a signed text.
//!
//! A key counts that is neither revoked nor expired now, whenever the signature was made: nobody else than the signer
//! knows when that was. Of several statements about a key the newest counts, of different ends the earliest.

use std::time::{SystemTime, UNIX_EPOCH};

use super::certificate::{BoundSubkey, Certificate, CertifiedUser};
use super::clear_text::ClearText;
use super::material::{Fingerprint, KeyMaterial, SignatureVerdict};
use super::signature::{Issuer, PRIMARY_BINDING, SignaturePacket, SignatureType};
use crate::error::{Error, Result};
use crate::hint;

/// Certifications of a user.
const CERTIFICATIONS: [SignatureType; 4] = [0x10, 0x11, 0x12, 0x13];
/// Statement about the primary key.
const DIRECT: SignatureType = 0x1f;
/// Revocation of the primary key.
const KEY_REVOCATION: SignatureType = 0x20;
/// Binding of a subkey.
const SUBKEY_BINDING: SignatureType = 0x18;
/// Revocation of a subkey.
const SUBKEY_REVOCATION: SignatureType = 0x28;
/// Revocation of a certification.
const USER_REVOCATION: SignatureType = 0x30;
/// Bit of the uses of a key: it signs data.
const MAY_SIGN: u8 = 2;
/// Seconds by which the clocks of two machines may differ.
const CLOCK_DIFFERENCE: u64 = 3600;

/// Verifies a text with a clear-text signature by one of `keys`, at the time `now`. Returns the text, with line ends of
/// CR and LF, and the fingerprint of the signer's primary key. Errors: no valid signature; the reason for each.
pub fn verify_clear_text(
    bytes: &[u8],
    keys: &[Certificate],
    now: SystemTime,
) -> Result<VerifiedText> {
    let clear = ClearText::parse(bytes)?;
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut reasons = Vec::new();
    for signature in &clear.signatures {
        match signer(signature, clear.text.as_bytes(), keys, now) {
            Ok(signer) => return Ok(VerifiedText { text: clear.text, signer: signer.0 }),
            Err(error) => reasons.push(error),
        }
    }
    match reasons.len() {
        1 => Err(reasons.remove(0)),
        _ => Err(Error::joined(&reasons)),
    }
}

/// Text that a key has signed.
#[derive(Debug)]
pub struct VerifiedText {
    /// Text.
    pub text: String,
    /// Fingerprint of the signer's primary key.
    pub signer: [u8; 20],
}

/// Finds the valid key that made a signature of `data`. Returns the fingerprint of its primary key.
fn signer(
    signature: &SignaturePacket,
    data: &[u8],
    keys: &[Certificate],
    now: u64,
) -> Result<Fingerprint> {
    let Some(issuer) = signature.facts.issuer else {
        return Err(Error::refused("the signature names no key"));
    };
    let candidates: Vec<_> = keys.iter().flat_map(|one| one.keys_of(issuer)).collect();
    // A revocation in one copy of the key counts for all.
    candidates.iter().try_for_each(|one| one.certificate.check_revocations(one.subkey))?;
    let mut reason = None;
    for SigningKey { certificate, key, subkey } in candidates {
        let valid = check_made(signature, data, key)
            .and_then(|()| certificate.check_key(subkey, now))
            .and_then(|()| check_time(signature, key, now));
        match valid {
            Ok(()) => return Ok(certificate.primary.fingerprint),
            Err(error) => reason = Some(error),
        }
    }
    Err(reason.unwrap_or_else(|| {
        Error::refused(format!(
            "it is signed by the key {issuer}, which is none of the policy's keys"
        ))
        .hint(hint::trust_key(issuer))
    }))
}

/// Key that can have made a signature.
struct SigningKey<'a> {
    certificate: &'a Certificate,
    key: &'a KeyMaterial,
    /// The key as a subkey; `None`: the primary key.
    subkey: Option<&'a BoundSubkey>,
}

/// Checks that `key` made the signature.
fn check_made(signature: &SignaturePacket, data: &[u8], key: &KeyMaterial) -> Result<()> {
    let of = key.fingerprint;
    match signature.verify(key, data) {
        SignatureVerdict::Valid => Ok(()),
        SignatureVerdict::Wrong => {
            let error = format!("the signature by the key {of} is not of this text: one was changed");
            Err(Error::refused(error).hint("fetch the file again from its origin"))
        }
        SignatureVerdict::Unsupported => Err(Error::refused(format!(
            "the signature by the key {of} has an unknown or weak algorithm"
        ))
        .hint("RSA from 2048 bits, ECDSA on P-256 or P-384, and Ed25519 are known, with SHA-256, SHA-384 or (but for ECDSA) SHA-512")),
    }
}

/// Checks the time of the signature itself.
fn check_time(signature: &SignaturePacket, key: &KeyMaterial, now: u64) -> Result<()> {
    let (created, of) = (signature.facts.created, key.fingerprint);
    if created > now.saturating_add(CLOCK_DIFFERENCE) {
        let error = format!("the signature by the key {of} is of {}, in the future", date(created));
        return Err(Error::refused(error).hint("check the clock of this machine: 'date'"));
    }
    if created < key.created {
        let error = format!("the signature is of {}, before the key {of} was made", date(created));
        return Err(Error::refused(error));
    }
    match signature.end().filter(|end| *end <= now) {
        Some(end) => {
            let error = format!("the signature by the key {of} expired on {}", date(end));
            Err(Error::refused(error).hint("the signer can sign the file again"))
        }
        None => Ok(()),
    }
}

/// Facts that a key's own signatures state.
struct KeyStatement {
    end: Option<u64>,
    flags: Option<u8>,
}

impl KeyStatement {
    fn of(signature: &SignaturePacket, key: &KeyMaterial) -> Self {
        let facts = &signature.facts;
        let end = facts.key_lifetime.map(|seconds| key.created.saturating_add(seconds));
        Self { end, flags: facts.key_flags }
    }
}

impl Certificate {
    /// Keys that an issuer names.
    fn keys_of(&self, issuer: Issuer) -> impl Iterator<Item = SigningKey<'_>> {
        let subkeys = self.subkeys.iter().map(|subkey| (&subkey.key, Some(subkey)));
        let keys = subkeys.chain([(&self.primary, None)]);
        let keys = keys.filter(move |(key, _)| issuer.is(key));
        keys.map(|(key, subkey)| SigningKey { certificate: self, key, subkey })
    }

    /// Checks that neither the primary key nor its subkey `subkey` was revoked.
    fn check_revocations(&self, subkey: Option<&BoundSubkey>) -> Result<()> {
        let data = self.primary.signed_data();
        if self.has_revocation(&self.direct, KEY_REVOCATION, &data) {
            return Err(revoked(&self.primary));
        }
        let Some(subkey) = subkey else { return Ok(()) };
        let data = [data, subkey.key.signed_data()].concat();
        match self.has_revocation(&subkey.signatures, SUBKEY_REVOCATION, &data) {
            true => Err(revoked(&subkey.key)),
            false => Ok(()),
        }
    }

    /// Checks that the primary key, or its subkey `subkey`, may sign at the time `now`.
    fn check_key(&self, subkey: Option<&BoundSubkey>, now: u64) -> Result<()> {
        let statements = self.primary_statements(now)?;
        for statement in &statements {
            check_end(&self.primary, statement, now)?;
        }
        let Some(subkey) = subkey else {
            // Without flags, the algorithm alone limits the uses of a primary key.
            return match statements
                .iter()
                .filter_map(|one| one.flags)
                .all(|flags| flags & MAY_SIGN != 0)
            {
                true => Ok(()),
                false => Err(no_signing_key(&self.primary)),
            };
        };
        check_end(&subkey.key, &self.subkey_statement(subkey, now)?, now)
    }

    /// Newest statements about the primary key: directly, and with a user. Errors: none.
    fn primary_statements(&self, now: u64) -> Result<Vec<KeyStatement>> {
        let data = self.primary.signed_data();
        let direct = self.newest(&self.direct, &[DIRECT], &data, now);
        let users = self.users.iter().filter_map(|user| self.certification(user, now));
        let user = users.max_by_key(|signature| signature.facts.created);
        let all: Vec<_> = direct.into_iter().chain(user).collect();
        match all.is_empty() {
            true => Err(Error::refused(format!(
                "the key {} has no valid signature of its own",
                self.primary.fingerprint
            ))
            .hint("signatures with SHA-1 do not count: its owner renews them, as by a new date of expiry, and exports the key again")),
            false => Ok(all.iter().map(|one| KeyStatement::of(one, &self.primary)).collect()),
        }
    }

    /// Newest certification of a user. `None`: there is none, or it was revoked since.
    fn certification<'a>(&self, user: &'a CertifiedUser, now: u64) -> Option<&'a SignaturePacket> {
        let data = [&self.primary.signed_data()[..], &user.signed_data].concat();
        let newest = self.newest(&user.signatures, &CERTIFICATIONS, &data, now)?;
        let since =
            |revocation: &&SignaturePacket| revocation.facts.created >= newest.facts.created;
        let mut revocations = user.signatures.iter().filter(since);
        let is_revoked = revocations.any(|one| self.is_revocation(one, USER_REVOCATION, &data));
        (!is_revoked).then_some(newest)
    }

    /// Newest statement about a subkey that signs. Errors: not a key that signs, by its own signature too.
    fn subkey_statement(&self, subkey: &BoundSubkey, now: u64) -> Result<KeyStatement> {
        let data = [self.primary.signed_data(), subkey.key.signed_data()].concat();
        let newest = self.newest(&subkey.signatures, &[SUBKEY_BINDING], &data, now);
        let may_sign = |binding: &&SignaturePacket| {
            let is_for_signing = binding.facts.key_flags.unwrap_or_default() & MAY_SIGN != 0;
            is_for_signing && is_bound_back(binding, &subkey.key, &data, now)
        };
        let newest = newest.filter(may_sign).ok_or_else(|| no_signing_key(&subkey.key))?;
        Ok(KeyStatement::of(newest, &subkey.key))
    }

    /// Newest valid signature of these types by the primary key.
    fn newest<'a>(
        &self,
        signatures: &'a [SignaturePacket],
        types: &[SignatureType],
        data: &[u8],
        now: u64,
    ) -> Option<&'a SignaturePacket> {
        let valid = signatures.iter().filter(|one| {
            types.contains(&one.r#type)
                && is_current(one, now)
                && one.verify(&self.primary, data) == SignatureVerdict::Valid
        });
        valid.max_by_key(|one| one.facts.created)
    }

    fn has_revocation(
        &self,
        signatures: &[SignaturePacket],
        r#type: SignatureType,
        data: &[u8],
    ) -> bool {
        signatures.iter().any(|one| self.is_revocation(one, r#type, data))
    }

    /// True for a revocation by the primary key, also one that cannot be verified here.
    fn is_revocation(
        &self,
        signature: &SignaturePacket,
        r#type: SignatureType,
        data: &[u8],
    ) -> bool {
        signature.r#type == r#type
            && signature.verify(&self.primary, data) != SignatureVerdict::Wrong
    }
}

/// True if the subkey has signed its primary key (RFC 9580, 10.1.5). Without that, anyone could claim the subkey.
fn is_bound_back(binding: &SignaturePacket, subkey: &KeyMaterial, data: &[u8], now: u64) -> bool {
    let embedded = binding.facts.embedded.as_deref().and_then(SignaturePacket::parse);
    embedded.is_some_and(|back| {
        back.r#type == PRIMARY_BINDING
            && is_current(&back, now)
            && back.verify(subkey, data) == SignatureVerdict::Valid
    })
}

/// True if a signature is neither expired nor of the future.
fn is_current(signature: &SignaturePacket, now: u64) -> bool {
    signature.facts.created <= now.saturating_add(CLOCK_DIFFERENCE)
        && signature.end().is_none_or(|end| end > now)
}

fn check_end(key: &KeyMaterial, statement: &KeyStatement, now: u64) -> Result<()> {
    match statement.end.filter(|end| *end <= now) {
        Some(end) => {
            let error = format!("the key {} expired on {}", key.fingerprint, date(end));
            Err(Error::refused(error).hint("if its owner has renewed it, put the renewed key in the policy's file, else have the file signed with another key"))
        }
        None => Ok(()),
    }
}

fn revoked(key: &KeyMaterial) -> Error {
    Error::refused(format!("the key {} was revoked by its owner", key.fingerprint))
        .hint("the signer can sign the file with another key, which the policy then names")
}

fn no_signing_key(key: &KeyMaterial) -> Error {
    Error::refused(format!("the key {} is not one for signatures", key.fingerprint))
}

/// Date in UTC.
fn date(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_second(seconds);
    time.map_or_else(|_| "a date out of range".to_owned(), |time| time.strftime("%F").to_string())
}
