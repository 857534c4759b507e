//! The systemd journal, by its native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL): one datagram for each entry. Each
//! line is an entry; an unfinished line is buffered here until its rest comes. Lines that the journal does not accept
//! at once are counted as lost.

use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType};

use super::log::Source;
use super::record::Record;

/// Socket of the journal.
pub const SOCKET: &str = "/run/systemd/journal/socket";
/// Longest entry in bytes. A longer line becomes several entries, each but the last marked as podman does.
const LONGEST: usize = 48 * 1024;

/// Connection to the journal for one container.
#[derive(Debug)]
pub struct Journal {
    socket: Option<OwnedFd>,
    /// The fields common to all entries.
    head: Vec<u8>,
    /// Unfinished lines of standard output and standard error.
    begun: [Vec<u8>; 2],
    lost: u64,
}

impl Journal {
    /// Connects for the container of this record. Without a journal all output is lost, and counted.
    pub fn open(record: &Record) -> Self {
        let mut head = Vec::new();
        let short = record.id.get(..12).unwrap_or(&record.id);
        field(&mut head, "CONTAINER_ID", short.as_bytes());
        field(&mut head, "CONTAINER_ID_FULL", record.id.as_bytes());
        field(&mut head, "CONTAINER_NAME", record.name.as_bytes());
        field(&mut head, "IMAGE_NAME", record.image.as_bytes());
        let tag = record.log.tag.as_deref().unwrap_or(&record.name);
        field(&mut head, "SYSLOG_IDENTIFIER", tag.as_bytes());
        Self { socket: connect().ok(), head, begun: [Vec::new(), Vec::new()], lost: 0 }
    }

    /// Writes bytes that came from `source`.
    pub fn write(&mut self, source: Source, bytes: &[u8]) {
        let slot = usize::from(source == Source::Error);
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let mut whole = std::mem::take(&mut self.begun[slot]);
            whole.extend(line);
            if whole.ends_with(b"\n") {
                whole.pop();
                self.send(source, &whole, LineEnd::Newline);
            } else if whole.len() >= LONGEST {
                self.send(source, &whole, LineEnd::Cut);
            } else {
                self.begun[slot] = whole;
            }
        }
    }

    /// Writes the unfinished lines.
    pub fn finish(&mut self) {
        for (slot, source) in [(0, Source::Output), (1, Source::Error)] {
            let line = std::mem::take(&mut self.begun[slot]);
            if !line.is_empty() {
                self.send(source, &line, LineEnd::Newline);
            }
        }
    }

    fn send(&mut self, source: Source, line: &[u8], end: LineEnd) {
        if self.lost > 0 {
            let told = format!("{} bytes were lost", self.lost);
            if self.entry(Source::Ourselves, told.as_bytes(), LineEnd::Newline) {
                self.lost = 0;
            }
        }
        if self.lost > 0 || !self.entry(source, line, end) {
            self.lost += line.len() as u64 + 1;
        }
    }

    fn entry(&self, source: Source, line: &[u8], end: LineEnd) -> bool {
        let Some(socket) = &self.socket else { return false };
        let mut entry = self.head.clone();
        let priority: &[u8] = if source == Source::Output { b"6" } else { b"3" };
        field(&mut entry, "PRIORITY", priority);
        if end == LineEnd::Cut {
            field(&mut entry, "CONTAINER_PARTIAL_MESSAGE", b"true");
        }
        field(&mut entry, "MESSAGE", line);
        rustix::net::send(socket, &entry, SendFlags::NOSIGNAL | SendFlags::DONTWAIT).is_ok()
    }
}

/// End of a journal entry's message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LineEnd {
    /// The line ends here, or the output does.
    Newline,
    /// The line was too long for one entry: the next entry continues it.
    Cut,
}

fn connect() -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(SOCKET)?)?;
    Ok(socket)
}

/// Appends a field: `NAME=value`, or for a value with newlines: the name, a length, the bytes.
fn field(to: &mut Vec<u8>, name: &str, value: &[u8]) {
    to.extend(name.as_bytes());
    if value.contains(&b'\n') {
        to.push(b'\n');
        to.extend((value.len() as u64).to_le_bytes());
    } else {
        to.push(b'=');
    }
    to.extend(value);
    to.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_several_lines_has_its_length_before_it() {
        let mut entry = Vec::new();
        field(&mut entry, "A", b"b=c");
        field(&mut entry, "B", b"x\ny");
        assert_eq!(entry, b"A=b=c\nB\n\x03\0\0\0\0\0\0\0x\ny\n");
    }
}
