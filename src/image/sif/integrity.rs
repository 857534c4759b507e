//! Signatures in SIF files: which parts of a file they cover, and the check of those parts.
//!
//! ```text
//!  signature object --link--> group of objects
//!    OpenPGP clear text, or DSSE envelope: {version, header: {digest}, objects: [{relativeId, descriptorDigest,
//!    objectDigest}]}
//! ```
//!
//! IDs are relative to the lowest of the group. Covered are: launch line, magic, version and UUID of the header; type, ID,
//! link, size, time of creation, owner, name and extra part of a descriptor; the whole object. Not covered: offsets,
//! the group, the architecture in the header. Signatures of Singularity before 3.6 cover objects alone: not accepted.
//!
//! Source: package integrity of github.com/apptainer/sif.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::FileExt;

use serde::Deserialize;

use super::format::{GROUP_MARK, SifKind, SifObject, SifTable, explain};
use crate::digest::{Algorithm, Digest, Hasher};
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::hint;
use crate::image::policy::{FileKeys, SignedStatement};

/// Media type of the statement in an envelope.
const MEDIA_TYPE: &str = "application/vnd.sylabs.sif-metadata+json";
/// Most bytes of a signature: a statement has some 250 for each object.
const LARGEST_SIGNATURE: u64 = 2 << 20;
/// Most signatures of a file.
const MOST_SIGNATURES: usize = 64;
/// Bytes that are read at once.
const STEP: usize = 1 << 20;

/// Signed statement about a group of objects.
#[derive(Deserialize)]
struct GroupStatement {
    version: u32,
    header: HeaderStatement,
    objects: Vec<ObjectStatement>,
}

#[derive(Deserialize)]
struct HeaderStatement {
    digest: Digest,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ObjectStatement {
    relative_id: u32,
    descriptor_digest: Digest,
    object_digest: Digest,
}

/// Checks that one of `keys` has signed the objects with the IDs `used`. Errors: an object that no signature covers, or
/// that was changed since; a damaged signature; an ID of two objects.
pub(super) fn verify(
    file: &File,
    table: &SifTable,
    used: &BTreeSet<u32>,
    keys: &FileKeys,
) -> Result<()> {
    let mut by_id = BTreeMap::new();
    for object in &table.objects {
        if by_id.insert(object.id, object).is_some() {
            fail!(Invalid: "two data objects have the ID {}", object.id);
        }
    }
    let mut groups: BTreeMap<u32, Vec<&SifObject>> = BTreeMap::new();
    for id in used {
        let Some(object) = by_id.get(id) else { fail!(Invalid: "data object {id} is missing") };
        match object.group.checked_sub(GROUP_MARK).filter(|group| *group != 0) {
            Some(_) => groups.entry(object.group).or_default().push(object),
            None => return Err(unsigned(object)),
        }
    }
    let signatures: Vec<_> = table.of(SifKind::Signature).collect();
    if signatures.len() > MOST_SIGNATURES {
        fail!(Invalid: "{} signatures, more than {MOST_SIGNATURES}", signatures.len());
    }
    for (group, objects) in groups {
        let lowest = table.objects.iter().filter(|object| object.group == group);
        let Some(lowest) = lowest.map(|object| object.id).min() else { continue };
        let signatures = signatures.iter().filter(|signature| signature.link == group).copied();
        let group = SignedGroup { file, table, lowest, objects };
        group.verify(signatures, keys)?;
    }
    Ok(())
}

/// Group of objects to verify.
struct SignedGroup<'a> {
    file: &'a File,
    table: &'a SifTable,
    /// Lowest ID.
    lowest: u32,
    /// Objects that are used.
    objects: Vec<&'a SifObject>,
}

