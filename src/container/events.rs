//! `usnea events`: recorded events, and new events as they happen.

use std::io;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;

use crate::container::Usnea;
use crate::error::{Context, Error, Result, Setting};
use crate::monitor::events::{Event, FILE};
use crate::monitor::log::{LogChanges, Reader};

/// Selection of events.
#[derive(Clone, Debug, Default)]
pub struct EventQuery {
    /// Time of the oldest event. `None`: the first recorded event, or now if new events are requested.
    pub since: Option<Timestamp>,
    /// Time of the last event. If it is in the future, new events are awaited until then.
    pub until: Option<Timestamp>,
    /// Filters. Each event must match them.
    pub filters: Vec<EventFilter>,
    /// True if new events are shown as they happen.
    pub follow: bool,
}

/// Filter of `--filter`, as docker's: several values of one key are alternatives; each key must match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventFilter {
    key: EventKey,
    value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EventKey {
    Container,
    Event,
    Image,
    Label,
    Type,
    Volume,
    Secret,
    Network,
    Pod,
    Scope,
    /// Key for nodes, plugins or daemons, which usnea does not have: never matches.
    Never,
}

impl FromStr for EventFilter {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let Some((key, value)) = text.split_once('=') else {
            return Err(Error::invalid("it is KEY=VALUE")).context(|| Setting::Filter.with(text));
        };
        let key = match key.trim().to_ascii_lowercase().as_str() {
            "container" => EventKey::Container,
            "event" => EventKey::Event,
            "image" => EventKey::Image,
            "label" => EventKey::Label,
            "type" => EventKey::Type,
            "volume" => EventKey::Volume,
            "secret" => EventKey::Secret,
            "network" => EventKey::Network,
            "scope" => EventKey::Scope,
            "pod" => EventKey::Pod,
            "node" | "plugin" | "daemon" | "service" | "config" => EventKey::Never,
            _ => {
                return Err(Error::invalid(format!("there is no filter {key}")).hint(
                    "container, event, image, label, type, volume, secret, network, pod, scope",
                ))
                .context(|| Setting::Filter.with(text));
            }
        };
        Ok(Self { key, value: value.trim().to_owned() })
    }
}

impl EventFilter {
    fn fits(&self, event: &Event) -> bool {
        let attribute = |name: &str| event.actor.attributes.get(name).map(String::as_str);
        let value = self.value.as_str();
        let is_of = |kind: &str| event.kind == kind;
        // A prefix of an ID matches too.
        let is_called = || event.actor.id.starts_with(value) || attribute("name") == Some(value);
        match self.key {
            EventKey::Container => is_of("container") && !value.is_empty() && is_called(),
            EventKey::Event => {
                // "health_status: healthy" also matches by its first word.
                let word = event.action.split(':').next().unwrap_or_default();
                event.action == value || word == value || word_of_podman(value, &event.kind) == word
            }
            EventKey::Image if is_of("image") => !value.is_empty() && is_called(),
            // docker's rule: a name without a tag matches each of its tags.
            EventKey::Image => attribute("image").is_some_and(|image| {
                let tag = image.strip_prefix(value).filter(|_| !value.is_empty());
                tag.is_some_and(|tag| {
                    tag.is_empty() || (tag.starts_with([':', '@']) && !tag.contains('/'))
                })
            }),
            EventKey::Label => match value.split_once('=') {
                Some((key, value)) => attribute(key) == Some(value),
                None => attribute(value).is_some(),
            },
            EventKey::Type => is_of(value),
            EventKey::Secret => is_of("secret") && !value.is_empty() && is_called(),
            EventKey::Volume => is_of("volume") && event.actor.id == value,
            EventKey::Network => is_of("network") && !value.is_empty() && is_called(),
            EventKey::Pod => is_of("pod") && !value.is_empty() && is_called(),
            EventKey::Scope => event.scope == value,
            EventKey::Never => false,
        }
    }

    fn fit(filters: &[Self], event: &Event) -> bool {
        let of_key = |key| filters.iter().filter(move |other| other.key == key);
        filters.iter().all(|filter| match filter.key {
            EventKey::Label => filter.fits(event),
            key => of_key(key).any(|other| other.fits(event)),
        })
    }
}

/// Translates podman's name of an action to docker's; returns any other name unchanged.
fn word_of_podman<'a>(word: &'a str, kind: &str) -> &'a str {
    match (word, kind) {
        ("died", _) => "die",
        ("exec_died", _) => "exec_die",
        ("exec", _) => "exec_start",
        ("remove", "container" | "network" | "volume") => "destroy",
        ("remove", "image") => "delete",
        ("loadfromarchive", _) => "load",
        _ => word,
    }
}

