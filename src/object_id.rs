//! IDs of containers, networks, endpoints and anonymous volumes.

use crate::error::{Context, Error, Result};

/// Returns a random ID: 64 hexadecimal digits.
pub fn random_id() -> Result<String> {
    let mut bytes = [0u8; 32];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(Error::from)
        .context(|| "cannot get random bytes")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Returns the first 12 digits of an ID, as docker shows it.
pub fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}
