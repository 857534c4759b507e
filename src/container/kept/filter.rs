//! `--filter` of containers: docker's keys. Values of one key are alternatives, keys are conditions (`label` and `label!`
//! are conditions each).

use std::path::Path;
use std::str::FromStr;

use jiff::Timestamp;

use super::super::volumes;
use super::{Kept, find};
use crate::error::{Error, Result};
use crate::monitor::Status;

/// One filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// The beginning of an ID.
    Id(String),
    /// Part of a name; `^` and `$` stand for its beginning and end.
    Name(String),
    /// A label: KEY, or KEY=VALUE.
    Label(String),
    /// Not this label.
    NoLabel(String),
    /// docker's word for what it does.
    Status(String),
    /// The exit status of one that has ended.
    Exited(u8),
    /// The image: its name, or the beginning of its ID.
    Ancestor(String),
    /// Made before this container.
    Before(String),
    /// Made after this container.
    Since(String),
    /// Made before this time.
    Until(Timestamp),
    /// The name of its restart policy.
    RestartPolicy(String),
    /// A volume that it mounts: its name, or where it is mounted.
    Volume(String),
    /// docker's word for its health.
    Health(String),
}

impl FromStr for Filter {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let Some((key, value)) = text.split_once('=') else {
            return Err(Error::new(format!("--filter {text}: it is KEY=VALUE")));
        };
        let is_inverted = key.ends_with('!');
        let key = key.trim_end_matches('!');
        let value = value.to_owned();
        let bad = |why: &str| Err(Error::new(format!("--filter {text}: {why}")));
        Ok(match (key, is_inverted) {
            ("label", true) => Self::NoLabel(value),
            (_, true) => return bad("only label can be inverted"),
            ("id", _) => Self::Id(value),
            ("name", _) => Self::Name(value),
            ("label", _) => Self::Label(value),
            ("status", _) => match value.as_str() {
                "created" | "running" | "restarting" | "exited" | "paused" | "removing"
                | "dead" => Self::Status(value),
                "stopped" => Self::Status("exited".into()),
                _ => return bad("created, running, restarting, paused, exited"),
            },
            ("exited", _) => match value.parse() {
                Ok(status) => Self::Exited(status),
                Err(_) => return bad("an exit status is 0 to 255"),
            },
            ("ancestor", _) => Self::Ancestor(value),
            ("before", _) => Self::Before(value),
            ("since", _) => Self::Since(value),
            ("until", _) => match super::time::moment(&value) {
                Some(time) => Self::Until(time),
                None => return bad("a time, or how long ago"),
            },
            ("health", _) => match value.as_str() {
                "starting" | "healthy" | "unhealthy" | "none" => Self::Health(value),
                _ => return bad("starting, healthy, unhealthy, none"),
            },
            ("restart-policy", _) => Self::RestartPolicy(value),
            ("volume", _) => Self::Volume(value),
            _ => {
                return Err(Error::new(format!("--filter {text}: there is no filter {key}"))
                    .hint("id, name, label, label!, status, exited, ancestor, before, since, until, restart-policy, health, volume"));
            }
        })
    }
}

impl Filter {
    fn key(&self) -> u8 {
        match self {
            Self::Id(_) => 0,
            Self::Name(_) => 1,
            Self::Status(_) => 2,
            Self::Exited(_) => 3,
            Self::Ancestor(_) => 4,
            Self::RestartPolicy(_) => 5,
            Self::Volume(_) => 6,
            Self::Health(_) => 7,
            // Each is a condition of its own.
            Self::Label(_)
            | Self::NoLabel(_)
            | Self::Before(_)
            | Self::Since(_)
            | Self::Until(_) => 255,
        }
    }

    fn fits(&self, kept: &Kept, status: &Status, store: &Path) -> Result<bool> {
        let record = &kept.record;
        let made = |other: &str| find(store, other).map(|other| other.record.created);
        Ok(match self {
            Self::Id(id) => record.id.starts_with(id.as_str()),
            Self::Name(name) => fits_name(&record.name, name),
            Self::Label(label) => has_label(kept, label),
            Self::NoLabel(label) => !has_label(kept, label),
            Self::Status(word) => status.word() == word,
            Self::Exited(code) => matches!(status, Status::Exited(exit) if exit.status == *code),
            Self::Ancestor(image) => fits_image(kept, image),
            Self::Before(other) => record.created < made(other)?,
            Self::Since(other) => record.created > made(other)?,
            Self::Until(time) => record.created < *time,
            Self::Health(word) => {
                super::health(kept, status).map_or("none", |told| told.health.word()) == word
            }
            Self::RestartPolicy(name) => record.restart.name() == name,
            Self::Volume(text) => volumes::used_by(kept)?
                .iter()
                .any(|used| used.name.as_str() == text || used.destination == Path::new(text)),
        })
    }

    /// Whether a container fits all `filters`. Errors: one names a container that there is not.
    pub fn fit(filters: &[Self], kept: &Kept, status: &Status) -> Result<bool> {
        for filter in filters {
            let same = |other: &&Self| other.key() == filter.key() && other.key() != 255;
            let mut fits = filter.fits(kept, status, &kept.store)?;
            for other in filters.iter().filter(same) {
                fits = fits || other.fits(kept, status, &kept.store)?;
            }
            if !fits {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn fits_name(name: &str, pattern: &str) -> bool {
    let (pattern, at_start) = match pattern.strip_prefix('^') {
        Some(rest) => (rest, true),
        None => (pattern, false),
    };
    let pattern = pattern.strip_prefix('/').unwrap_or(pattern);
    match (at_start, pattern.strip_suffix('$')) {
        (true, Some(whole)) => name == whole,
        (true, None) => name.starts_with(pattern),
        (false, Some(end)) => name.ends_with(end),
        (false, None) => name.contains(pattern),
    }
}

fn has_label(kept: &Kept, label: &str) -> bool {
    match label.split_once('=') {
        Some((key, value)) => kept.record.labels.get(key).is_some_and(|has| has == value),
        None => kept.record.labels.contains_key(label),
    }
}

fn fits_image(kept: &Kept, image: &str) -> bool {
    let record = &kept.record;
    let without_tag = record.image.rsplit_once(':').map_or(record.image.as_str(), |(name, _)| name);
    let id = image.strip_prefix("sha256:").unwrap_or(image);
    let is_id = id.len() >= 4 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let has_id = || {
        record
            .image_id
            .as_deref()
            .is_some_and(|of| of.trim_start_matches("sha256:").starts_with(id))
    };
    record.image == image || without_tag == image || (is_id && has_id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read_or_refused() {
        assert_eq!("name=web".parse::<Filter>().unwrap(), Filter::Name("web".into()));
        assert_eq!("label!=a=b".parse::<Filter>().unwrap(), Filter::NoLabel("a=b".into()));
        for wrong in ["name", "nope=1", "name!=x", "exited=256", "status=well", "until=soon"] {
            assert!(wrong.parse::<Filter>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_may_be_anchored() {
        for (pattern, fits) in [
            ("we", true),
            ("^we", true),
            ("^web$", true),
            ("^eb", false),
            ("b$", true),
            ("^/web$", true),
        ] {
            assert_eq!(fits_name("web", pattern), fits, "{pattern}");
        }
    }
}
