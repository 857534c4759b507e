//! The systemd journal, by its native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL): one datagram for each entry. Each
//! line is an entry, with the fields of docker and podman; an unfinished line is buffered here until its rest comes.
//!
//! The monitor waits for a slow journal once, for a second at most. Bytes that the journal does not accept then, or
//! while it is away, are counted as lost.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
use serde_json::json;

use super::log::Source;
use super::record::{JournalMark, LogDriver, Record};
use crate::error::{Context, Error, Result, Setting};
use crate::object_id::{random_id, short};

/// Socket of the journal.
const SOCKET: &str = "/run/systemd/journal/socket";
/// Longest entry in bytes. A longer line becomes several entries, each but the last marked as podman does. Far below
/// the size of a datagram (212992 by default), beyond which the protocol needs a file.
const LONGEST: usize = 48 * 1024;
/// Longest wait for a journal that does not take an entry.
const PATIENCE: Duration = Duration::from_secs(1);

/// Fields of an entry, docker's and podman's.
pub mod fields {
    /// ID of the container, all digits.
    pub const ID: &str = "CONTAINER_ID_FULL";
    /// Random identity of the run.
    pub const EPOCH: &str = "CONTAINER_LOG_EPOCH";
    /// Number of the entry in its run.
    pub const ORDINAL: &str = "CONTAINER_LOG_ORDINAL";
    /// `true`: the next entry of this stream continues the line.
    pub const PARTIAL: &str = "CONTAINER_PARTIAL_MESSAGE";
    /// `true`: a message of the monitor, not of the container.
    pub const OWN: &str = "USNEA_MONITOR_MESSAGE";
    /// Priority of syslog(3).
    pub const PRIORITY: &str = "PRIORITY";
    /// Bytes of the line.
    pub const MESSAGE: &str = "MESSAGE";
}

/// Connection to the journal for one container.
#[derive(Debug)]
pub struct Journal {
    socket: Option<OwnedFd>,
    /// The fields common to all entries.
    head: Vec<u8>,
    /// Unfinished lines of standard output and standard error.
    begun: [Vec<u8>; 2],
    lost: u64,
    /// False after a wait in vain, until the journal takes entries again.
    waits: bool,
    /// Last entry that was sent.
    mark: JournalMark,
}

/// Checks that a log of this record could be written, if it is one in the journal. Errors: nobody listens at the
/// journal's socket; an invalid template of the tag.
pub fn check(record: &Record) -> Result<()> {
    check_socket(record.log.driver)?;
    match record.log.driver {
        LogDriver::Journald => tag(record).map(drop),
        LogDriver::File | LogDriver::None | LogDriver::Passthrough => Ok(()),
    }
}

/// Checks that a journal listens, if the driver needs one.
pub fn check_socket(driver: LogDriver) -> Result<()> {
    if driver != LogDriver::Journald {
        return Ok(());
    }
    connect()
        .map(drop)
        .hint(|| "this machine has no journal: leave the flag out, and the log is a file")
        .context(|| format!("cannot reach the journal at {SOCKET}"))
        .context(|| Setting::LogDriver.with("journald"))
}

/// Returns the tag of entries: docker's template of the log option, else the container's name.
fn tag(record: &Record) -> Result<String> {
    let Some(tag) = &record.log.tag else { return Ok(record.name.clone()) };
    if !tag.contains("{{") {
        return Ok(tag.clone());
    }
    let image_id = record.image_id.as_deref().unwrap_or_default();
    let image_id = image_id.strip_prefix("sha256:").unwrap_or(image_id);
    let data = json!({
        "ID": short(&record.id),
        "FullID": record.id,
        "Name": record.name,
        "ImageID": short(image_id),
        "ImageFullID": image_id,
        "ImageName": record.image,
        "Command": record.command.join(" "),
        "DaemonName": "usnea",
    });
    let template = gotmpl::Template::new("").missing_key(gotmpl::MissingKey::Error);
    let expanded = template
        .parse(tag)
        .and_then(|template| template.execute_to_string(&gotmpl::to_value(&data)?));
    expanded
        .map_err(|error| Error::invalid(error.to_string()))
        .hint(|| "the names are docker's: {{.Name}}, {{.ID}}, {{.FullID}}, {{.ImageName}}, {{.ImageID}}")
        .context(|| Setting::LogOpt.with(format!("tag={tag}")))
}

