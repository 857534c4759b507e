//! References: `[REGISTRY/]REPOSITORY[:TAG][@DIGEST]`, as docker writes and completes them.
//!
//! Parsed by hand: the grammar is small, and the usual crates compile a regular expression for it, which alone takes
//! longer than a launch. Grammar: distribution's `reference` package.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::{Error, Result};

/// Registry of names without a registry.
pub const DOCKER_HUB: &str = "docker.io";
/// Registry of images that were built here and never pulled (podman's).
pub const LOCALHOST: &str = "localhost";
/// Prefix of repositories without a folder on docker.io.
const LIBRARY: &str = "library/";
/// Longest repository, and longest registry, in bytes.
const LONGEST: usize = 255;

/// A complete reference: registry, repository, and a tag or digest or both.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    /// Registry: `docker.io`, `127.0.0.1:5000`.
    pub registry: String,
    /// Repository: `library/debian`.
    pub repository: String,
    /// Tag: `12`; `None` only with a digest.
    pub tag: Option<String>,
    /// Digest of the manifest or index; `None`: any.
    pub digest: Option<Digest>,
}

/// A reference as typed: its registry may be missing (a short name).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypedReference {
    /// Registry, if typed.
    pub registry: Option<String>,
    /// Repository as typed: `debian`, `library/debian`.
    pub repository: String,
    /// Tag, if typed.
    pub tag: Option<String>,
    /// Digest, if typed.
    pub digest: Option<Digest>,
}

impl FromStr for TypedReference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = |why: &str| Error::invalid(format!("image '{}': {why}", text.escape_debug()));
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                (rest, Some(digest.parse::<Digest>().map_err(|error| bad(&error.to_string()))?))
            }
            None => (text, None),
        };
        // A colon after the last slash begins a tag; an earlier colon begins a port.
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
            return Err(bad(&format!("'{}' is not a tag", tag.escape_debug())));
        }
        let (registry, repository) = match name.split_once('/') {
            Some((first, rest)) if is_registry(first) => (Some(first), rest),
            _ => (None, name),
        };
        if name.is_empty() {
            return Err(bad("no name"));
        }
        if registry.is_some_and(|registry| !is_host(registry)) {
            return Err(bad("the part before the first / is not the name of a registry"));
        }
        if !repository.split('/').all(is_component) {
            let hint = "lower-case letters and digits, separated by one of . _ __ - and /";
            return Err(bad("not a valid name").hint(hint));
        }
        // The limit is for the completed name: docker.io puts `library/` before a repository without a folder.
        let added = if repository.contains('/') { 0 } else { LIBRARY.len() };
        if repository.len() + added > LONGEST {
            return Err(bad("the name is longer than 255 characters"));
        }
        Ok(Self {
            registry: registry.map(str::to_owned),
            repository: repository.to_owned(),
            tag: tag.map(str::to_owned),
            digest,
        })
    }
}

impl TypedReference {
    /// Completes the reference: `registry` if none was typed, `latest` without tag and digest, and docker's `library/`
    /// if the registry is docker.io.
    pub fn in_registry(&self, registry: &str) -> Reference {
        let registry = match self.registry.as_deref().unwrap_or(registry) {
            "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB,
            other => other,
        };
        let repository = match (registry, self.repository.contains('/')) {
            (DOCKER_HUB, false) => format!("{LIBRARY}{}", self.repository),
            _ => self.repository.clone(),
        };
        let tag = match (&self.tag, &self.digest) {
            (None, None) => Some("latest".to_owned()),
            (tag, _) => tag.clone(),
        };
        Reference { registry: registry.to_owned(), repository, tag, digest: self.digest.clone() }
    }
}

impl Reference {
    /// Registry and repository: `docker.io/library/debian`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// Tag or digest for a request to the registry: the digest if present, else the tag.
    pub fn which(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.clone().unwrap_or_else(|| "latest".to_owned()),
        }
    }

    /// The reference without its digest; `None`: the reference has no tag.
    pub fn without_digest(&self) -> Option<Self> {
        self.tag.as_ref()?;
        Some(Self { digest: None, ..self.clone() })
    }

    /// Short form as docker shows it: without `docker.io/` and `library/`, as long as the short form still means the
    /// same.
    pub fn familiar(&self) -> String {
        let text = self.to_string();
        let Some(short) = text.strip_prefix("docker.io/") else { return text };
        let means_this =
            |short: &&str| short.parse().is_ok_and(|other: Self| other.name() == self.name());
        let mut shorter = [short.strip_prefix(LIBRARY), Some(short)].into_iter().flatten();
        shorter.find(means_this).unwrap_or(&text).to_owned()
    }
}

impl FromStr for Reference {
    type Err = Error;

    /// Parses a complete reference, as in images.json; completes a short name as docker does.
    fn from_str(text: &str) -> Result<Self> {
        Ok(text.parse::<TypedReference>()?.in_registry(DOCKER_HUB))
    }
}

