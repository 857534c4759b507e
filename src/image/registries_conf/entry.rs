//! A `[[registry]]` of registries.conf: the names that match, and their locations and mirrors.

use std::path::PathBuf;

use crate::error::{Context, Error, Result};
use crate::fail;
use crate::image::reference::{DOCKER_HUB, Reference, TypedReference};

/// A validated `[[registry]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryEntry {
    /// Beginning of matching names: `example.com/foo`, `*.example.com`.
    pub prefix: String,
    /// Replacement for the prefix; `None`: no replacement (only with `*.`).
    pub location: Option<String>,
    /// True if certificates are not verified and plain HTTP is allowed.
    pub insecure: bool,
    /// True if pulls from the registry are refused.
    pub blocked: bool,
    /// Mirrors tried before the registry itself, in this order.
    pub mirrors: Vec<Mirror>,
    /// Path of the configuration file.
    pub file: PathBuf,
}

/// A `[[registry.mirror]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Replacement for the prefix.
    pub location: String,
    /// As for a registry.
    pub insecure: bool,
    /// References for which the mirror is used.
    pub serves: MirrorScope,
}

/// References for which a mirror is used (`pull-from-mirror`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MirrorScope {
    /// All references.
    All,
    /// References with a digest: a mirror cannot substitute other content.
    Digests,
    /// References without a digest.
    Tags,
}

impl MirrorScope {
    fn suits(self, reference: &Reference) -> bool {
        match self {
            Self::All => true,
            Self::Digests => reference.digest.is_some(),
            Self::Tags => reference.digest.is_none(),
        }
    }
}

/// A location of a reference, in the terms of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryLocation {
    /// Reference at this location.
    pub reference: Reference,
    /// The file's setting for this location.
    pub insecure: bool,
}

impl RegistryEntry {
    /// Length in bytes of the part of `name` (registry, repository, tag, digest) that the prefix matches. `None`: no
    /// match.
    pub fn matched(&self, name: &str) -> Option<usize> {
        let end = match self.prefix.strip_prefix('*') {
            Some(domain) => {
                let host = name.split(['/', ':', '@']).next().unwrap_or_default();
                (host.len() > domain.len() && host.ends_with(domain)).then_some(host.len())?
            }
            None => name.starts_with(&self.prefix).then_some(self.prefix.len())?,
        };
        // A colon also begins a port: example.com matches example.com:5000 too. containers/image does the same, and a
        // blocked host means all its ports.
        let rest = name.get(end..)?;
        (rest.is_empty() || rest.starts_with(['/', ':', '@'])).then_some(end)
    }

    /// Rank of the match: the longest wins. Of the wildcards, which all match the whole host, the narrowest wins.
    pub fn rank(&self, name: &str) -> Option<(usize, bool, usize)> {
        let matched = self.matched(name)?;
        Some((matched, !self.prefix.starts_with('*'), self.prefix.len()))
    }

    /// Locations of `reference`: suitable mirrors, then the registry itself. Errors: a location that gives no valid
    /// reference.
    pub fn places(&self, reference: &Reference) -> Result<Vec<RegistryLocation>> {
        let mut places = Vec::new();
        for mirror in self.mirrors.iter().filter(|mirror| mirror.serves.suits(reference)) {
            let reference = self.rewrite(reference, &mirror.location)?;
            places.push(RegistryLocation { reference, insecure: mirror.insecure });
        }
        let itself = match &self.location {
            Some(location) => self.rewrite(reference, location)?,
            None => reference.clone(),
        };
        places.push(RegistryLocation { reference: itself, insecure: self.insecure });
        Ok(places)
    }

    fn rewrite(&self, reference: &Reference, location: &str) -> Result<Reference> {
        let text = reference.to_string();
        let rest = self.matched(&text).and_then(|end| text.get(end..)).unwrap_or_default();
        let said = || {
            let (file, prefix) = (self.file.display(), &self.prefix);
            format!("{file}: the location '{}' for '{prefix}'", location.escape_debug())
        };
        let typed: TypedReference = format!("{location}{rest}").parse().context(said)?;
        if typed.registry.is_none() {
            return Err(Error::new("it does not begin with a registry")).context(said);
        }
        // A prefix may end in a tag or digest. The requested tag or digest must not change.
        let said_nothing = typed.tag.is_none() && typed.digest.is_none();
        if !said_nothing && (&typed.tag, &typed.digest) != (&reference.tag, &reference.digest) {
            return Err(Error::new(format!("it makes another image of {reference}"))).context(said);
        }
        let rewritten = typed.in_registry(DOCKER_HUB);
        Ok(Reference { tag: reference.tag.clone(), digest: reference.digest.clone(), ..rewritten })
    }
}

