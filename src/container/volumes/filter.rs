//! `--filter` of volumes. Several values of `name` are alternatives; all other filters must match.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;

use jiff::Timestamp;

use super::record::{StoredVolume, named};
use super::usage;
use crate::container::resource_filter::{FilterText, FilteredResource, ResourceFilter};
use crate::error::{Error, Result};

/// List of all keys, for hints.
const KEYS: &str = "name, label, label!, dangling, anonymous, driver, until, since, scope";

/// Filter of volumes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeFilter {
    /// Filter that networks have too.
    Common(ResourceFilter),
    /// True: anonymous volumes, which were made with a container; false: named volumes.
    Anonymous(bool),
    /// Name of a volume that is older than this volume.
    Since(String),
}

impl FromStr for VolumeFilter {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let text = FilterText::split(text)?;
        Ok(match text.key.as_str() {
            "anonymous" => Self::Anonymous(text.switch()?),
            "after" | "since" => Self::Since(text.value.to_owned()),
            _ => Self::Common(text.common(KEYS)?),
        })
    }
}

impl FilteredResource for StoredVolume {
    fn name(&self) -> &str {
        self.name.as_str()
    }

    fn driver(&self) -> &'static str {
        "local"
    }

    fn labels(&self) -> Option<&BTreeMap<String, String>> {
        Some(&self.labels)
    }

    fn created(&self) -> Timestamp {
        self.created_at
    }

    fn is_dangling(&self, store: &Path) -> Result<bool> {
        Ok(!usage::is_used(store, &self.name)?)
    }
}

impl VolumeFilter {
    /// True if a volume matches all `filters`.
    pub fn fit(filters: &[Self], volume: &StoredVolume, store: &Path) -> Result<bool> {
        let is_name = |filter: &&Self| matches!(filter, Self::Common(ResourceFilter::Name(_)));
        let mut has_name = !filters.iter().any(|filter| is_name(&filter));
        for filter in filters {
            let fits = match filter {
                Self::Common(common) => common.fits(volume, store)?,
                Self::Anonymous(is) => volume.anonymous == *is,
                Self::Since(other) => volume.created_at > named(store, other)?.1.created_at,
            };
            if is_name(&filter) {
                has_name |= fits;
            } else if !fits {
                return Ok(false);
            }
        }
        Ok(has_name)
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
