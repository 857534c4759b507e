//! Filter `ancestor`: containers of an image, and of images that were built on it. Images are compared by their IDs,
//! not by names. A name of no existing image is compared with the name in the container's record.

use std::path::Path;
use std::sync::OnceLock;

use crate::config::Settings;
use crate::container::Container;
use crate::container::stores::Stores;
use crate::digest::Digest;
use crate::error::Result;
use crate::image::registries_conf::Registries;
use crate::image::store::ImageRecord;

/// Image as typed, and the images that it means: looked up once, for the first container.
#[derive(Clone, Debug)]
pub struct Ancestor {
    text: String,
    found: OnceLock<Family>,
}

/// Image, and the images that were built on it.
#[derive(Clone, Debug, Default)]
struct Family {
    /// IDs of the images: digests of configs.
    ids: Vec<String>,
}

impl PartialEq for Ancestor {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Ancestor {}

impl Ancestor {
    /// Makes the filter for the image that `text` names.
    pub(super) fn new(text: String) -> Self {
        Self { text, found: OnceLock::new() }
    }

    /// True if the container was made from the image or a descendant. Errors: the stores cannot be read.
    pub(super) fn is_of(&self, container: &Container) -> Result<bool> {
        let family = match self.found.get() {
            Some(family) => family,
            None => {
                let family = Family::of(&self.text, &container.store)?;
                self.found.get_or_init(|| family)
            }
        };
        let record = &container.record;
        let is_family = record.image_id.as_ref().is_some_and(|id| family.ids.contains(id));
        Ok(is_family || is_named(&record.image, record.image_id.as_deref(), &self.text))
    }
}

impl Family {
    fn of(text: &str, store: &Path) -> Result<Self> {
        let stores = Stores::look(store, &Settings::load()?);
        let Ok(Some((_, image))) = stores.find(text, &Registries::load()?) else {
            return Ok(Self::default());
        };
        let mut ids = Vec::new();
        for list in stores.lists() {
            for other in list?.1.all() {
                if other.config == image.config || is_built_on(other, &image) {
                    ids.push(other.config.to_string());
                }
            }
        }
        Ok(Self { ids })
    }
}

/// True if `other` has the layers of `image` and more of its own, or was made later from the same layers.
fn is_built_on(other: &ImageRecord, image: &ImageRecord) -> bool {
    let (below, all) = (layers(image), layers(other));
    !below.is_empty()
        && all.starts_with(&below)
        && (all.len() > below.len() || other.created > image.created)
}

fn layers(image: &ImageRecord) -> Vec<Digest> {
    image.layers.iter().map(|layer| layer.diff_id.clone()).collect()
}

/// True if the text is the image's name in the record, that name without its tag, or a prefix of the image's ID.
fn is_named(image: &str, image_id: Option<&str>, text: &str) -> bool {
    let without_tag = match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => image,
    };
    let id = text.strip_prefix("sha256:").unwrap_or(text);
    let is_id = id.len() >= 4 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let has_id = || image_id.is_some_and(|of| of.trim_start_matches("sha256:").starts_with(id));
    image == text || without_tag == text || (is_id && has_id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_gone_are_compared_as_they_were_typed() {
        for (text, fits) in [
            ("q.io:5000/a:1", true),
            ("q.io:5000/a", true),
            ("q.io", false),
            ("0123", true),
            ("sha256:01234", true),
            ("012", false),
        ] {
            assert_eq!(is_named("q.io:5000/a:1", Some("sha256:0123456"), text), fits, "{text}");
        }
        assert!(is_named("q.io:5000/a", None, "q.io:5000/a"));
        assert!(!is_named("q.io:5000/a", None, "q.io"));
    }
}
