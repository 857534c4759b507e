//! Public keys for image signatures: PEM in, a verdict out. Supports the kinds that `cosign` makes or imports.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer};
use webpki::ring::{
    ECDSA_P256_SHA256, ECDSA_P384_SHA256, ECDSA_P384_SHA384, ED25519, RSA_PKCS1_2048_8192_SHA256,
};
use webpki::{Error as Verdict, RawPublicKeyEntity};

use crate::error::{Error, Result};
use crate::fail;

/// Cosign hashes with SHA-256 whatever the key; newer versions use SHA-384 for P-384.
const ALGORITHMS: [&dyn SignatureVerificationAlgorithm; 5] =
    [ECDSA_P256_SHA256, ECDSA_P384_SHA256, ECDSA_P384_SHA384, ED25519, RSA_PKCS1_2048_8192_SHA256];

/// A public key of a known kind.
#[derive(Debug)]
pub struct PublicKey(SubjectPublicKeyInfoDer<'static>);

impl PublicKey {
    /// Parses `-----BEGIN PUBLIC KEY-----`. Errors: no such block; an unknown kind of key.
    pub fn from_pem(pem: &[u8]) -> Result<Self> {
        let hint = "a file that begins with '-----BEGIN PUBLIC KEY-----', such as cosign.pub";
        let Ok(key) = SubjectPublicKeyInfoDer::from_pem_slice(pem) else {
            return Err(Error::new("not a public key in PEM").hint(hint));
        };
        let key = Self(key);
        // An empty signature is merely wrong for a known kind of key.
        let known = |verdict| matches!(verdict, Err(Verdict::InvalidSignatureForPublicKey));
        if !key.verdicts(b"", b"").any(known) {
            fail!("not a key of a known kind: ECDSA on P-256 or P-384, Ed25519, RSA");
        }
        Ok(key)
    }

    /// True if the key made this signature of this message.
    pub fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        self.verdicts(message, signature).any(|verdict| verdict.is_ok())
    }

    fn verdicts(
        &self,
        message: &[u8],
        signature: &[u8],
    ) -> impl Iterator<Item = Result<(), Verdict>> {
        ALGORITHMS.into_iter().map(move |algorithm| {
            RawPublicKeyEntity::try_from(&self.0)?.verify_signature(algorithm, message, signature)
        })
    }
}
