//! Acceptance of images: `policy.json`, in the format of containers-policy.json(5) and read as podman does.
//!
//! ```text
//!  Origin --scopes--> requirements --check_before--> reject, or not verifiable here: refused, nothing fetched
//!                          |------------verify-----> sigstoreSigned: sha256-HEX.sig beside the image
//!                          `------verify_in_file---> signedBy, sigstoreSigned: signatures in a SIF file
//! ```
//!
//! Reads the first file that exists: `$XDG_CONFIG_HOME/containers/policy.json` (`~/.config`),
//! `/etc/containers/policy.json`, `/usr/share/containers/policy.json`. Without a file everything is accepted, as in
//! docker. Podman refuses everything then, but a program that needs a file to be usable at all protects nobody. The
//! file is honoured in full: unknown keys, types and scopes are errors. Requirements that cannot be verified here
//! (GPG's `signedBy` for images of registries, Fulcio, PKI, Rekor) refuse the images that they apply to, and only those.

mod envelope;
mod file;
mod identity;
mod key;
mod openpgp;
mod scope;
mod signature;
mod signed_file;

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use self::file::UniqueKeys;
pub use self::file::{Requirement, SigstoreSigned};
pub use self::identity::SignedIdentity;
pub use self::scope::ImageOrigin;
use self::signature::Signature;
pub use self::signed_file::{FileApproval, FileKeys, SignedStatement};
use super::source::ImageSource;
use crate::config;
use crate::digest::Digest;
use crate::error::{Context, Error, Result};

/// Finds the source for a tag of the image's own repository; `None`: no such tag. For a registry:
/// `|tag| registry.sibling(tag)`.
pub type TagLookup<'a> = dyn Fn(&str) -> Result<Option<Box<dyn ImageSource>>> + 'a;

/// A policy: requirements for images, by origin.
#[derive(Debug)]
pub struct SignaturePolicy {
    // Path for messages; `None`: no file.
    path: Option<PathBuf>,
    default: Vec<Requirement>,
    transports: BTreeMap<String, BTreeMap<String, Vec<Requirement>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyFile {
    default: Vec<Requirement>,
    #[serde(default)]
    transports: UniqueKeys<UniqueKeys<Vec<Requirement>>>,
}

impl SignaturePolicy {
    /// Loads the user's policy, else the machine's, else one that accepts everything. Errors: as of
    /// [`SignaturePolicy::load_from`].
    pub fn load() -> Result<Self> {
        let folders = ["/etc", "/usr/share"].map(PathBuf::from);
        for folder in config::user_folder().into_iter().chain(folders) {
            let path = folder.join("containers/policy.json");
            match fs::read_to_string(&path) {
                Err(error)
                    if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
                read => return Self::parse(&path, &read.context(|| cannot_read(&path))?),
            }
        }
        Ok(Self {
            path: None,
            default: vec![Requirement::InsecureAcceptAnything {}],
            transports: BTreeMap::new(),
        })
    }

    /// Loads the policy in the file `path` (`--signature-policy`). Errors: unreadable; not a policy.
    pub fn load_from(path: &Path) -> Result<Self> {
        Self::parse(path, &fs::read_to_string(path).context(|| cannot_read(path))?)
    }

    fn parse(path: &Path, text: &str) -> Result<Self> {
        let parse = || -> Result<Self> {
            let file: PolicyFile = serde_json::from_str(text).map_err(Error::new)?;
            let transports = file.transports.0.into_iter().map(|(name, scopes)| (name, scopes.0));
            let policy = Self {
                path: Some(path.to_owned()),
                default: file.default,
                transports: transports.collect(),
            };
            policy.check().map(|()| policy)
        };
        parse()
            .hint(|| "see containers-policy.json(5)")
            .context(|| format!("signature policy {}", path.display()))
    }

    /// Checks the rules beyond the grammar of JSON.
    fn check(&self) -> Result<()> {
        file::check(&self.default).context(|| "default")?;
        for (transport, scopes) in &self.transports {
            for (scope, requirements) in scopes {
                let name = || rule_name(transport, scope);
                scope::check(transport, scope).context(name)?;
                file::check(requirements).context(name)?;
            }
        }
        Ok(())
    }

