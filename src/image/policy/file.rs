//! The JSON of `policy.json`, parsed strictly: a field overlooked here would be an image that nobody verified. Unknown
//! and repeated keys, empty lists and invalid keys are errors.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use base64::prelude::{BASE64_STANDARD, Engine};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::identity::SignedIdentity;
use super::key::PublicKey;
use super::openpgp::{Certificate, read_certificates};
use super::signed_file::FileKeys;
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::image::reference::Reference;

/// Most bytes of a file of OpenPGP keys.
const LARGEST_KEY_FILE: u64 = 8 << 20;

/// A requirement for accepting an image.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
#[serde(deny_unknown_fields)]
pub enum Requirement {
    /// Accepts every image.
    InsecureAcceptAnything {},
    /// Refuses every image.
    Reject {},
    /// Keys of GPG. Signatures in SIF files are verified; those of registries, "simple signing", are not.
    SignedBy(SignedBy),
    /// Never specified further; containers/image refuses it too.
    #[serde(rename_all = "camelCase")]
    SignedBaseLayer {
        /// Identity of the base layer.
        base_layer_identity: SignedIdentity,
    },
    /// A signature of sigstore's `cosign`.
    SigstoreSigned(Box<SigstoreSigned>),
}

/// `signedBy`: requires a signature by any of the keys.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SignedBy {
    key_type: KeyType,
    key_path: Option<PathBuf>,
    key_paths: Option<Vec<PathBuf>>,
    key_data: Option<Base64Data>,
    signed_identity: Option<SignedIdentity>,
}

#[derive(Debug, PartialEq, Deserialize)]
enum KeyType {
    #[serde(rename = "GPGKeys")]
    GpgKeys,
    #[serde(rename = "signedByGPGKeys")]
    SignedByGpgKeys,
    X509Certificates,
    #[serde(rename = "signedByX509CAs")]
    SignedByX509Cas,
}

/// `sigstoreSigned`: requires a signature by any of the keys.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SigstoreSigned {
    key_path: Option<PathBuf>,
    key_paths: Option<Vec<PathBuf>>,
    key_data: Option<Base64Data>,
    key_datas: Option<Vec<Base64Data>>,
    fulcio: Option<Fulcio>,
    pki: Option<Pki>,
    rekor_public_key_path: Option<PathBuf>,
    rekor_public_key_paths: Option<Vec<PathBuf>>,
    rekor_public_key_data: Option<Base64Data>,
    rekor_public_key_datas: Option<Vec<Base64Data>>,
    signed_identity: Option<SignedIdentity>,
}

// Fields of unsupported forms: parsed so that a misspelt key is still an error.
#[allow(dead_code)]
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Fulcio {
    #[serde(rename = "caPath")]
    ca_path: Option<PathBuf>,
    #[serde(rename = "caData")]
    ca_data: Option<Base64Data>,
    oidc_issuer: String,
    subject_email: String,
}

#[allow(dead_code)]
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pki {
    #[serde(rename = "caRootsPath")]
    roots_path: Option<PathBuf>,
    #[serde(rename = "caRootsData")]
    roots_data: Option<Base64Data>,
    #[serde(rename = "caIntermediatesPath")]
    intermediates_path: Option<PathBuf>,
    #[serde(rename = "caIntermediatesData")]
    intermediates_data: Option<Base64Data>,
    #[serde(rename = "subjectEmail")]
    email: Option<String>,
    #[serde(rename = "subjectHostname")]
    hostname: Option<String>,
}

impl Requirement {
    /// The requirement's `type`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::InsecureAcceptAnything {} => "insecureAcceptAnything",
            Self::Reject {} => "reject",
            Self::SignedBy(_) => "signedBy",
            Self::SignedBaseLayer { .. } => "signedBaseLayer",
            Self::SigstoreSigned(_) => "sigstoreSigned",
        }
    }

    /// The keys of which one must have signed; empty if no signature is required. Errors: unsupported here, or an
    /// unreadable key.
    pub(super) fn keys(&self) -> Result<Vec<PublicKey>> {
        match self {
            Self::InsecureAcceptAnything {} => Ok(Vec::new()),
            Self::Reject {} => Err(rejected()),
            Self::SignedBy(_) | Self::SignedBaseLayer { .. } => {
                Err(not_here("GPG's signatures (simple signing)"))
            }
            Self::SigstoreSigned(signed) => signed.supported_keys(),
        }
    }

    /// The keys of which one must have signed a file that carries its signatures. `None`: no signature is required.
    /// Errors: unsupported here, or an unreadable key.
    pub(super) fn file_keys(&self) -> Result<Option<FileKeys>> {
        let (keys, identity) = match self {
            Self::InsecureAcceptAnything {} => return Ok(None),
            Self::Reject {} => return Err(rejected()),
            Self::SignedBaseLayer { .. } => return Err(not_here("signatures of base layers")),
            Self::SignedBy(signed) => {
                (FileKeys::OpenPgp(signed.read_keys()?), &signed.signed_identity)
            }
            Self::SigstoreSigned(signed) => {
                (FileKeys::Sigstore(signed.supported_keys()?), &signed.signed_identity)
            }
        };
        match identity {
            None => Ok(Some(keys)),
            Some(_) => Err(Error::invalid("the signatures of a SIF file name no image")
                .hint("leave signedIdentity out of the rule for these files")),
        }
    }

    fn check(&self) -> Result<()> {
        match self {
            Self::SignedBy(signed) => one_of(
                "keyPath, keyPaths, keyData",
                [signed.key_path.is_some(), signed.key_paths.is_some(), signed.key_data.is_some()],
            ),
            Self::SigstoreSigned(signed) => signed.check(),
            _ => Ok(()),
        }
    }
}

