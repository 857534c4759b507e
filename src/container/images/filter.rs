//! `--filter` of `usnea images`: docker's and podman's keys. Several values of one key are alternatives, and each key
//! must match. Exceptions: labels must all be present, and excluded names and labels must all be absent.

use std::collections::HashSet;
use std::str::FromStr;

use jiff::Timestamp;

use super::pattern::matches;
use crate::container;
use crate::container::stores::Stores;
use crate::error::{Context, Error, Result};
use crate::expression::Expression;
use crate::image::Reference;
use crate::image::manifest::ImageConfig;
use crate::image::store::{ImageRecord, Store};

/// List of all filters, for hints.
const KNOWN: &str = "reference=PATTERN, reference!=PATTERN, id=ID, digest=DIGEST, dangling=BOOL, containers=BOOL, \
                     readonly=BOOL, intermediate=BOOL, manifest=BOOL, label=KEY[=VALUE], label!=KEY[=VALUE], \
                     until=TIME, before=IMAGE, since=IMAGE";

/// Filter of images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageFilter {
    /// Pattern that a name must match.
    Reference(String),
    /// True: images without a tag; false: images with a tag.
    Dangling(bool),
    /// Label of the config, and its value if one is required.
    Label(String, Option<String>),
    /// Label that the config must not have, or must not have with this value.
    NoLabel(String, Option<String>),
    /// Time before which the image was made.
    Until(Timestamp),
    /// Image that is newer than this image.
    Before(String),
    /// Image that is older than this image.
    Since(String),
    /// Pattern that no name may match.
    NoReference(String),
    /// Prefix of the ID, or a regular expression.
    Id(Expression),
    /// Prefix of the manifest's digest.
    Digest(String),
    /// True: images that a container was made from; false: the others.
    Containers(bool),
    /// True: images in a read-only store; false: images in the user's own store.
    ReadOnly(bool),
    /// True: unnamed layers of a build. The store has none.
    Intermediate(bool),
    /// True: lists of images for several platforms. The store has none.
    Manifest(bool),
}

impl FromStr for ImageFilter {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let switch = |value: &str| match value {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        };
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        let filter = match (key.trim().to_ascii_lowercase().as_str(), value.trim()) {
            (_, "") => None,
            ("reference", pattern) => Some(Self::Reference(pattern.to_owned())),
            ("reference!", pattern) => Some(Self::NoReference(pattern.to_owned())),
            ("id", text) => Some(Self::Id(text.parse()?)),
            ("digest", text) => Some(Self::Digest(text.to_owned())),
            ("dangling", text) => switch(text).map(Self::Dangling),
            ("containers", text) => switch(text).map(Self::Containers),
            ("readonly", text) => switch(text).map(Self::ReadOnly),
            ("intermediate", text) => switch(text).map(Self::Intermediate),
            ("manifest", text) => switch(text).map(Self::Manifest),
            ("label", text) => {
                let (key, value) = label(text);
                Some(Self::Label(key, value))
            }
            ("label!", text) => {
                let (key, value) = label(text);
                Some(Self::NoLabel(key, value))
            }
            ("until", time) => crate::container::time::moment(time).map(Self::Until),
            ("before", image) => Some(Self::Before(image.to_owned())),
            ("since" | "after", image) => Some(Self::Since(image.to_owned())),
            _ => None,
        };
        filter.ok_or_else(|| {
            Error::invalid(format!("filter '{}' is not known", text.escape_debug()))
                .hint(format!("one of {KNOWN}"))
        })
    }
}

fn label(text: &str) -> (String, Option<String>) {
    match text.split_once('=') {
        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
        None => (text.to_owned(), None),
    }
}

/// Filters, with the images of `before` and `since` found.
#[derive(Default)]
pub struct ImageFilters {
    patterns: Vec<String>,
    dangling: Vec<bool>,
    labels: Vec<(String, Option<String>)>,
    no_labels: Vec<(String, Option<String>)>,
    until: Option<Timestamp>,
    before: Option<Timestamp>,
    since: Option<Timestamp>,
    no_patterns: Vec<String>,
    ids: Vec<Expression>,
    digests: Vec<String>,
    containers: Vec<bool>,
    read_only: Vec<bool>,
    /// Values of `intermediate` and `manifest`, which are false for every image: with `true` no image matches.
    never: Vec<bool>,
    /// IDs of images that containers were made from; filled only for a filter `containers`.
    used: HashSet<String>,
}

/// Store in which an image was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImagePlace {
    /// The user's own store.
    Own,
    /// A read-only store.
    ReadOnly,
}

impl ImageFilters {
    /// Resolves the filters. Errors: an unknown image in `before` or `since`.
    pub fn new(all: &[ImageFilter], stores: &Stores) -> Result<Self> {
        let mut filters = Self::default();
        for filter in all {
            match filter {
                ImageFilter::Reference(pattern) => filters.patterns.push(pattern.clone()),
                ImageFilter::Dangling(value) => filters.dangling.push(*value),
                ImageFilter::Label(key, value) => filters.labels.push((key.clone(), value.clone())),
                ImageFilter::NoLabel(key, value) => {
                    filters.no_labels.push((key.clone(), value.clone()));
                }
                ImageFilter::Until(time) => filters.until = Some(*time),
                ImageFilter::Before(image) => filters.before = Some(time_of(image, stores)?),
                ImageFilter::Since(image) => filters.since = Some(time_of(image, stores)?),
                ImageFilter::NoReference(pattern) => filters.no_patterns.push(pattern.clone()),
                ImageFilter::Id(id) => filters.ids.push(id.clone()),
                ImageFilter::Digest(digest) => filters.digests.push(digest.clone()),
                ImageFilter::Containers(value) => filters.containers.push(*value),
                ImageFilter::ReadOnly(value) => filters.read_only.push(*value),
                ImageFilter::Intermediate(value) | ImageFilter::Manifest(value) => {
                    filters.never.push(*value);
                }
            }
        }
        if !filters.containers.is_empty() {
            let all = container::all_in(stores.own().root())?;
            filters.used =
                all.into_iter().filter_map(|container| container.record.image_id).collect();
        }
        Ok(filters)
    }

