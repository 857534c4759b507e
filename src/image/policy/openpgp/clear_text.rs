//! Texts with a clear-text signature (RFC 9580, 7).

use super::armor;
use super::packet::{SIGNATURE, packets};
use super::signature::{OF_TEXT, SignaturePacket};
use crate::error::{Error, Result};
use crate::fail;

/// Label of the signatures in ASCII armor.
const LABEL: &str = "SIGNATURE";
/// Most signatures of a text.
const MOST_SIGNATURES: usize = 8;

/// Text and its signatures, none of them verified.
#[derive(Debug)]
pub(super) struct ClearText {
    /// Signed text: lines end with CR and LF, but for the last.
    pub(super) text: String,
    /// Signatures of texts.
    pub(super) signatures: Vec<SignaturePacket>,
}

impl ClearText {
    /// Parses a text. Ignores what follows its signatures. Errors: none, or a damaged one.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        let Ok(whole) = std::str::from_utf8(bytes) else { fail!(Invalid: "not a text") };
        let first = armor::first_line("SIGNED MESSAGE");
        let mut lines = whole.split_inclusive('\n');
        if lines.next().map(str::trim_end) != Some(&*first) {
            fail!(Invalid: "it does not begin with {first}");
        }
        loop {
            match lines.next().map(str::trim_end) {
                Some("") => break,
                Some(line) if line.starts_with("Hash: ") => {}
                Some(line) => {
                    let line: String = line.chars().take(60).collect();
                    fail!(Invalid: "unknown header '{}'", line.escape_debug());
                }
                None => fail!(Invalid: "it has no text"),
            }
        }
        let end = armor::first_line(LABEL);
        let mut text: Vec<&str> = Vec::new();
        let mut behind = whole.len();
        for line in lines {
            // Ends of lines, and blanks before them, are not signed.
            let content = line.trim_end_matches([' ', '\t', '\r', '\n']);
            if content == end {
                // A part of `whole`.
                behind = line.as_ptr().addr() - whole.as_ptr().addr();
                break;
            }
            text.push(match content.strip_prefix("- ") {
                Some(escaped) => escaped,
                None if content.starts_with('-') => fail!(Invalid: "a line with an unescaped '-'"),
                None => content,
            });
        }
        let packets_of = armor::decode(whole.get(behind..).unwrap_or_default(), LABEL)?;
        let signatures = signatures(&packets_of)?;
        Ok(Self { text: text.join("\r\n"), signatures })
    }
}

fn signatures(bytes: &[u8]) -> Result<Vec<SignaturePacket>> {
    let mut found = Vec::new();
    for packet in packets(bytes).take(MOST_SIGNATURES) {
        let packet = packet?;
        let parsed = (packet.tag == SIGNATURE).then(|| SignaturePacket::parse(packet.body));
        found.extend(parsed.flatten().filter(|signature| signature.r#type == OF_TEXT));
    }
    match found.is_empty() {
        true => Err(Error::invalid("no OpenPGP signature of a text, version 4")),
        false => Ok(found),
    }
}