fn rejected() -> Error {
    Error::refused("images from there are rejected")
}

fn not_here(what: &str) -> Error {
    Error::new(format!("{what} cannot be verified here"))
        .hint("of signatures, those made with sigstore keys are known (sigstoreSigned with keyPath or keyData)")
}

impl SignedBy {
    fn read_keys(&self) -> Result<Vec<Certificate>> {
        if self.key_type != KeyType::GpgKeys {
            return Err(Error::new("keys of this keyType are not known").hint("GPGKeys is known"));
        }
        let paths = self.key_path.iter().chain(self.key_paths.iter().flatten()).map(|path| {
            let bytes = read_key_file(path);
            let keys = bytes.and_then(|bytes| read_certificates(&bytes));
            keys.context(|| format!("key {}", path.display()))
        });
        let data = self.key_data.iter();
        let data = data.map(|data| read_certificates(&data.0).context(|| "keyData"));
        let keys: Result<Vec<Vec<_>>> = paths.chain(data).collect();
        Ok(keys?.into_iter().flatten().collect())
    }
}

/// Reads a file of keys. Errors: unreadable; too large.
fn read_key_file(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LARGEST_KEY_FILE + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > LARGEST_KEY_FILE {
        true => fail!(Invalid: "more than {LARGEST_KEY_FILE} bytes"),
        false => Ok(bytes),
    }
}

impl SigstoreSigned {
    /// Name that the signature must give the image.
    pub(super) fn accepts(&self, image: Option<&Reference>, signed: &str) -> bool {
        let default = SignedIdentity::default();
        self.signed_identity.as_ref().unwrap_or(&default).accepts(image, signed)
    }

    fn supported_keys(&self) -> Result<Vec<PublicKey>> {
        if self.fulcio.is_some() || self.pki.is_some() {
            return Err(not_here("sigstore's certificates (fulcio, pki)"));
        }
        if self.has_rekor() {
            return Err(not_here("entries of a transparency log (rekor)"));
        }
        self.read_keys()
    }

    fn has_rekor(&self) -> bool {
        self.rekor_public_key_path.is_some()
            || self.rekor_public_key_paths.is_some()
            || self.rekor_public_key_data.is_some()
            || self.rekor_public_key_datas.is_some()
    }

    fn check(&self) -> Result<()> {
        one_of(
            "keyPath, keyPaths, keyData, keyDatas, fulcio, pki",
            [
                self.key_path.is_some(),
                self.key_paths.is_some(),
                self.key_data.is_some(),
                self.key_datas.is_some(),
                self.fulcio.is_some(),
                self.pki.is_some(),
            ],
        )?;
        let no_paths = |paths: &Option<Vec<PathBuf>>| paths.as_ref().is_some_and(Vec::is_empty);
        let no_datas = |datas: &Option<Vec<Base64Data>>| datas.as_ref().is_some_and(Vec::is_empty);
        if no_paths(&self.key_paths) || no_datas(&self.key_datas) {
            fail!("no key: the list is empty");
        }
        Ok(())
    }

    fn read_keys(&self) -> Result<Vec<PublicKey>> {
        let paths = self.key_path.iter().chain(self.key_paths.iter().flatten()).map(|path| {
            let pem = std::fs::read(path).map_err(Error::from);
            pem.and_then(|pem| PublicKey::from_pem(&pem))
                .context(|| format!("key {}", path.display()))
        });
        let datas = self.key_data.iter().chain(self.key_datas.iter().flatten());
        let datas = datas.map(|data| PublicKey::from_pem(&data.0).context(|| "keyData"));
        paths.chain(datas).collect()
    }
}

fn one_of<const N: usize>(names: &str, there: [bool; N]) -> Result<()> {
    match there.into_iter().filter(|there| *there).count() {
        1 => Ok(()),
        0 => fail!("none of {names}"),
        _ => fail!("more than one of {names}"),
    }
}

/// Errors: no requirements, or a contradictory one.
pub fn check(requirements: &[Requirement]) -> Result<()> {
    if requirements.is_empty() {
        fail!(
            "no requirements: to accept everything, write [{{\"type\": \"insecureAcceptAnything\"}}]"
        );
    }
    requirements.iter().try_for_each(|one| one.check().context(|| one.name()))
}

/// Bytes in base64.
#[derive(Debug)]
struct Base64Data(Vec<u8>);

impl<'de> Deserialize<'de> for Base64Data {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        // Go's decoder also skips line ends.
        let text: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
        let bytes = BASE64_STANDARD.decode(text);
        Ok(Self(bytes.map_err(|error| D::Error::custom(format_args!("not base64: {error}")))?))
    }
}

/// A JSON object whose keys are unique.
#[derive(Debug)]
pub struct UniqueKeys<T>(pub BTreeMap<String, T>);

impl<T> Default for UniqueKeys<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for UniqueKeys<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct UniqueKeysVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for UniqueKeysVisitor<T> {
            type Value = UniqueKeys<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Self::Value, A::Error> {
                let mut map = BTreeMap::new();
                while let Some(key) = pairs.next_key::<String>()? {
                    if map.contains_key(&key) {
                        return Err(A::Error::custom(format_args!("'{key}' stands there twice")));
                    }
                    map.insert(key, pairs.next_value()?);
                }
                Ok(UniqueKeys(map))
            }
        }
        from.deserialize_map(UniqueKeysVisitor(PhantomData))
    }
}
