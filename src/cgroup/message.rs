//! D-Bus calls as bytes, little-endian: the part of the protocol that requests to a systemd manager need (D-Bus
//! Specification, "Message Protocol"). Full libraries start threads, which a launch cannot have, or bring thirty
//! crates.

use std::io::{self, Read};

/// Value of a property.
#[derive(Clone, Copy, Debug)]
pub enum BusValue<'a> {
    /// `s`
    Text(&'a str),
    /// `b`
    Truth(bool),
    /// `au`
    Numbers(&'a [u32]),
    /// `t`
    Amount(u64),
}

/// Marshalled arguments of a call.
#[derive(Debug, Default)]
pub struct BusBody {
    bytes: Vec<u8>,
    signature: &'static str,
}

const CALL: u8 = 1;
const RETURN: u8 = 2;
const ERROR: u8 = 3;
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;
/// Size limit of a message in bytes: no valid answer is longer.
const LONGEST: usize = 1 << 20;
/// Serial number of our calls.
const SERIAL: u32 = 1;

fn align(bytes: &mut Vec<u8>, to: usize) {
    bytes.resize(bytes.len().next_multiple_of(to), 0);
}

fn number(bytes: &mut Vec<u8>, number: u32) {
    align(bytes, 4);
    bytes.extend(number.to_le_bytes());
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    number(bytes, text.len() as u32);
    bytes.extend(text.as_bytes());
    bytes.push(0);
}

fn signature(bytes: &mut Vec<u8>, signature: &str) {
    bytes.push(signature.len() as u8);
    bytes.extend(signature.as_bytes());
    bytes.push(0);
}

/// Appends an array whose elements are aligned to `to`: its length excludes the padding before the first.
fn array(bytes: &mut Vec<u8>, to: usize, fill: impl FnOnce(&mut Vec<u8>)) {
    number(bytes, 0);
    let length_at = bytes.len() - 4;
    align(bytes, to);
    let start = bytes.len();
    fill(bytes);
    let length = (bytes.len() - start) as u32;
    bytes[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
}

fn variant(bytes: &mut Vec<u8>, value: BusValue<'_>) {
    match value {
        BusValue::Text(value) => {
            signature(bytes, "s");
            text(bytes, value);
        }
        BusValue::Truth(value) => {
            signature(bytes, "b");
            number(bytes, value.into());
        }
        BusValue::Numbers(values) => {
            signature(bytes, "au");
            array(bytes, 4, |bytes| values.iter().for_each(|value| number(bytes, *value)));
        }
        BusValue::Amount(value) => {
            signature(bytes, "t");
            align(bytes, 8);
            bytes.extend(value.to_le_bytes());
        }
    }
}

/// Appends properties as `a(sv)`.
fn write_properties(bytes: &mut Vec<u8>, properties: &[(&str, BusValue<'_>)]) {
    array(bytes, 8, |bytes| {
        for (name, value) in properties {
            align(bytes, 8);
            text(bytes, name);
            variant(bytes, *value);
        }
    });
}

impl BusBody {
    /// `ssa(sv)a(sa(sv))`: the arguments of StartTransientUnit, without auxiliary units.
    pub fn transient_unit(name: &str, mode: &str, properties: &[(&str, BusValue<'_>)]) -> Self {
        let mut bytes = Vec::new();
        text(&mut bytes, name);
        text(&mut bytes, mode);
        write_properties(&mut bytes, properties);
        array(&mut bytes, 8, |_| {});
        Self { bytes, signature: "ssa(sv)a(sa(sv))" }
    }

    /// `sba(sv)`: the arguments of SetUnitProperties, until the next boot.
    pub fn unit_properties(name: &str, properties: &[(&str, BusValue<'_>)]) -> Self {
        let mut bytes = Vec::new();
        text(&mut bytes, name);
        number(&mut bytes, true.into());
        write_properties(&mut bytes, properties);
        Self { bytes, signature: "sba(sv)" }
    }

    /// `ssau`: the arguments of AttachProcessesToUnit.
    pub fn processes_to_unit(name: &str, subgroup: &str, processes: &[u32]) -> Self {
        let mut bytes = Vec::new();
        text(&mut bytes, name);
        text(&mut bytes, subgroup);
        array(&mut bytes, 4, |bytes| processes.iter().for_each(|pid| number(bytes, *pid)));
        Self { bytes, signature: "ssau" }
    }

    /// `ss`: the arguments of Get, for a property.
    pub fn property(interface: &str, name: &str) -> Self {
        let mut bytes = Vec::new();
        text(&mut bytes, interface);
        text(&mut bytes, name);
        Self { bytes, signature: "ss" }
    }

    /// Builds a call of `member`. Its answer is read before the next call, so all calls have the same serial number.
    pub fn call(&self, destination: &str, path: &str, interface: &str, member: &str) -> Vec<u8> {
        let mut bytes = vec![b'l', CALL, 0, 1];
        number(&mut bytes, self.bytes.len() as u32);
        number(&mut bytes, SERIAL);
        array(&mut bytes, 8, |bytes| {
            let texts = [
                (PATH, "o", path),
                (DESTINATION, "s", destination),
                (INTERFACE, "s", interface),
                (MEMBER, "s", member),
            ];
            for (field, kind, value) in texts {
                align(bytes, 8);
                bytes.push(field);
                signature(bytes, kind);
                text(bytes, value);
            }
            align(bytes, 8);
            bytes.push(SIGNATURE);
            signature(bytes, "g");
            signature(bytes, self.signature);
        });
        align(&mut bytes, 8);
        bytes.extend(&self.bytes);
        bytes
    }
}

/// Arguments of an answer, still marshalled.
#[derive(Debug, PartialEq, Eq)]
pub struct BusReply(Vec<u8>);

impl BusReply {
    /// Reads an `o`, or an `s` in a `v`.
    pub fn text(&self) -> Option<String> {
        let mut reader = BusReader { bytes: &self.0, at: 0 };
        if self.0.starts_with(b"\x01s") {
            reader.signature()?;
            reader.align(4);
        }
        reader.text().map(str::to_owned)
    }

    /// Reads a `b` in a `v`.
    pub fn truth(&self) -> Option<bool> {
        let mut reader = BusReader { bytes: &self.0, at: 0 };
        let kind = reader.signature()?;
        (kind == "b").then(|| reader.number())?.map(|number| number != 0)
    }
}

/// Waits for the answer to the call. An inner `Err` is the other side's error: its message, else its name. Other
/// messages are skipped. Errors: a broken connection, or an invalid message.
pub fn answer(from: &mut impl Read) -> io::Result<Result<BusReply, String>> {
    loop {
        let mut start = [0; 16];
        from.read_exact(&mut start)?;
        let word = |at: usize| {
            let bytes = [start[at], start[at + 1], start[at + 2], start[at + 3]];
            u32::from_le_bytes(bytes) as usize
        };
        let (body, fields) = (word(4), word(12));
        let fields_end = fields.next_multiple_of(8);
        if start[0] != b'l' || body.max(fields) > LONGEST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut rest = vec![0; fields_end + body];
        from.read_exact(&mut rest)?;
        let (fields, body) = (&rest[..fields], &rest[fields_end..]);
        let found = BusFields::of(fields).ok_or(io::ErrorKind::InvalidData)?;
        if found.answers != Some(SERIAL) {
            continue;
        }
        return match start[1] {
            RETURN => Ok(Ok(BusReply(body.to_vec()))),
            ERROR => Ok(Err(error_text(found, body))),
            _ => Err(io::ErrorKind::InvalidData.into()),
        };
    }
}

/// Returns the text of an error: its first argument if a text, else its name.
fn error_text(fields: BusFields<'_>, body: &[u8]) -> String {
    let words = fields.signature.filter(|signature| signature.starts_with('s'));
    let words = words.and_then(|_| BusReader { bytes: body, at: 0 }.text());
    words.or(fields.error).unwrap_or("an error without a name").to_owned()
}

/// Relevant header fields.
#[derive(Default)]
struct BusFields<'a> {
    answers: Option<u32>,
    error: Option<&'a str>,
    signature: Option<&'a str>,
}

impl<'a> BusFields<'a> {
    fn of(bytes: &'a [u8]) -> Option<Self> {
        let mut found = Self::default();
        let mut reader = BusReader { bytes, at: 0 };
        while reader.at < bytes.len() {
            reader.align(8);
            let field = *reader.take(1)?.first()?;
            match (field, reader.signature()?) {
                (REPLY_SERIAL, "u") => found.answers = Some(reader.number()?),
                (ERROR_NAME, "s") => found.error = Some(reader.text()?),
                (SIGNATURE, "g") => found.signature = Some(reader.signature()?),
                (_, "s" | "o") => drop(reader.text()?),
                (_, "g") => drop(reader.signature()?),
                (_, "u") => drop(reader.number()?),
                _ => return None,
            }
        }
        Some(found)
    }
}

struct BusReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> BusReader<'a> {
    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(taken)
    }

    fn number(&mut self) -> Option<u32> {
        self.align(4);
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = self.number()? as usize;
        let text = std::str::from_utf8(self.take(length)?).ok()?;
        self.take(1)?;
        Some(text)
    }

    fn signature(&mut self) -> Option<&'a str> {
        let length = *self.take(1)?.first()?;
        let text = std::str::from_utf8(self.take(length.into())?).ok()?;
        self.take(1)?;
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Message of the other side.
    fn message(kind: u8, serial: u32, words: Option<&str>) -> Vec<u8> {
        let mut body = Vec::new();
        if let Some(words) = words {
            text(&mut body, words);
        }
        let mut bytes = vec![b'l', kind, 0, 1];
        number(&mut bytes, body.len() as u32);
        number(&mut bytes, 77);
        array(&mut bytes, 8, |bytes| {
            bytes.push(REPLY_SERIAL);
            signature(bytes, "u");
            number(bytes, serial);
            if kind == ERROR {
                align(bytes, 8);
                bytes.push(ERROR_NAME);
                signature(bytes, "s");
                text(bytes, "org.example.Failed");
            }
            if words.is_some() {
                align(bytes, 8);
                bytes.push(SIGNATURE);
                signature(bytes, "g");
                signature(bytes, "s");
            }
        });
        align(&mut bytes, 8);
        bytes.extend(body);
        bytes
    }

    #[test]
    fn the_answer_is_found_among_other_messages() {
        let stream = [message(4, 9, None), message(RETURN, 9, None), message(RETURN, 1, None)];
        assert_eq!(answer(&mut stream.concat().as_slice()).unwrap(), Ok(BusReply(Vec::new())));
    }

    #[test]
    fn an_error_says_what_it_says_else_its_name() {
        let told = message(ERROR, 1, Some("no such unit"));
        assert_eq!(answer(&mut told.as_slice()).unwrap(), Err("no such unit".to_owned()));
        let untold = message(ERROR, 1, None);
        assert_eq!(answer(&mut untold.as_slice()).unwrap(), Err("org.example.Failed".to_owned()));
    }

    #[test]
    fn an_invalid_message_is_an_error() {
        let whole = message(ERROR, 1, Some("no such unit"));
        for end in 0..whole.len() {
            assert!(answer(&mut &whole[..end]).is_err(), "{end}");
        }
        for at in 0..whole.len() {
            let mut bent = whole.clone();
            bent[at] ^= 0xff;
            let _ = answer(&mut bent.as_slice()); // the call returns in any case
        }
    }

    #[test]
    fn a_property_is_read() {
        let truth = |bytes: &[u8]| BusReply(bytes.to_vec()).truth();
        assert_eq!(truth(b"\x01b\0\0\x01\0\0\0"), Some(true));
        assert_eq!(truth(b"\x01b\0\0\0\0\0\0"), Some(false));
        assert_eq!(
            (truth(b"\x01s\0\0\0\0\0\0"), truth(b"\x01b\0\0"), truth(b"")),
            (None, None, None)
        );
    }

    #[test]
    fn a_path_and_a_word_are_read() {
        let word = |bytes: &[u8]| BusReply(bytes.to_vec()).text();
        assert_eq!(word(b"\x02\0\0\0/a\0").as_deref(), Some("/a"));
        assert_eq!(word(b"\x01s\0\0\x02\0\0\0no\0").as_deref(), Some("no"));
        assert_eq!((word(b"\x01s\0\0\x09\0\0\0no\0"), word(b"")), (None, None));
    }

    #[test]
    fn a_number_of_64_bits_is_aligned_within_the_message() {
        let body = BusBody::unit_properties(
            "a",
            &[("W", BusValue::Amount(7)), ("I", BusValue::Amount(9))],
        );
        let at = |value: u8| body.bytes.iter().position(|byte| *byte == value).unwrap();
        assert_eq!((at(7) % 8, at(9) % 8, body.bytes.len() % 8), (0, 0, 0));
    }

    /// The bytes that busctl sends for the same call, without its serial number and flags.
    #[test]
    fn a_call_is_aligned_as_the_specification_says() {
        let body = BusBody::processes_to_unit("a.scope", "/b", &[7]);
        let call = body.call("org.x", "/org/x", "org.x.M", "Do");
        assert_eq!(call.len() % 4, 0);
        let fields = u32::from_le_bytes(call[12..16].try_into().unwrap()) as usize;
        let found = BusFields::of(&call[16..16 + fields]).unwrap();
        assert_eq!(found.signature, Some("ssau"));
        let mut arguments = BusReader { bytes: &call[(16 + fields).next_multiple_of(8)..], at: 0 };
        assert_eq!(arguments.text(), Some("a.scope"));
        assert_eq!(arguments.text(), Some("/b"));
        assert_eq!((arguments.number(), arguments.number()), (Some(4), Some(7)));
        assert_eq!(arguments.at, arguments.bytes.len());
    }
}
