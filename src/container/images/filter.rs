//! `--filter` of `usnea images`: docker's filters. What one key says several times is an "or", except labels, which must
//! all be there; different keys are an "and".

use std::str::FromStr;

use jiff::Timestamp;

use super::pattern::matches;
use crate::container::stores::Stores;
use crate::error::{Context, Error, Result};
use crate::image::Reference;
use crate::image::store::{Image, Store};

/// One filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// A name like this one.
    Reference(String),
    /// Whether it has no tag.
    Dangling(bool),
    /// A label of the config, and what it says.
    Label(String, Option<String>),
    /// Not this label of the config.
    NoLabel(String, Option<String>),
    /// Made before this time.
    Until(Timestamp),
    /// Made before this image.
    Before(String),
    /// Made after this image.
    Since(String),
}

impl FromStr for Filter {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let known = "reference=PATTERN, dangling=BOOL, label=KEY[=VALUE], label!=KEY[=VALUE], until=TIME, before=IMAGE, since=IMAGE";
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        let filter = match (key.trim(), value.trim()) {
            (_, "") => None,
            ("reference", pattern) => Some(Self::Reference(pattern.to_owned())),
            ("dangling", "true" | "1") => Some(Self::Dangling(true)),
            ("dangling", "false" | "0") => Some(Self::Dangling(false)),
            ("label", text) => {
                let (key, value) = label(text);
                Some(Self::Label(key, value))
            }
            ("label!", text) => {
                let (key, value) = label(text);
                Some(Self::NoLabel(key, value))
            }
            ("until", time) => crate::container::kept::time::moment(time).map(Self::Until),
            ("before", image) => Some(Self::Before(image.to_owned())),
            ("since" | "after", image) => Some(Self::Since(image.to_owned())),
            _ => None,
        };
        filter.ok_or_else(|| {
            Error::new(format!("filter '{}' is not known", text.escape_debug()))
                .hint(format!("one of {known}"))
        })
    }
}

fn label(text: &str) -> (String, Option<String>) {
    match text.split_once('=') {
        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
        None => (text.to_owned(), None),
    }
}

/// Filters whose images are looked up.
#[derive(Default)]
pub struct Filters {
    patterns: Vec<String>,
    dangling: Vec<bool>,
    labels: Vec<(String, Option<String>)>,
    no_labels: Vec<(String, Option<String>)>,
    until: Option<Timestamp>,
    before: Option<Timestamp>,
    since: Option<Timestamp>,
}

impl Filters {
    /// Errors: an image of `before` or `since` that there is not.
    pub fn new(all: &[Filter], stores: &Stores) -> Result<Self> {
        let mut filters = Self::default();
        for filter in all {
            match filter {
                Filter::Reference(pattern) => filters.patterns.push(pattern.clone()),
                Filter::Dangling(value) => filters.dangling.push(*value),
                Filter::Label(key, value) => filters.labels.push((key.clone(), value.clone())),
                Filter::NoLabel(key, value) => {
                    filters.no_labels.push((key.clone(), value.clone()));
                }
                Filter::Until(time) => filters.until = Some(*time),
                Filter::Before(image) => filters.before = Some(time_of(image, stores)?),
                Filter::Since(image) => filters.since = Some(time_of(image, stores)?),
            }
        }
        Ok(filters)
    }

    /// Whether the image passes. Its config is read only where labels are asked for.
    pub fn pass(&self, store: &Store, image: &Image) -> Result<bool> {
        let made = made(image);
        let by_record = (self.dangling.is_empty()
            || self.dangling.contains(&image.names.is_empty()))
            && self.before.is_none_or(|before| made < before)
            && self.until.is_none_or(|until| made < until)
            && self.since.is_none_or(|since| made > since)
            && (self.patterns.is_empty()
                || image.names.iter().chain(&image.digests).any(|name| self.names(name)));
        let asks = !(self.labels.is_empty() && self.no_labels.is_empty());
        Ok(by_record && (!asks || self.has_labels(store, image)?))
    }

    /// Whether a name of an image is one that is asked for.
    pub fn names(&self, name: &Reference) -> bool {
        let bare = Reference { tag: None, digest: None, ..name.clone() };
        let texts = [name.familiar(), bare.familiar(), name.to_string(), name.name()];
        // What was made here is found by the name that it was given.
        let has = |pattern: &String, text: &String| {
            matches(pattern, text)
                || text.strip_prefix("localhost/").is_some_and(|short| matches(pattern, short))
        };
        self.patterns.is_empty()
            || self.patterns.iter().any(|pattern| texts.iter().any(|text| has(pattern, text)))
    }

    fn has_labels(&self, store: &Store, image: &Image) -> Result<bool> {
        let config = store.read_blob(&image.config)?;
        let config: serde_json::Value = serde_json::from_slice(&config)
            .map_err(Error::new)
            .context(|| format!("config {}", image.config))?;
        let labels = config.pointer("/config/Labels");
        let has = |(key, value): &(String, Option<String>)| {
            let label = labels.and_then(|labels| labels.get(key)?.as_str());
            label.is_some_and(|label| value.as_ref().is_none_or(|value| value == label))
        };
        Ok(self.labels.iter().all(has) && !self.no_labels.iter().any(has))
    }
}

/// When the image was made: by its own word, else when it came here.
pub fn made(image: &Image) -> Timestamp {
    image.created.unwrap_or(image.added)
}

fn time_of(text: &str, stores: &Stores) -> Result<Timestamp> {
    Ok(made(&super::known(stores, text)?.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_dockers() {
        for (text, filter) in [
            ("reference=deb*", Filter::Reference("deb*".into())),
            ("dangling=true", Filter::Dangling(true)),
            ("dangling=0", Filter::Dangling(false)),
            ("label=a", Filter::Label("a".into(), None)),
            ("label=a=b=c", Filter::Label("a".into(), Some("b=c".into()))),
            ("label!=a", Filter::NoLabel("a".into(), None)),
            ("until=1970-01-01T00:00:00Z", Filter::Until(Timestamp::UNIX_EPOCH)),
            ("before=x:1", Filter::Before("x:1".into())),
            ("since=x", Filter::Since("x".into())),
        ] {
            assert_eq!(text.parse::<Filter>().unwrap(), filter, "{text}");
        }
        for text in ["", "x", "reference", "reference=", "dangling=maybe", "color=red"] {
            assert!(text.parse::<Filter>().unwrap_err().way_out().is_some(), "{text}");
        }
    }

    #[test]
    fn names_are_matched_short_and_whole() {
        let filters =
            |pattern: &str| Filters { patterns: vec![pattern.into()], ..Filters::default() };
        let name = "debian:12".parse().unwrap();
        for pattern in ["debian", "debian:*", "docker.io/library/debian", "docker.io/*/debian:1?"] {
            assert!(filters(pattern).names(&name), "{pattern}");
        }
        for pattern in ["deb", "ubuntu", "*/debian", "debian:11"] {
            assert!(!filters(pattern).names(&name), "{pattern}");
        }
    }
}