impl Journal {
    /// Connects for the container of this record. Without a journal all output is lost, and counted.
    pub fn open(record: &Record) -> Self {
        let mut head = Vec::new();
        let epoch = random_id().unwrap_or_else(|_| record.id.to_string());
        // Checked before the start; the name of the container may have changed since.
        let tag = tag(record).unwrap_or_else(|_| record.name.clone());
        for (name, value) in [
            ("CONTAINER_ID", short(&record.id)),
            (fields::ID, &record.id),
            ("CONTAINER_NAME", &record.name),
            ("CONTAINER_TAG", &tag),
            ("IMAGE_NAME", &record.image),
            ("SYSLOG_IDENTIFIER", &tag),
            (fields::EPOCH, &epoch),
        ] {
            field(&mut head, name, value.as_bytes());
        }
        Self {
            socket: connect().ok(),
            head,
            begun: [Vec::new(), Vec::new()],
            lost: 0,
            waits: true,
            mark: JournalMark { epoch, ordinal: 0 },
        }
    }

    /// Writes bytes that came from `source`.
    pub fn write(&mut self, source: Source, bytes: &[u8]) {
        let slot = usize::from(source != Source::Output);
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let mut whole = match source {
                Source::Ourselves => Vec::new(),
                Source::Output | Source::Error => std::mem::take(&mut self.begun[slot]),
            };
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

    /// Writes the unfinished lines. Returns the last entry of the run. `None`: there is none.
    pub fn finish(&mut self) -> Option<JournalMark> {
        for (slot, source) in [(0, Source::Output), (1, Source::Error)] {
            let line = std::mem::take(&mut self.begun[slot]);
            if !line.is_empty() {
                self.send(source, &line, LineEnd::Cut);
            }
        }
        (self.mark.ordinal > 0).then(|| self.mark.clone())
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

    /// Sends an entry; returns false if the journal has not taken it.
    fn entry(&mut self, source: Source, line: &[u8], end: LineEnd) -> bool {
        let mut entry = self.head.clone();
        let ordinal = self.mark.ordinal + 1;
        field(&mut entry, fields::ORDINAL, ordinal.to_string().as_bytes());
        let priority: &[u8] = if source == Source::Output { b"6" } else { b"3" };
        field(&mut entry, fields::PRIORITY, priority);
        if end == LineEnd::Cut {
            field(&mut entry, fields::PARTIAL, b"true");
        }
        if source == Source::Ourselves {
            field(&mut entry, fields::OWN, b"true");
        }
        field(&mut entry, fields::MESSAGE, line);
        let is_taken = match self.offer(&entry) {
            Err(Errno::AGAIN) if self.waits => {
                self.await_room();
                self.offer(&entry).is_ok()
            }
            Err(Errno::AGAIN) => false,
            // The journal's socket is another one after a restart that did not keep it.
            Err(_) => {
                self.socket = connect().ok();
                self.offer(&entry).is_ok()
            }
            Ok(()) => true,
        };
        self.waits = is_taken;
        if is_taken {
            self.mark.ordinal = ordinal;
        }
        is_taken
    }

    fn offer(&self, entry: &[u8]) -> rustix::io::Result<()> {
        let socket = self.socket.as_ref().ok_or(Errno::NOTCONN)?;
        rustix::net::send(socket, entry, SendFlags::NOSIGNAL | SendFlags::DONTWAIT).map(drop)
    }

    /// Waits until the journal takes entries again, for `PATIENCE` at most.
    fn await_room(&self) {
        let Some(socket) = &self.socket else { return };
        let limit = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
        let _ = poll(&mut [PollFd::new(socket, PollFlags::OUT)], Some(&limit));
    }
}

/// End of a journal entry's message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LineEnd {
    /// The line ends here.
    Newline,
    /// The next entry continues the line, or the output ends in it.
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
