//! Signatures of sigstore's `cosign` (cosign's specs/SIGNATURE_SPEC.md). They are in an image manifest at the tag
//! `ALGORITHM-HEX.sig`. Each of its layers is a signed statement, with its signature in an annotation.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use base64::prelude::{BASE64_STANDARD, Engine};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::TagLookup;
use super::key::PublicKey;
use crate::digest::{Digest, Hashed};
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::hint;
use crate::image::manifest::{Descriptor, ManifestDocument};
use crate::image::source::ImageSource;

/// Media type of a layer with a signed statement.
const MEDIA_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const ANNOTATION: &str = "dev.cosignproject.cosign/signature";
const TYPE: &str = "cosign container image signature";

/// Most bytes of a signed statement; a normal one has some 200.
const LARGEST_PAYLOAD: u64 = 64 << 10;
/// Most signatures that are checked.
const MOST: usize = 256;

/// A statement and its signature, not verified yet.
pub struct Signature {
    payload: Arc<[u8]>,
    // Text of the annotation.
    base64: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignaturePayload {
    critical: Critical,
    #[serde(rename = "optional")]
    _optional: IgnoredAny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Critical {
    r#type: String,
    image: SignedImage,
    identity: SignedReference,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct SignedImage {
    docker_manifest_digest: Digest,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct SignedReference {
    docker_reference: String,
}

/// Fetches all signatures of the image `digest`. Errors: no signature; the manifest at their tag is malformed or too
/// large.
pub fn fetch(digest: &Digest, neighbour: &TagLookup<'_>) -> Result<Vec<Signature>> {
    let tag = format!("{}-{}.sig", digest.algorithm().name(), digest.hex());
    let none =
        |why: String| Error::refused(format!("no signature: {why}")).hint(hint::SIGN_RECURSIVELY);
    let Some(source) = neighbour(&tag)? else {
        return Err(none(format!("there is nothing at the tag {tag}")));
    };
    let read = || read_all(&*source).context(|| source.describe());
    match read()? {
        signatures if signatures.is_empty() => Err(none(format!("none at the tag {tag}"))),
        signatures => Ok(signatures),
    }
}

fn read_all(source: &dyn ImageSource) -> Result<Vec<Signature>> {
    let fetched = source.manifest(None)?;
    let ManifestDocument::Manifest(manifest) =
        ManifestDocument::parse(&fetched.bytes, fetched.media_type.as_deref())?
    else {
        fail!("an index, not the manifest of signatures");
    };
    let layers: Vec<_> =
        manifest.layers.into_iter().filter(|layer| layer.media_type == MEDIA_TYPE).collect();
    if layers.len() > MOST {
        fail!("{} signatures, more than {MOST}", layers.len());
    }
    // A signer who signs again signs the same statement.
    let mut payloads: BTreeMap<Digest, Arc<[u8]>> = BTreeMap::new();
    let mut signatures = Vec::new();
    for layer in layers {
        let Some(base64) = layer.annotations.get(ANNOTATION).cloned() else { continue };
        let payload = match payloads.get(&layer.digest) {
            Some(payload) => payload.clone(),
            None => read_payload(source, &layer)?,
        };
        payloads.insert(layer.digest, payload.clone());
        signatures.push(Signature { payload, base64 });
    }
    Ok(signatures)
}

fn read_payload(source: &dyn ImageSource, layer: &Descriptor) -> Result<Arc<[u8]>> {
    if layer.size > LARGEST_PAYLOAD {
        fail!("signed statement {}: larger than {LARGEST_PAYLOAD} bytes", layer.digest);
    }
    let mut bytes = Vec::new();
    let mut blob = Hashed::new(source.blob(layer, 0)?.take(layer.size), layer.digest.algorithm());
    blob.read_to_end(&mut bytes).context(|| format!("signed statement {}", layer.digest))?;
    let (digest, length) = blob.finish();
    if digest != layer.digest || length != layer.size {
        fail!("signed statement {}: what came is {digest}, of {length} bytes", layer.digest);
    }
    Ok(bytes.into())
}

/// Checks that one of `signatures` is by one of `keys`, of this image, under a name that `accepts`. Errors: the reasons
/// why none is.
pub fn verify(
    signatures: &[Signature],
    keys: &[PublicKey],
    digest: &Digest,
    accepts: &dyn Fn(&str) -> bool,
) -> Result<()> {
    let mut reasons: Vec<Error> = Vec::new();
    for signature in signatures {
        match signature.verify(keys, digest, accepts) {
            Ok(()) => return Ok(()),
            Err(error) => reasons.push(error),
        }
    }
    if reasons.len() == 1 {
        return reasons.pop().map_or(Ok(()), Err);
    }
    let count = signatures.len();
    Err(Error::joined(&reasons)).context(|| format!("none of {count} signatures holds"))
}

impl Signature {
    /// Verifies the signature first: the statement is not parsed before.
    fn verify(
        &self,
        keys: &[PublicKey],
        digest: &Digest,
        accepts: &dyn Fn(&str) -> bool,
    ) -> Result<()> {
        let Ok(bytes) = BASE64_STANDARD.decode(&self.base64) else {
            fail!("the signature is not base64");
        };
        if !keys.iter().any(|key| key.has_signed(&self.payload, &bytes)) {
            fail!(Refused: "the signature is not by the policy's key, or not of what it stands beside");
        }
        let SignaturePayload { critical, .. } = serde_json::from_slice(&self.payload)
            .map_err(Error::new)
            .context(|| "the signed statement")?;
        if critical.r#type != TYPE {
            fail!("a signed statement of the type '{}'", critical.r#type.escape_debug());
        }
        let signed = critical.image.docker_manifest_digest;
        if signed != *digest {
            fail!(Refused: "the signature is of another image, {signed}, not of {digest}");
        }
        let name = critical.identity.docker_reference;
        if !accepts(&name) {
            return Err(Error::refused(format!(
                "the signature is for the name '{}', which the policy's signedIdentity does not accept",
                name.escape_debug()
            ))
            .hint("cosign signs repositories, without tag: \"signedIdentity\": {\"type\": \"matchRepository\"}"));
        }
        Ok(())
    }
}
