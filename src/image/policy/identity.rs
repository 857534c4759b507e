//! `signedIdentity`: checks the name in a signature against that of the image. Without this check, a signer's signature
//! of one image would be valid for any other image of the same signer.

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::image::reference::{DOCKER_HUB, Reference, TypedReference};

/// Name that a signature must give the image.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", deny_unknown_fields)]
pub enum SignedIdentity {
    /// The image's own name, tag or digest included.
    MatchExact {},
    /// The image's own name; the repository for an image named by digest. The default.
    MatchRepoDigestOrExact {},
    /// The image's repository (the identity that `cosign sign` writes).
    MatchRepository {},
    /// A fixed name.
    #[serde(rename_all = "camelCase")]
    ExactReference {
        /// Name with a tag or digest.
        docker_reference: ExactReference,
    },
    /// A fixed repository.
    #[serde(rename_all = "camelCase")]
    ExactRepository {
        /// Name of the repository; a tag or digest is ignored.
        docker_repository: SignedName,
    },
    /// As [`SignedIdentity::MatchRepoDigestOrExact`], after replacing `prefix`.
    #[serde(rename_all = "camelCase")]
    RemapIdentity {
        /// A registry, or a namespace or repository of it.
        prefix: NamePrefix,
        /// Replacement for the prefix in the signature.
        signed_prefix: NamePrefix,
    },
}

impl Default for SignedIdentity {
    fn default() -> Self {
        Self::MatchRepoDigestOrExact {}
    }
}

/// A name, completed as docker does, but without `latest` if the name has neither tag nor digest.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct SignedName {
    complete: Reference,
    is_bare: bool,
}

impl TryFrom<String> for SignedName {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        Self::parse(&text)
    }
}

impl SignedName {
    fn parse(text: &str) -> Result<Self> {
        let typed: TypedReference = text.parse()?;
        let is_bare = typed.tag.is_none() && typed.digest.is_none();
        Ok(Self { complete: typed.in_registry(DOCKER_HUB), is_bare })
    }
}

/// A name with a tag or digest.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ExactReference(Reference);

impl TryFrom<String> for ExactReference {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        let name = SignedName::parse(&text)?;
        match name.is_bare {
            true => Err(Error::new(format!("'{text}' has neither a tag nor a digest"))),
            false => Ok(Self(name.complete)),
        }
    }
}

/// A complete name without tag and digest: `REGISTRY[/COMPONENT...]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct NamePrefix(String);

impl TryFrom<String> for NamePrefix {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        let inside = format!("{text}/x").parse::<TypedReference>();
        match inside.is_ok_and(|typed| typed.registry.is_some()) {
            true => Ok(Self(text)),
            false => Err(Error::new(format!(
                "'{}' is not the beginning of a complete name, such as docker.io/library",
                text.escape_debug()
            ))),
        }
    }
}

impl NamePrefix {
    /// The rest of `name` after this prefix: empty, or a slash and more. `None`: `name` lacks the prefix.
    fn rest<'a>(&self, name: &'a str) -> Option<&'a str> {
        let rest = name.strip_prefix(&*self.0)?;
        (rest.is_empty() || rest.starts_with('/')).then_some(rest)
    }
}

impl SignedIdentity {
    /// True if a signature for the name `signed` is valid for `image`; `None`: an image without such a name (from a
    /// folder).
    pub(super) fn accepts(&self, image: Option<&Reference>, signed: &str) -> bool {
        let Ok(signed) = SignedName::parse(signed) else { return false };
        let same_name = |image: &Reference| image.name() == signed.complete.name();
        match (self, image) {
            (Self::ExactReference { docker_reference: ExactReference(exact) }, _) => {
                !signed.is_bare && *exact == signed.complete
            }
            (Self::ExactRepository { docker_repository }, _) => {
                same_name(&docker_repository.complete)
            }
            (_, None) => false,
            (Self::MatchRepository {}, Some(image)) => same_name(image),
            (Self::MatchExact {}, Some(image)) => {
                !signed.is_bare && without_idle_tag(image) == signed.complete
            }
            (Self::MatchRepoDigestOrExact {}, Some(image)) => {
                matches_digest_or_exact(image, &signed)
            }
            (Self::RemapIdentity { prefix, signed_prefix }, Some(image)) => {
                match remap(image, prefix, signed_prefix) {
                    Some(image) => matches_digest_or_exact(&image, &signed),
                    None => false,
                }
            }
        }
    }
}

/// Removes a tag beside a digest: the digest identifies the image, and the registry is not asked for the tag either
/// (containers/image drops it).
fn without_idle_tag(image: &Reference) -> Reference {
    let tag = image.tag.clone().filter(|_| image.digest.is_none());
    Reference { tag, ..image.clone() }
}

fn matches_digest_or_exact(image: &Reference, signed: &SignedName) -> bool {
    !signed.is_bare
        && match image.digest {
            Some(_) => image.name() == signed.complete.name(),
            None => *image == signed.complete,
        }
}

/// The image with its prefix replaced; unchanged if its name does not begin with `from`. `None`: the new name is
/// invalid.
fn remap(image: &Reference, from: &NamePrefix, to: &NamePrefix) -> Option<Reference> {
    let name = image.name();
    let Some(rest) = from.rest(&name) else { return Some(image.clone()) };
    let typed: TypedReference = format!("{}{rest}", to.0).parse().ok()?;
    // A registry alone names no image.
    typed.registry.as_ref()?;
    let renamed = typed.in_registry(DOCKER_HUB);
    Some(Reference { registry: renamed.registry, repository: renamed.repository, ..image.clone() })
}
