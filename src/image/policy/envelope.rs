//! Signed envelopes: DSSE, version 1 (secure-systems-lab/dsse, protocol.md and envelope.md).

use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::{BASE64_STANDARD, Engine};
use serde::Deserialize;

use super::key::PublicKey;
use crate::error::{Error, Result};
use crate::fail;

/// Most signatures of an envelope.
const MOST_SIGNATURES: usize = 16;
/// The other alphabet that an envelope may use.
const BASE64_URL: GeneralPurpose =
    GeneralPurpose::new(&alphabet::URL_SAFE, GeneralPurposeConfig::new());

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload_type: String,
    payload: String,
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Deserialize)]
struct EnvelopeSignature {
    sig: String,
}

/// Returns the content of an envelope that one of `keys` has signed. Errors: none has; a content of another type; a
/// damaged envelope.
pub(super) fn open(bytes: &[u8], media_type: &str, keys: &[PublicKey]) -> Result<Vec<u8>> {
    let envelope: Envelope = serde_json::from_slice(bytes)
        .map_err(|error| Error::invalid(format!("a damaged envelope: {error}")))?;
    let (content_type, signatures) = (envelope.payload_type, envelope.signatures);
    if signatures.len() > MOST_SIGNATURES {
        fail!(Invalid: "{} signatures in an envelope, more than {MOST_SIGNATURES}", signatures.len());
    }
    let Some(content) = decode(&envelope.payload) else {
        fail!(Invalid: "the content of an envelope is not base64");
    };
    // The type is signed too: a signature of something else is none of this.
    let kind = content_type.len().to_string();
    let length = content.len().to_string();
    let start = ["DSSEv1", &kind, &content_type, &length, ""].join(" ");
    let signed = [start.as_bytes(), &content].concat();
    let signatures = signatures.iter().filter_map(|one| decode(&one.sig));
    let is_signed = signatures
        .into_iter()
        .any(|signature| keys.iter().any(|key| key.has_signed(&signed, &signature)));
    if !is_signed {
        let error = "the envelope is not signed by the policy's key, or was changed since";
        return Err(Error::refused(error)
            .hint("put the signer's public key (PEM) in the policy's file, or fetch the file again from its origin"));
    }
    match content_type == media_type {
        true => Ok(content),
        false => {
            let kind: String = content_type.chars().take(100).collect();
            fail!(Refused: "the content of the envelope is of the type '{}'", kind.escape_debug())
        }
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    BASE64_STANDARD.decode(text).or_else(|_| BASE64_URL.decode(text)).ok()
}