    /// True if the image matches all filters. Reads its config only for filters by label.
    pub fn pass(&self, store: &Store, image: &ImageRecord, place: ImagePlace) -> Result<bool> {
        let made = made(image);
        let any_or_none = |all: &[bool], is: bool| all.is_empty() || all.contains(&is);
        let by_record = any_or_none(&self.dangling, image.names.is_empty())
            && any_or_none(&self.read_only, place == ImagePlace::ReadOnly)
            && any_or_none(&self.containers, self.used.contains(&image.config.to_string()))
            && !self.never.contains(&true)
            && self.has_id(image)
            && !image.names.iter().chain(&image.digests).any(|name| self.refuses(name))
            && self.before.is_none_or(|before| made < before)
            && self.until.is_none_or(|until| made < until)
            && self.since.is_none_or(|since| made > since)
            && (self.patterns.is_empty()
                || image.names.iter().chain(&image.digests).any(|name| self.names(name)));
        let asks = !(self.labels.is_empty() && self.no_labels.is_empty());
        Ok(by_record && (!asks || self.has_labels(store, image)?))
    }

    fn has_id(&self, image: &ImageRecord) -> bool {
        let bare = |text: &str| text.trim_start_matches("sha256:").to_owned();
        let has_digest = |digest: &String| image.manifest.hex().starts_with(&bare(digest));
        let has_id = |id: &Expression| {
            id.is_of_id(image.config.hex()) || id.is_in(&image.config.to_string())
        };
        (self.ids.is_empty() || self.ids.iter().any(has_id))
            && (self.digests.is_empty() || self.digests.iter().any(has_digest))
    }

    /// True if a name of an image matches the filters by name.
    pub fn names(&self, name: &Reference) -> bool {
        self.patterns.is_empty() || is_like(name, &self.patterns)
    }

    fn refuses(&self, name: &Reference) -> bool {
        is_like(name, &self.no_patterns)
    }

    fn has_labels(&self, store: &Store, image: &ImageRecord) -> Result<bool> {
        let config = store.read_blob(&image.config)?;
        let config = ImageConfig::parse(&config).context(|| format!("config {}", image.config))?;
        let labels = &config.config.labels;
        let has = |(key, value): &(String, Option<String>)| {
            labels.get(key).is_some_and(|label| value.as_ref().is_none_or(|value| value == label))
        };
        Ok(self.labels.iter().all(has) && !self.no_labels.iter().any(has))
    }
}

fn is_like(name: &Reference, patterns: &[String]) -> bool {
    let bare = Reference { tag: None, digest: None, ..name.clone() };
    let texts = [name.familiar(), bare.familiar(), name.to_string(), name.name()];
    // An image named localhost/NAME matches by NAME too.
    let has = |pattern: &String, text: &String| {
        matches(pattern, text)
            || text.strip_prefix("localhost/").is_some_and(|short| matches(pattern, short))
    };
    patterns.iter().any(|pattern| texts.iter().any(|text| has(pattern, text)))
}

/// Returns the creation time in the image's config; without one, the time at which the image was added to the store.
pub fn made(image: &ImageRecord) -> Timestamp {
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
            ("reference=deb*", ImageFilter::Reference("deb*".into())),
            ("dangling=true", ImageFilter::Dangling(true)),
            ("dangling=0", ImageFilter::Dangling(false)),
            ("label=a", ImageFilter::Label("a".into(), None)),
            ("label=a=b=c", ImageFilter::Label("a".into(), Some("b=c".into()))),
            ("label!=a", ImageFilter::NoLabel("a".into(), None)),
            ("until=1970-01-01T00:00:00Z", ImageFilter::Until(Timestamp::UNIX_EPOCH)),
            ("before=x:1", ImageFilter::Before("x:1".into())),
            ("since=x", ImageFilter::Since("x".into())),
            ("reference!=x*", ImageFilter::NoReference("x*".into())),
            ("id=ab", ImageFilter::Id("ab".parse().unwrap())),
            ("digest=sha256:1", ImageFilter::Digest("sha256:1".into())),
            ("containers=true", ImageFilter::Containers(true)),
            ("readonly=0", ImageFilter::ReadOnly(false)),
            ("intermediate=true", ImageFilter::Intermediate(true)),
            ("manifest=false", ImageFilter::Manifest(false)),
        ] {
            assert_eq!(text.parse::<ImageFilter>().unwrap(), filter, "{text}");
        }
        for text in [
            "",
            "x",
            "reference",
            "reference=",
            "dangling=maybe",
            "color=red",
            "id=(",
            "manifest=2",
        ] {
            assert!(text.parse::<ImageFilter>().unwrap_err().hint_text().is_some(), "{text}");
        }
    }

    #[test]
    fn names_are_matched_short_and_whole() {
        let filters = |pattern: &str| ImageFilters {
            patterns: vec![pattern.into()],
            ..ImageFilters::default()
        };
        let name = "debian:12".parse().unwrap();
        for pattern in ["debian", "debian:*", "docker.io/library/debian", "docker.io/*/debian:1?"] {
            assert!(filters(pattern).names(&name), "{pattern}");
        }
        for pattern in ["deb", "ubuntu", "*/debian", "debian:11"] {
            assert!(!filters(pattern).names(&name), "{pattern}");
        }
    }
}