/// Removes the slashes at the end of a location or prefix. Errors: empty, or an address.
pub fn location(text: &str) -> Result<String> {
    let trimmed = text.trim_end_matches('/');
    if trimmed.is_empty() {
        fail!("an empty location");
    }
    if trimmed.starts_with("http://") || trimmed.starts_with("https://") {
        return Err(Error::new(format!("'{}' begins with http", text.escape_debug()))
            .hint("a location is HOST[:PORT][/PATH]; 'insecure = true' allows plain HTTP"));
    }
    Ok(trimmed.to_owned())
}

/// Checks a prefix. Errors: those of [`location`], and a `*` that does not stand for the beginning of a host.
pub fn prefix(text: &str) -> Result<String> {
    let prefix = location(text)?;
    let shown = prefix.escape_debug();
    match prefix.strip_prefix("*.") {
        Some(domain) if domain.is_empty() || domain.contains(['/', ':', '@', '*']) => {
            fail!("'{shown}': after *. there must be a domain and nothing more")
        }
        None if prefix.contains('*') => fail!("'{shown}': a * is only allowed as *.DOMAIN"),
        _ => Ok(prefix),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(prefix: &str, location: Option<&str>) -> RegistryEntry {
        RegistryEntry {
            prefix: prefix.to_owned(),
            location: location.map(str::to_owned),
            insecure: false,
            blocked: false,
            mirrors: Vec::new(),
            file: "/registries.conf".into(),
        }
    }

    #[test]
    fn a_prefix_ends_where_a_part_of_the_name_ends() {
        for (prefix, name, matched) in [
            ("example.com", "example.com/x:1", Some(11)),
            ("example.com", "example.com", Some(11)),
            ("example.com", "example.com:5000/x", Some(11)),
            ("example.com", "example.community/x", None),
            ("example.com/foo", "example.com/foo/bar", Some(15)),
            ("example.com/foo", "example.com/foobar", None),
            ("example.com/foo:1", "example.com/foo:1", Some(17)),
            ("example.com/foo:1", "example.com/foo:12", None),
            ("example.com/foo", "example.com", None),
            ("*.example.com", "bar.example.com/x", Some(15)),
            ("*.example.com", "foo.bar.example.com", Some(19)),
            ("*.example.com", "foo.example.com:5000/x", Some(15)),
            ("*.example.com", "example.com/x", None),
            ("*.example.com", "badexample.com/x", None),
            ("*.example.com", "bar.example.com.evil/x", None),
            ("*.example.com", "evil/bar.example.com", None),
        ] {
            assert_eq!(entry(prefix, None).matched(name), matched, "{prefix} {name}");
        }
    }

    #[test]
    fn a_location_takes_the_place_of_the_prefix() {
        let rewrite = |prefix, location, name: &str| {
            entry(prefix, Some(location))
                .places(&name.parse().unwrap())
                .map(|places| places[0].reference.to_string())
        };
        let ok = |prefix, location, name| rewrite(prefix, location, name).unwrap();
        assert_eq!(
            ok("example.com/foo", "internal.net/bar", "example.com/foo/myimage:latest"),
            "internal.net/bar/myimage:latest"
        );
        assert_eq!(ok("a.io", "b.io:5000", "a.io/x:1"), "b.io:5000/x:1");
        assert_eq!(ok("a.io:1", "docker.io", "a.io:1/x:1"), "docker.io/library/x:1");
        assert_eq!(ok("*.a.io", "b.io/all", "c.a.io/x:1"), "b.io/all/x:1");
        assert_eq!(ok("a.io/x:1", "b.io/x:1", "a.io/x:1"), "b.io/x:1");
        assert_eq!(ok("a.io/x:1", "b.io/x", "a.io/x:1"), "b.io/x:1");
        for (location, why) in [
            ("b.io/x:2", "makes another image of a.io/x:1"),
            ("local/x:1", "does not begin with a registry"),
            ("b.io/X:1", "not a valid name"),
            ("b.io/../x:1", "not a valid name"),
        ] {
            let error = rewrite("a.io/x:1", location, "a.io/x:1").unwrap_err().to_string();
            assert!(error.contains(why) && error.starts_with("/registries.conf: "), "{error}");
        }
    }

    #[test]
    fn locations_and_prefixes_are_checked() {
        assert_eq!(location("a.io/x//").unwrap(), "a.io/x");
        for bad in ["", "/", "http://a.io", "https://a.io/x"] {
            assert!(location(bad).is_err(), "{bad}");
        }
        assert_eq!(prefix("*.example.com").unwrap(), "*.example.com");
        for bad in
            ["*", "*.", "example.*.com", "*.example.com/foo", "*.example.com:5000/foo/bar:baz", ""]
        {
            assert!(prefix(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_prefix_location_or_name_breaks_us(
            one in "(\\*\\.)?[a-z.é/:@*]{0,12}", other in "[a-zA-Z.é/:@]{0,12}", name in "[a-z./é:]{0,16}",
        ) {
            let entry = entry(&one, Some(&other));
            entry.rank(&name);
            if let Ok(reference) = name.parse() {
                let _ = entry.places(&reference);
            }
            let _ = (location(&one), prefix(&one));
        }
    }
}
