//! The event log: one line of JSON for each change of state, in docker's shape, appended to a file of the store. The
//! process that makes a change writes the line: a command, or the container's monitor. No central process collects
//! events, and none is needed: `usnea events` reads the file, and waits for more lines.
//!
//! ```json
//! {"status":"die","id":"3f..","from":"alpine","Type":"container","Action":"die","Actor":{"ID":"3f..",
//!  "Attributes":{"exitCode":"0","image":"alpine","name":"web"}},"scope":"local","time":1764000000,"timeNano":1764000000250000000}
//! ```
//!
//! A change is not undone when its line cannot be written. A container of `run --rm` in the foreground has no record,
//! and no events.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::record::Record;
use crate::net::NetworkDefinition;

/// Name of the event file in the store; older events are in `events.1`.
pub const FILE: &str = "events";

/// Size in bytes at which the file is renamed to `events.1`: some thousands of events.
const LARGEST: u64 = 2 << 20;

/// Object of an event: a container, an image, a network or a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// ID of a container, an image or a network, name of a volume.
    #[serde(rename = "ID")]
    pub id: String,
    /// Details of the event. For a container: its labels, `name`, `image`, and values of the event itself.
    #[serde(rename = "Attributes")]
    pub attributes: BTreeMap<String, String>,
}

/// Event as docker writes one in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Same as `Action`, for readers of docker's old form: set for containers and images alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The actor's ID; set for containers and images alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The image of a container; null for all other objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Type of the object: `container`, `image`, `network`, `pod`, `secret`, `volume`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// docker's name of the action: `create`, `start`, `die`, ...
    #[serde(rename = "Action")]
    pub action: String,
    /// Object of the event.
    #[serde(rename = "Actor")]
    pub actor: Actor,
    /// Always `local`.
    pub scope: String,
    /// Time of the event in seconds since 1970.
    pub time: i64,
    /// Time of the event in nanoseconds since 1970.
    #[serde(rename = "timeNano")]
    pub time_nano: i64,
}

impl Event {
    /// Builds an event with the current time.
    pub fn new(kind: &str, action: &str, actor: Actor) -> Self {
        let now = Timestamp::now();
        let is_old = matches!(kind, "container" | "image");
        Self {
            status: is_old.then(|| action.to_owned()),
            id: is_old.then(|| actor.id.clone()),
            from: actor.attributes.get("image").filter(|_| kind == "container").cloned(),
            kind: kind.to_owned(),
            action: action.to_owned(),
            actor,
            scope: "local".to_owned(),
            time: now.as_second(),
            time_nano: now.as_nanosecond() as i64,
        }
    }

    /// Time of the event, with nanoseconds.
    pub fn timestamp(&self) -> Timestamp {
        Timestamp::from_nanosecond(self.time_nano.into()).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

/// Logs an event of a container, with the extra attributes `more`, such as `("exitCode", "0")`.
pub fn of_container(store: &Path, record: &Record, action: &str, more: &[(&str, String)]) {
    let mut attributes = record.labels.clone();
    attributes.insert("image".to_owned(), record.image.clone());
    attributes.insert("name".to_owned(), record.name.clone());
    attributes.extend(more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    tell(store, Event::new("container", action, Actor { id: record.id.to_string(), attributes }));
}

/// Logs an event of another object: `kind` is `image`, `network`, `pod`, `secret` or `volume`.
pub fn of_other(store: &Path, kind: &str, id: &str, action: &str, more: &[(&str, String)]) {
    let attributes = more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    tell(store, Event::new(kind, action, Actor { id: id.to_owned(), attributes }));
}

/// Logs that a container joins (`connect`) or leaves (`disconnect`) named networks, in docker's shape.
pub fn of_networks<'a>(
    store: &Path,
    container: &str,
    action: &str,
    networks: impl Iterator<Item = &'a NetworkDefinition>,
) {
    for network in networks {
        let more = [
            ("container", container.to_owned()),
            ("name", network.name.to_string()),
            ("type", "bridge".to_owned()),
        ];
        of_other(store, "network", &network.id, action, &more);
    }
}

fn tell(store: &Path, event: Event) {
    if let Err(error) = append(store, event) {
        log::debug!("cannot write to {}: {error}", store.join(FILE).display());
    }
}

fn append(store: &Path, mut event: Event) -> io::Result<()> {
    let path = store.join(FILE);
    let mut file = open_locked(&path)?;
    let mut length = file.metadata()?.len();
    if length >= LARGEST {
        std::fs::rename(&path, store.join(format!("{FILE}.1")))?;
        file = open_locked(&path)?;
        length = file.metadata()?.len();
    }
    // Set under the lock, so that the times of the lines are in order.
    let now = Timestamp::now();
    (event.time, event.time_nano) = (now.as_second(), now.as_nanosecond() as i64);
    let mut line = serde_json::to_vec(&event)?;
    line.push(b'\n');
    // A line that a full disk cut short would damage the next line too.
    file.write_all(&line).inspect_err(|_| drop(file.set_len(length)))
}

/// Opens the file at `path`, locked where the file system supports locks.
fn open_locked(path: &Path) -> io::Result<File> {
    loop {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        let is_locked = file.lock();
        if is_locked.is_err() || crate::files::leads_to(path, &file) {
            return Ok(file);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::log::Reader;

    fn all(store: &Path) -> Vec<Event> {
        let mut reader = Reader::open(store, FILE).unwrap();
        let mut events = Vec::new();
        while reader
            .read(|line| {
                events.push(serde_json::from_slice(line)?);
                Ok(())
            })
            .unwrap()
        {}
        events
    }

    #[test]
    fn events_are_read_in_order_across_rotated_files() {
        let store = tempfile::tempdir().unwrap();
        let large = "x".repeat(100_000);
        for number in 0..30 {
            let more = [("label", large.clone())];
            of_other(store.path(), "volume", &number.to_string(), "create", &more);
        }
        assert!(store.path().join("events.1").exists());
        let events = all(store.path());
        let ids: Vec<String> = events.iter().map(|event| event.actor.id.clone()).collect();
        assert_eq!(ids, (0..30).map(|number: u32| number.to_string()).collect::<Vec<_>>());
        assert!(events.is_sorted_by_key(|event| event.time_nano));
        assert_eq!((&*events[0].kind, &*events[0].action), ("volume", "create"));
        assert_eq!(events[0].status, None, "the old form is of containers and images");
    }

    #[test]
    fn several_at_once_lose_nothing() {
        let store = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for one in 0..4 {
                let path = store.path();
                scope.spawn(move || {
                    for _ in 0..50 {
                        let more = [("label", "x".repeat(20_000))];
                        of_other(path, "image", &one.to_string(), "tag", &more);
                    }
                });
            }
        });
        // 4 MB: one rotation, and every line whole.
        let events = all(store.path());
        assert!(events.len() > 100 && events.len() <= 200, "{}", events.len());
    }

    #[test]
    fn a_store_that_is_gone_is_no_failure() {
        of_other(Path::new("/nonexistent"), "image", "1", "tag", &[]);
    }
}
