//! Signatures that a file carries, and the keys for them.

use std::time::SystemTime;

use super::envelope;
use super::key::PublicKey;
use super::openpgp::{Certificate, verify_clear_text};
use crate::error::Result;

/// Verdict on a file that no requirement refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileApproval {
    /// Signatures were verified.
    Verified,
    /// No signature was required.
    Unverified,
}

/// Keys of which one must have signed.
#[derive(Debug)]
pub enum FileKeys {
    /// Keys of OpenPGP, for texts with a clear-text signature.
    OpenPgp(Vec<Certificate>),
    /// Keys as sigstore's, for envelopes (DSSE).
    Sigstore(Vec<PublicKey>),
}

/// Content of a signature that one of the keys has made.
#[derive(Debug)]
pub struct SignedStatement {
    /// Signed content.
    pub content: Vec<u8>,
    /// Fingerprint of the signer's primary key, for OpenPGP.
    pub signer: Option<[u8; 20]>,
}

impl FileKeys {
    /// Form of the signatures by these keys, for messages.
    pub fn form(&self) -> &'static str {
        match self {
            Self::OpenPgp(_) => "OpenPGP",
            Self::Sigstore(_) => "DSSE",
        }
    }

    /// True if a signature has the form for these keys.
    pub fn suits(&self, signature: &[u8]) -> bool {
        let is_envelope = signature.trim_ascii_start().starts_with(b"{");
        matches!(self, Self::Sigstore(_)) == is_envelope
    }

    /// Verifies a signature with the content in it; `media_type` is that of contents of envelopes. Errors: none of the
    /// keys has signed it, or is valid now; a damaged signature.
    pub fn open(&self, signature: &[u8], media_type: &str) -> Result<SignedStatement> {
        match self {
            Self::OpenPgp(keys) => {
                let verified = verify_clear_text(signature, keys, SystemTime::now())?;
                Ok(SignedStatement {
                    content: verified.text.into_bytes(),
                    signer: Some(verified.signer),
                })
            }
            Self::Sigstore(keys) => {
                let content = envelope::open(signature, media_type, keys)?;
                Ok(SignedStatement { content, signer: None })
            }
        }
    }
}