impl SignedGroup<'_> {
    /// Verifies all objects by these signatures, of which each may cover some.
    fn verify<'s>(
        &self,
        signatures: impl Iterator<Item = &'s SifObject>,
        keys: &FileKeys,
    ) -> Result<()> {
        let mut verified = BTreeSet::new();
        let mut reasons = Vec::new();
        for signature in signatures {
            let checked = self.apply(signature, keys, &mut verified);
            match checked.context(|| format!("signature {}", signature.id)) {
                Ok(SignatureUse::Applied) => {}
                Ok(SignatureUse::OtherForm) => {
                    log::info!("signature {}: no {} signature", signature.id, keys.form());
                }
                Err(error) => reasons.push(error),
            }
        }
        let Some(missing) = self.objects.iter().find(|object| !verified.contains(&object.id))
        else {
            return Ok(());
        };
        match (reasons.len(), verified.is_empty()) {
            (0, true) => Err(Error::refused(format!("no {} signature of the image", keys.form()))
                .hint(hint::SIGN_SIF)),
            (0, false) => Err(unsigned(missing)),
            (1, _) => Err(reasons.remove(0)),
            _ => Err(Error::joined(&reasons)),
        }
    }

    /// Adds the IDs of the objects that a signature covers to `verified`. Errors: by none of the keys; a changed header
    /// or object.
    fn apply(
        &self,
        signature: &SifObject,
        keys: &FileKeys,
        verified: &mut BTreeSet<u32>,
    ) -> Result<SignatureUse> {
        let bytes = signature.read(self.file, LARGEST_SIGNATURE)?;
        if !keys.suits(&bytes) {
            return Ok(SignatureUse::OtherForm);
        }
        let SignedStatement { content, signer } = keys.open(&bytes, MEDIA_TYPE)?;
        if content.starts_with(b"SIFHASH:") {
            return Err(Error::refused(
                "made before Singularity 3.6, it leaves most of the file open to changes",
            )
            .hint(hint::SIGN_SIF));
        }
        if signer.is_some_and(|signer| !signature.names_signer(&signer)) {
            fail!(Refused: "its descriptor names another signer than the signature");
        }
        let statement: GroupStatement = serde_json::from_slice(&content)
            .map_err(|error| Error::invalid(format!("the signed statement: {error}")))?;
        if statement.version != 1 {
            fail!(Invalid: "a statement of version {}; known is 1", statement.version);
        }
        let algorithm = statement.header.digest.algorithm();
        if digest_of(&self.table.signed_header(), algorithm) != statement.header.digest {
            fail!(Refused: "the header of the file was changed after it was signed");
        }
        for object in &self.objects {
            let relative = object.id.checked_sub(self.lowest);
            let mut covered = statement.objects.iter();
            let covered = covered.find(|one| Some(one.relative_id) == relative);
            let Some(covered) = covered.filter(|_| !verified.contains(&object.id)) else {
                continue;
            };
            self.check_object(object, covered)?;
            verified.insert(object.id);
        }
        Ok(SignatureUse::Applied)
    }

    fn check_object(&self, object: &SifObject, signed: &ObjectStatement) -> Result<()> {
        let descriptor = object.signed_descriptor(signed.relative_id);
        if digest_of(&descriptor, signed.descriptor_digest.algorithm()) != signed.descriptor_digest
        {
            return Err(changed(object, "the descriptor of "));
        }
        match digest_in(self.file, object, signed.object_digest.algorithm())?
            == signed.object_digest
        {
            true => Ok(()),
            false => Err(changed(object, "")),
        }
    }
}

/// Outcome for a signature without a fault.
enum SignatureUse {
    Applied,
    /// A signature for keys of another kind.
    OtherForm,
}

fn changed(object: &SifObject, part: &str) -> Error {
    let error = format!("{part}data object {} was changed after it was signed", object.id);
    Error::refused(error).hint(hint::FETCH_SIF)
}

fn unsigned(object: &SifObject) -> Error {
    Error::refused(format!("data object {} is not signed", object.id)).hint(hint::SIGN_SIF)
}

fn digest_of(bytes: &[u8], algorithm: Algorithm) -> Digest {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(bytes);
    hasher.finish()
}

/// Computes the digest of an object.
fn digest_in(file: &File, object: &SifObject, algorithm: Algorithm) -> Result<Digest> {
    let mut hasher = Hasher::new(algorithm);
    let mut buffer = vec![0; STEP];
    let mut at = 0;
    while at < object.size {
        let step = usize::try_from(object.size - at).unwrap_or(STEP).min(STEP);
        let part = &mut buffer[..step];
        file.read_exact_at(part, object.offset.saturating_add(at)).map_err(explain)?;
        hasher.update(part);
        at += step as u64;
    }
    Ok(hasher.finish())
}
