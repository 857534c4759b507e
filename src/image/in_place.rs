//! Acceptance of files whose file systems are mounted in place: squashfs, and parts of SIF.

use std::path::Path;

use super::policy::{ImageOrigin, SignaturePolicy};
use super::{sif, squashfs};
use crate::error::{Error, Result};

/// Applies a signature policy to the file at `path`, of which the file system at `offset` is mounted. Errors: the policy
/// rejects the file, or requires a signature that it lacks.
pub fn approve(policy: &SignaturePolicy, path: &Path, offset: u64) -> Result<()> {
    match sif::open_at(path) {
        Some(file) => sif::approve_part(policy, &file, path, offset),
        None => approve_squashfs(policy, path),
    }
}

/// Applies a signature policy to the squashfs file at `path`. Errors: the policy rejects the file, or requires a
/// signature: there is none in such a file.
pub fn approve_squashfs(policy: &SignaturePolicy, path: &Path) -> Result<()> {
    let origin = ImageOrigin::local(squashfs::TRANSPORT, path, None)?;
    let verify = |_: &_| {
        Err(Error::refused("a squashfs file has no signatures")
            .hint("to accept the file, give its path a rule of its own for the transport 'sqsh'"))
    };
    policy.verify_in_file(&origin, &verify).map(drop)
}