    /// The requirements for an image of this origin; all must hold.
    pub fn requirements(&self, origin: &ImageOrigin) -> &[Requirement] {
        self.rule(origin).1
    }

    /// The rule for images of this origin: its name and requirements.
    fn rule(&self, origin: &ImageOrigin) -> (String, &[Requirement]) {
        let scopes = self.transports.get(origin.transport());
        let found = scopes.and_then(|scopes| {
            let all = origin.scopes().iter().map(String::as_str).chain([""]);
            all.into_iter().find_map(|scope| scopes.get_key_value(scope))
        });
        match found {
            Some((scope, requirements)) => (rule_name(origin.transport(), scope), requirements),
            None => ("default".to_owned(), &self.default),
        }
    }

    /// Checks everything that needs no download. Errors: the image is rejected, or a requirement cannot be verified
    /// here: an unsupported kind of signature, an unreadable key.
    pub fn check_before(&self, origin: &ImageOrigin) -> Result<()> {
        let (rule, requirements) = self.rule(origin);
        requirements.iter().try_for_each(|requirement| {
            requirement.keys().map(drop).context(|| self.refusal(origin, &rule, requirement))
        })
    }

    /// Verifies the image whose manifest has the digest `digest`, by its signatures at the tag `ALGORITHM-HEX.sig`.
    ///
    /// If the reference names an index, `digest` is that of the manifest chosen from it for the platform, not the
    /// index's own. containers/image verifies the same (copy/single.go), so an index must be signed with all its
    /// manifests (`cosign sign --recursive`). The caller checks that the manifest has this digest and belongs to the
    /// reference. Errors: as of [`SignaturePolicy::check_before`]; no valid signature; a failed download of signatures.
    pub fn verify(
        &self,
        origin: &ImageOrigin,
        digest: &Digest,
        neighbour: &TagLookup<'_>,
    ) -> Result<()> {
        let (rule, requirements) = self.rule(origin);
        // Fetched once, for all requirements.
        let mut signatures: Option<Vec<Signature>> = None;
        for requirement in requirements {
            let mut hold = || -> Result<()> {
                let keys = requirement.keys()?;
                let Requirement::SigstoreSigned(signed) = requirement else { return Ok(()) };
                let fetched = match signatures.take() {
                    Some(fetched) => fetched,
                    None => signature::fetch(digest, neighbour)?,
                };
                let fetched = signatures.insert(fetched);
                signature::verify(fetched, &keys, digest, &|name| {
                    signed.accepts(origin.reference(), name)
                })
            };
            hold().context(|| self.refusal(origin, &rule, requirement))?;
        }
        Ok(())
    }

    /// Verifies a file of this origin that carries its signatures: `verify` checks them with the keys of a requirement,
    /// one of which must have signed. Errors: those of `verify`; the file is rejected; a requirement that cannot be
    /// verified here; an unreadable key.
    pub fn verify_in_file(
        &self,
        origin: &ImageOrigin,
        verify: &dyn Fn(&FileKeys) -> Result<()>,
    ) -> Result<FileApproval> {
        let (rule, requirements) = self.rule(origin);
        let mut approval = FileApproval::Unverified;
        for requirement in requirements {
            let hold = || -> Result<FileApproval> {
                let Some(keys) = requirement.file_keys()? else { return Ok(approval) };
                verify(&keys).map(|()| FileApproval::Verified)
            };
            approval = hold().context(|| self.refusal(origin, &rule, requirement))?;
        }
        Ok(approval)
    }

    /// Prefix of a refusal's message:
    /// `signature policy /etc/containers/policy.json: docker "q.io": sigstoreSigned: q.io/x:1`.
    fn refusal(&self, origin: &ImageOrigin, rule: &str, requirement: &Requirement) -> String {
        let path = self.path.as_deref().unwrap_or(Path::new("(none)")).display();
        format!("signature policy {path}: {rule}: {}: {origin}", requirement.name())
    }
}

fn cannot_read(path: &Path) -> String {
    format!("cannot read the signature policy {}", path.display())
}

fn rule_name(transport: &str, scope: &str) -> String {
    format!("{} \"{}\"", transport.escape_debug(), scope.escape_debug())
}

#[cfg(test)]
mod tests;
