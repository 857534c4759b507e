//! Entries of the systemd journal in its export format (systemd.io/JOURNAL_EXPORT_FORMATS). A field is a line
//! `NAME=value`, or for binary values the name, a length of 64 bits and the bytes. An empty line ends an entry.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::monitor::journal::fields;
use crate::monitor::log::{LogLine, Source};
use crate::monitor::record::JournalMark;

/// Entry of a container's log in the journal.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct JournalEntry {
    /// Place of the entry, for a later reading from there.
    pub(super) cursor: String,
    /// Identity of the entry, if usnea has written it.
    pub(super) mark: Option<JournalMark>,
    /// Time of the sending.
    time: String,
    pub(super) source: Source,
    pub(super) bytes: Vec<u8>,
    /// False if the line continues in the next entry of its source.
    pub(super) is_whole: bool,
}

impl JournalEntry {
    /// The entry as a line of a log.
    pub(super) fn line(&self) -> LogLine<'_> {
        LogLine {
            time: &self.time,
            source: self.source,
            bytes: &self.bytes,
            is_whole: self.is_whole,
        }
    }

    fn of(fields: &mut BTreeMap<String, Vec<u8>>) -> Option<Self> {
        let mut take = |name: &str| fields.remove(name);
        let mut text = |name: &str| take(name).and_then(|value| String::from_utf8(value).ok());
        let sent = text("_SOURCE_REALTIME_TIMESTAMP").or_else(|| text("__REALTIME_TIMESTAMP"))?;
        let sent = Timestamp::from_microsecond(sent.parse().ok()?).ok()?;
        let is_own = text(fields::OWN).is_some();
        let source = match text(fields::PRIORITY).as_deref() {
            _ if is_own => Source::Ourselves,
            Some("3") => Source::Error,
            _ => Source::Output,
        };
        let ordinal = text(fields::ORDINAL).and_then(|number| number.parse().ok());
        let mark = text(fields::EPOCH).zip(ordinal);
        Some(Self {
            cursor: text("__CURSOR")?,
            mark: mark.map(|(epoch, ordinal)| JournalMark { epoch, ordinal }),
            time: format!("{sent:.9}"),
            source,
            is_whole: text(fields::PARTIAL).is_none_or(|value| value != "true"),
            bytes: take(fields::MESSAGE).unwrap_or_default(),
        })
    }
}

/// Parser of an export that comes in pieces.
#[derive(Debug, Default)]
pub(super) struct ExportParser {
    bytes: Vec<u8>,
    fields: BTreeMap<String, Vec<u8>>,
}

impl ExportParser {
    /// Takes the next piece; passes each entry that it completes to `each`.
    pub(super) fn feed<E>(
        &mut self,
        piece: &[u8],
        mut each: impl FnMut(JournalEntry) -> Result<(), E>,
    ) -> Result<(), E> {
        self.bytes.extend(piece);
        let mut rest = self.bytes.as_slice();
        let mut entries = Vec::new();
        while let Some((field, after)) = next_field(rest) {
            rest = after;
            match field {
                ExportField::Value(name, value) => {
                    self.fields.insert(String::from_utf8_lossy(name).into_owned(), value.to_vec());
                }
                ExportField::End => {
                    entries.extend(JournalEntry::of(&mut std::mem::take(&mut self.fields)))
                }
            }
        }
        let read = self.bytes.len() - rest.len();
        self.bytes.drain(..read);
        entries.into_iter().try_for_each(&mut each)
    }
}

/// Part of an entry.
enum ExportField<'a> {
    /// Name and value.
    Value(&'a [u8], &'a [u8]),
    /// End of the entry.
    End,
}

/// Returns the first field and the bytes behind it. `None`: it is not complete.
fn next_field(bytes: &[u8]) -> Option<(ExportField<'_>, &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
    if line.is_empty() {
        return Some((ExportField::End, rest));
    }
    if let Some(equals) = line.iter().position(|byte| *byte == b'=') {
        return Some((ExportField::Value(&line[..equals], &line[equals + 1..]), rest));
    }
    let (length, rest) = rest.split_first_chunk::<8>()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let value = rest.get(..length)?;
    let rest = rest.get(length..)?.strip_prefix(b"\n")?;
    Some((ExportField::Value(line, value), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_whatever_the_pieces() {
        let mut export = b"__CURSOR=a=b\n__REALTIME_TIMESTAMP=1000000\nPRIORITY=3\nMESSAGE=x=y\n\n\
            __CURSOR=c\n__REALTIME_TIMESTAMP=7\n_SOURCE_REALTIME_TIMESTAMP=5\nMESSAGE\n"
            .to_vec();
        export.extend(3u64.to_le_bytes());
        export.extend(b"\n\xff\n\nCONTAINER_PARTIAL_MESSAGE=true\nCONTAINER_LOG_EPOCH=e\nCONTAINER_LOG_ORDINAL=9\n\n");
        for size in 1..=export.len() {
            let mut parser = ExportParser::default();
            let mut found = Vec::new();
            for piece in export.chunks(size) {
                let add = |entry| {
                    found.push(entry);
                    Ok::<_, ()>(())
                };
                parser.feed(piece, add).unwrap();
            }
            let [first, second] = &found[..] else { panic!("{found:?}") };
            assert_eq!((first.cursor.as_str(), first.source), ("a=b", Source::Error));
            assert_eq!(
                (first.line().time, first.line().bytes),
                ("1970-01-01T00:00:01.000000000Z", &b"x=y"[..])
            );
            assert_eq!((&second.bytes[..], second.is_whole), (&b"\n\xff\n"[..], false));
            assert_eq!(second.line().time, "1970-01-01T00:00:00.000005000Z");
            assert_eq!(second.mark, Some(JournalMark { epoch: "e".into(), ordinal: 9 }));
        }
    }
}
