//! OpenPGP (RFC 9580, and RFC 4880 before it): public keys of version 4, and texts with a clear-text signature.
//!
//! ```text
//!  octets       cursor over bytes                 certificate  key with its users, subkeys and their signatures
//!  armor        base64 between two lines          clear_text   signed text, signatures behind it
//!  packet       bodies and their tags             verify       validity of keys, and verdict on a text
//!  material     public keys, by ring
//!  signature    signature packet
//! ```
//!
//! Written here because the libraries bring some hundred crates; the mathematics are ring's. Supports RSA from 2048 bits,
//! ECDSA on P-256 and P-384, and Ed25519, with SHA-256, SHA-384 and SHA-512. A signature by anything else is void, but
//! for a revocation: that counts.

mod armor;
mod certificate;
mod clear_text;
mod material;
mod octets;
mod packet;
mod signature;
#[cfg(test)]
mod tests;
mod verify;

pub use self::certificate::{Certificate, read_certificates};
pub use self::verify::verify_clear_text;