impl TryFrom<String> for Reference {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

/// True if the part before the first slash is a registry (docker's rule). A registry has a dot or a port, is localhost,
/// or has upper-case letters, which no repository may have.
fn is_registry(first: &str) -> bool {
    first == LOCALHOST
        || first.contains(['.', ':'])
        || first.chars().any(|c| c.is_ascii_uppercase())
}

fn is_host(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) if address.parse::<std::net::Ipv6Addr>().is_ok() => {
                match port.strip_prefix(':') {
                    None if !port.is_empty() => return false,
                    port => ("v6", port),
                }
            }
            _ => return false,
        },
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let is_label = |label: &str| {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        !label.is_empty()
            && label.bytes().all(good)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_port = |port: &str| {
        !port.is_empty()
            && port.bytes().all(|byte| byte.is_ascii_digit())
            && port.parse::<u16>().is_ok()
    };
    text.len() <= LONGEST && host.split('.').all(is_label) && port.is_none_or(is_port)
}

fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|byte| word(byte) || byte == b'.' || byte == b'-')
}

/// Matches `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`.
fn is_component(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let separates = |between: &str| {
        between == "."
            || between == "_"
            || between == "__"
            || between.bytes().all(|byte| byte == b'-')
    };
    let edges = text.bytes().next().is_some_and(letter) && text.bytes().last().is_some_and(letter);
    edges
        && text
            .split(|c: char| c.is_ascii() && letter(c as u8))
            .filter(|between| !between.is_empty())
            .all(separates)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(text: &str) -> String {
        text.parse::<Reference>().unwrap().to_string()
    }

    #[test]
    fn short_names_are_completed_as_docker_does() {
        assert_eq!(complete("debian"), "docker.io/library/debian:latest");
        assert_eq!(complete("me/tool:1.2"), "docker.io/me/tool:1.2");
        assert_eq!(complete("index.docker.io/debian"), "docker.io/library/debian:latest");
        assert_eq!(complete("localhost/x"), "localhost/x:latest");
        assert_eq!(complete("127.0.0.1:5000/a/b/c__d:T"), "127.0.0.1:5000/a/b/c__d:T");
        assert_eq!(complete("[::1]:5000/x"), "[::1]:5000/x:latest");
        let digest = Digest::of(b"");
        assert_eq!(complete(&format!("q.io/x@{digest}")), format!("q.io/x@{digest}"));
        assert_eq!(complete(&format!("q.io/x:1@{digest}")), format!("q.io/x:1@{digest}"));
    }

    #[test]
    fn familiar_names_are_dockers() {
        for (text, familiar) in [
            ("debian", "debian:latest"),
            ("me/tool:1", "me/tool:1"),
            ("q.io/library/x:1", "q.io/library/x:1"),
            ("docker.io/library/x/y:1", "library/x/y:1"),
            // Found by fuzzing: the rest looked like a name at another registry.
            ("docker.io/q.io/x:1", "docker.io/q.io/x:1"),
            ("docker.io/localhost/x:1", "docker.io/localhost/x:1"),
            ("docker.io/library/q.io/x:1", "library/q.io/x:1"),
        ] {
            assert_eq!(text.parse::<Reference>().unwrap().familiar(), familiar);
        }
        // The name alone, as tables show it.
        let name = Reference { tag: None, ..complete("debian").parse().unwrap() };
        assert_eq!(name.familiar(), "debian");
    }

    #[test]
    fn an_invalid_reference_is_refused() {
        for text in [
            "",
            ":tag",
            "a:",
            "A",
            "a//b",
            "/a",
            "a/",
            "a@",
            "a@sha256:12",
            "a:b:c",
            "a b",
            "a.-b",
            "-a",
            "a-",
            "a___b",
            "../a",
            "q.io/../x",
            "q..io/x",
            "q.io:99999/x",
            "q.io:/x",
            "a:-b",
            "a\u{0}",
            "é",
            "q.io/",
            "[::1/x",
            "a:é",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text:?}");
        }
        assert!("a".repeat(256).parse::<Reference>().is_err());
        assert!(format!("{}.io/x", "a".repeat(256)).parse::<Reference>().is_err());
        assert!(format!("a:{}", "t".repeat(129)).parse::<Reference>().is_err());
    }

    /// Found by fuzzing: a completed short name could be too long to be parsed again.
    #[test]
    fn the_longest_name_is_still_one_when_it_is_complete() {
        for text in ["a".repeat(247), format!("b/{}", "a".repeat(253))] {
            assert_eq!(complete(&text), complete(&complete(&text)));
            assert!(format!("{text}a").parse::<TypedReference>().is_err());
        }
    }

    /// Found by fuzzing: text between `]` and the port was never checked.
    #[test]
    fn an_address_is_followed_by_a_port_alone() {
        assert!("[::1]:5000/x".parse::<TypedReference>().is_ok());
        assert!("[::1]/x".parse::<TypedReference>().is_ok());
        for wrong in ["[::1]x/x", "[::1]\0:5000/x", "[::1]-9:5000[::]/x", "[::1]../x"] {
            assert!(wrong.parse::<TypedReference>().is_err(), "{}", wrong.escape_debug());
        }
    }
}
