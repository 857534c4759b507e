//! Policies: every rule of containers-policy.json(5), and signatures that openssl made.

mod grammar;
mod identities;
mod scopes;
mod signatures;

use std::path::Path;

use super::*;
use crate::image::Reference;

/// Parses `text` as the policy in `/p.json`.
fn policy(text: &str) -> Result<SignaturePolicy> {
    SignaturePolicy::parse(Path::new("/p.json"), text)
}

fn origin(reference: &str) -> ImageOrigin {
    ImageOrigin::registry(&reference.parse::<Reference>().unwrap())
}

/// A transport that finds no neighbours.
fn alone(_: &str) -> Result<Option<Box<dyn ImageSource>>> {
    Ok(None)
}
