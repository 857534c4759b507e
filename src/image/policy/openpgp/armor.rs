//! ASCII armor (RFC 9580, 6): base64 between two lines. The checksum is not read: signatures find every damage.

use base64::prelude::{BASE64_STANDARD, Engine};

use crate::error::{Error, Result};
use crate::fail;

/// First line of a block with this label.
pub(super) fn first_line(label: &str) -> String {
    format!("-----BEGIN PGP {label}-----")
}

/// Decodes all blocks with this label in `text`, one after the other. Errors: no block; one that has no end, or is no
/// base64.
pub(super) fn decode(text: &str, label: &str) -> Result<Vec<u8>> {
    let (first, last) = (first_line(label), format!("-----END PGP {label}-----"));
    let mut lines = text.lines().map(str::trim_end);
    let mut bytes = Vec::new();
    let mut count = 0;
    while lines.by_ref().any(|line| line == first) {
        count += 1;
        // Headers, such as Version, end with an empty line.
        let mut body = lines.by_ref().skip_while(|line| !line.is_empty()).skip(1);
        let mut base64 = String::new();
        loop {
            match body.next() {
                Some(line) if line == last => break,
                Some(line) if line.starts_with('=') => {}
                Some(line) => base64.push_str(line),
                None => fail!(Invalid: "the block '{label}' has no end"),
            }
        }
        let decoded = BASE64_STANDARD.decode(base64);
        bytes.extend(
            decoded.map_err(|_| Error::invalid(format!("the block '{label}' is not base64")))?,
        );
    }
    match count {
        0 => fail!(Invalid: "no block '{label}'"),
        _ => Ok(bytes),
    }
}
