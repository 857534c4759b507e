//! `--filter` of volumes. Values of `name` are alternatives, the other keys are conditions.

use std::path::Path;
use std::str::FromStr;

use jiff::Timestamp;

use super::record::{StoredVolume, named};
use super::usage;
use crate::container::time;
use crate::error::{Context, Error, Result, Setting};
use crate::expression::Expression;

/// Filter of volumes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeFilter {
    /// Regular expression that the name must match.
    Name(Expression),
    /// Label of the volume: KEY, or KEY=VALUE.
    Label(String),
    /// Label that the volume must not have.
    NoLabel(String),
    /// True: volumes that no container mounts; false: the others.
    Dangling(bool),
    /// True: volumes that were made with a container; false: named volumes.
    Anonymous(bool),
    /// Driver of the volume, which is always `local`.
    Driver(String),
    /// Time before which the volume was made.
    Until(Timestamp),
    /// Volume after which this volume was made.
    Since(String),
    /// Scope of the volume, which is always `local`.
    Scope(String),
}

impl FromStr for VolumeFilter {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let said = || Setting::Filter.with(text.escape_debug());
        let bad = |why: &str| Error::invalid(why).within(said());
        let (key, value) = text.split_once('=').ok_or_else(|| bad("it is KEY=VALUE"))?;
        let (key, value) = (key.trim().to_ascii_lowercase(), value.trim());
        let switch = || match value.to_ascii_lowercase().as_str() {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(bad("true or false")),
        };
        Ok(match key.as_str() {
            "name" => Self::Name(value.parse().context(said)?),
            "label" => Self::Label(value.to_owned()),
            "label!" => Self::NoLabel(value.to_owned()),
            "dangling" => Self::Dangling(switch()?),
            "anonymous" => Self::Anonymous(switch()?),
            "driver" => Self::Driver(value.to_owned()),
            "scope" => Self::Scope(value.to_owned()),
            "after" | "since" => Self::Since(value.to_owned()),
            "until" => {
                Self::Until(time::moment(value).ok_or_else(|| bad("a time, or how long ago"))?)
            }
            _ => {
                return Err(bad(&format!("there is no filter {key}")).hint(
                    "name, label, label!, dangling, anonymous, driver, until, since, scope",
                ));
            }
        })
    }
}

impl VolumeFilter {
    /// True if a volume fits all `filters`.
    pub fn fit(filters: &[Self], volume: &StoredVolume, store: &Path) -> Result<bool> {
        let mut names = filters.iter().filter(|filter| matches!(filter, Self::Name(_))).peekable();
        if names.peek().is_some() && !names.any(|name| name.fits_record(volume)) {
            return Ok(false);
        }
        for filter in filters {
            let fits = match filter {
                Self::Name(_) => true,
                Self::Dangling(is) => usage::is_used(store, &volume.name)? != *is,
                Self::Since(other) => volume.created_at > named(store, other)?.1.created_at,
                other => other.fits_record(volume),
            };
            if !fits {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn fits_record(&self, volume: &StoredVolume) -> bool {
        let has = |label: &str| match label.split_once('=') {
            Some((key, value)) => volume.labels.get(key).is_some_and(|there| there == value),
            None => volume.labels.contains_key(label),
        };
        match self {
            Self::Name(name) => name.is_in(volume.name.as_str()),
            Self::Label(label) => has(label),
            Self::NoLabel(label) => !has(label),
            Self::Anonymous(is) => volume.anonymous == *is,
            Self::Driver(driver) => driver == "local",
            Self::Until(time) => volume.created_at < *time,
            Self::Scope(scope) => scope == "local",
            Self::Dangling(_) | Self::Since(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(filters: &[&str]) -> bool {
        let volume = StoredVolume {
            name: "data".parse().unwrap(),
            created_at: Timestamp::UNIX_EPOCH,
            labels: [("a".to_owned(), "1".to_owned())].into(),
            anonymous: false,
        };
        let filters: Vec<VolumeFilter> = filters.iter().map(|text| text.parse().unwrap()).collect();
        VolumeFilter::fit(&filters, &volume, Path::new("/nowhere")).unwrap()
    }

    #[test]
    fn names_are_alternatives_and_the_rest_conditions() {
        assert!(fits(&[]) && fits(&["name=at"]) && fits(&["name=x", "name=da"]));
        assert!(fits(&["name=^d.*a$"]) && fits(&["name=x|ta"]) && !fits(&["name=^at"]));
        assert!(!fits(&["name=x"]) && !fits(&["name=da", "label=b"]));
        assert!(fits(&["label=a", "label=a=1", "label!=a=2", "driver=local", "anonymous=0"]));
        assert!(!fits(&["label=a=2"]) && !fits(&["label!=a"]) && !fits(&["driver=nfs"]));
        assert!(fits(&["until=1h"]));
    }

    #[test]
    fn a_malformed_filter_is_refused() {
        for text in ["name", "name=(", "size=1", "dangling=perhaps", "until=soon"] {
            assert!(text.parse::<VolumeFilter>().is_err(), "{text}");
        }
    }
}