/// Passes the events to `each`, in their order, up to the time `until`, or without end. Errors: the events cannot be
/// read; `each` fails.
pub fn events(
    usnea: &Usnea,
    wanted: &EventQuery,
    mut each: impl FnMut(&Event) -> io::Result<()>,
) -> Result<()> {
    let store = usnea.store()?;
    let phrase = || format!("cannot read {}", store.join(FILE).display());
    let now = Timestamp::now();
    let since = match (wanted.since, wanted.follow && wanted.until.is_none_or(|until| until > now))
    {
        (None, true) => now,
        (since, _) => since.unwrap_or(Timestamp::MIN),
    };
    let shows = |event: &Event| {
        let time = event.timestamp();
        time >= since
            && wanted.until.is_none_or(|until| time <= until)
            && EventFilter::fit(&wanted.filters, event)
    };
    // The watch begins before the first reading, so that no event is missed in between.
    let changes = LogChanges::of(store).context(phrase)?;
    let mut reader = Reader::open(store, FILE).context(phrase)?;
    loop {
        let more = reader.read(|line| match serde_json::from_slice::<Event>(line) {
            Ok(event) if shows(&event) => each(&event),
            // A line may be incomplete because the disk was full: it is skipped.
            _ => Ok(()),
        });
        if more.context(phrase)? {
            continue;
        }
        let left = wanted.until.map(|until| until.duration_since(Timestamp::now()));
        if !wanted.follow || left.is_some_and(|left| !left.is_positive()) {
            return Ok(());
        }
        let left = left.and_then(|left| Duration::try_from(left).ok());
        changes.wait(None, left).context(phrase)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::events::{self, Actor};

    fn event(kind: &str, action: &str, id: &str, attributes: &[(&str, &str)]) -> Event {
        let attributes = attributes.iter().map(|(key, value)| ((*key).into(), (*value).into()));
        Event::new(kind, action, Actor { id: id.into(), attributes: attributes.collect() })
    }

    #[test]
    fn values_of_one_key_are_alternatives_and_keys_are_conditions() {
        let die = event("container", "die", "abc", &[("name", "web"), ("image", "a"), ("x", "1")]);
        let pull = event("image", "pull", "sha256:1", &[("name", "a")]);
        let fits = |filters: &[&str], event: &Event| {
            let filters: Vec<EventFilter> =
                filters.iter().map(|text| text.parse().unwrap()).collect();
            EventFilter::fit(&filters, event)
        };
        for (filters, of_die, of_pull) in [
            (&[][..], true, true),
            (&["type=container"], true, false),
            (&["container=web"], true, false),
            (&["container=ab"], true, false),
            (&["container="], false, false),
            (&["image=a"], true, true),
            (&["event=die", "event=pull"], true, true),
            (&["event=die", "type=image"], false, false),
            (&["label=x", "label=x=1"], true, false),
            (&["label=x", "label=x=2"], false, false),
            (&["volume=abc"], false, false),
        ] {
            assert_eq!(
                (fits(filters, &die), fits(filters, &pull)),
                (of_die, of_pull),
                "{filters:?}"
            );
        }
        let gone = event("image", "delete", "sha256:1", &[("name", "a")]);
        let ran = event("container", "exec_die", "abc", &[("image", "q.io:5000/a:1")]);
        for (filter, event, does_fit) in [
            ("event=died", &die, true),
            ("event=exec_died", &ran, true),
            ("event=exec_died", &die, false),
            ("event=remove", &gone, true),
            ("event=remove", &event("container", "destroy", "a", &[]), true),
            ("image=q.io:5000/a", &ran, true),
            ("image=q.io:5000/a:1", &ran, true),
            ("image=q.io", &ran, false),
            ("type=container", &ran, true),
            ("scope=local", &ran, true),
            ("scope=swarm", &ran, false),
            ("pod=any", &ran, false),
        ] {
            assert_eq!(fits(&[filter], event), does_fit, "{filter} {event:?}");
        }
        let ill = event("container", "health_status: unhealthy", "a", &[]);
        assert!(fits(&["event=health_status"], &ill));
        assert!("event".parse::<EventFilter>().is_err() && "a=b".parse::<EventFilter>().is_err());
    }

    #[test]
    fn the_past_ends_where_it_ends() {
        let store = tempfile::tempdir().unwrap();
        for id in ["1", "2"] {
            events::of_other(store.path(), "volume", id, "create", &[]);
        }
        let read = |wanted: &EventQuery| {
            let mut ids = Vec::new();
            super::events(&Usnea::new(Some(store.path().to_owned())), wanted, |event| {
                ids.push(event.actor.id.clone());
                Ok(())
            })
            .unwrap();
            ids
        };
        let all = EventQuery { since: Some(Timestamp::UNIX_EPOCH), ..EventQuery::default() };
        assert_eq!(read(&all), ["1", "2"]);
        let past =
            EventQuery { until: Some(Timestamp::now()), follow: true, ..EventQuery::default() };
        assert_eq!(read(&past), ["1", "2"]);
        let none = EventQuery { until: Some(Timestamp::UNIX_EPOCH), ..all };
        assert!(read(&none).is_empty());
    }
}
