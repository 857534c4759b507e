//! Typed names of image sources and destinations: `docker://REF`, `oci:DIR[:TAG]`, `oci-archive:FILE[:TAG]`,
//! `docker-archive:FILE[:REF]`, else a reference.
//!
//! The rules are skopeo's and podman's (containers-transports(5)): a path ends at the first colon, so no path can
//! contain one.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::reference::TypedReference;
use crate::error::{Context, Error, Result};

/// Source or destination of an image. An archive called `-` is a stream of the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageLocation {
    /// A registry.
    Registry(TypedReference),
    /// A folder in OCI's image layout.
    Oci {
        /// Path of the folder.
        dir: PathBuf,
        /// `org.opencontainers.image.ref.name` of the image in the folder.
        reference: Option<String>,
    },
    /// A tar of such a folder.
    OciArchive {
        /// Path of the archive.
        file: PathBuf,
        /// `org.opencontainers.image.ref.name` of the image in the archive.
        reference: Option<String>,
    },
    /// An archive in the form of `docker save`.
    DockerArchive {
        /// Path of the archive.
        file: PathBuf,
        /// Image to select from the archive; `None`: the only one.
        image: Option<ArchiveSelector>,
    },
}

/// Selects an image of a docker-archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArchiveSelector {
    /// By this name.
    Named(TypedReference),
    /// By position, from 0 on (`@N`).
    At(usize),
}

impl ImageLocation {
    /// True for an archive called `-`: a stream of the caller.
    pub fn is_stream(&self) -> bool {
        match self {
            Self::Registry(_) | Self::Oci { .. } => false,
            Self::OciArchive { file, .. } | Self::DockerArchive { file, .. } => {
                file.as_os_str() == "-"
            }
        }
    }
}

impl FromStr for ImageLocation {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if let Some(reference) = text.strip_prefix("docker://") {
            return Ok(Self::Registry(reference.parse()?));
        }
        let of = || format!("'{}'", text.escape_debug());
        match text.split_once(':') {
            Some(("oci", rest)) => {
                let (dir, reference) = path_and_name(rest).context(of)?;
                Ok(Self::Oci { dir, reference })
            }
            Some(("oci-archive", rest)) => {
                let (file, reference) = path_and_name(rest).context(of)?;
                Ok(Self::OciArchive { file, reference })
            }
            Some(("docker-archive", rest)) => {
                let (file, image) = path_and_image(rest).context(of)?;
                Ok(Self::DockerArchive { file, image })
            }
            Some((known @ ("docker-daemon" | "containers-storage"), _)) => {
                Err(Error::invalid(format!("{}: usnea has no transport {known}", of())).hint(
                    "have docker or podman write it: docker save IMAGE | usnea load, podman save IMAGE | usnea load",
                ))
            }
            _ => Ok(Self::Registry(text.parse()?)),
        }
    }
}

impl fmt::Display for ImageLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut with = |transport: &str, path: &PathBuf, name: Option<String>| {
            write!(f, "{transport}:{}", path.display())?;
            name.iter().try_for_each(|name| write!(f, ":{name}"))
        };
        match self {
            Self::Registry(typed) => write!(f, "docker://{}", shown(typed)),
            Self::Oci { dir, reference } => with("oci", dir, reference.clone()),
            Self::OciArchive { file, reference } => with("oci-archive", file, reference.clone()),
            Self::DockerArchive { file, image } => {
                with("docker-archive", file, image.as_ref().map(ToString::to_string))
            }
        }
    }
}

impl fmt::Display for ArchiveSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(typed) => f.write_str(&shown(typed)),
            Self::At(number) => write!(f, "@{number}"),
        }
    }
}

fn shown(typed: &TypedReference) -> String {
    let mut text = typed.registry.as_ref().map(|name| format!("{name}/")).unwrap_or_default();
    text += &typed.repository;
    if let Some(tag) = &typed.tag {
        text += &format!(":{tag}");
    }
    if let Some(digest) = &typed.digest {
        text += &format!("@{digest}");
    }
    text
}

fn split(rest: &str) -> Result<(PathBuf, Option<&str>)> {
    let (path, name) = match rest.split_once(':') {
        Some((path, name)) => (path, Some(name)),
        None => (rest, None),
    };
    if path.is_empty() {
        return Err(Error::invalid("no path"));
    }
    Ok((path.into(), name.filter(|name| !name.is_empty())))
}

fn path_and_name(rest: &str) -> Result<(PathBuf, Option<String>)> {
    let (path, name) = split(rest)?;
    if let Some(name) = name.filter(|name| !is_ref_name(name)) {
        return Err(Error::invalid(format!(
            "'{}' is not the name of an image",
            name.escape_debug()
        ))
        .hint("a path ends at its first colon: rename one that has a colon"));
    }
    Ok((path, name.map(str::to_owned)))
}

fn path_and_image(rest: &str) -> Result<(PathBuf, Option<ArchiveSelector>)> {
    let (path, name) = split(rest)?;
    let Some(name) = name else { return Ok((path, None)) };
    if let Some(number) = name.strip_prefix('@') {
        let number = number.parse();
        let number = number.map_err(|_| Error::invalid(format!("'{name}' is not @NUMBER")))?;
        return Ok((path, Some(ArchiveSelector::At(number))));
    }
    let typed: TypedReference = name.parse()?;
    if typed.digest.is_some() {
        return Err(Error::invalid("the images of a docker-archive have tags, no digests"));
    }
    Ok((path, Some(ArchiveSelector::Named(typed))))
}

/// Checks the grammar of `org.opencontainers.image.ref.name` (image spec, annotations.md).
fn is_ref_name(name: &str) -> bool {
    let component = |component: &str| {
        let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
        let between =
            |between: &str| matches!(between, "" | "-" | "." | "_" | ":" | "@" | "+" | "--");
        edge(component.bytes().next())
            && edge(component.bytes().last())
            && component.split(|c: char| c.is_ascii_alphanumeric()).all(between)
    };
    name.split('/').all(component)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place(text: &str) -> ImageLocation {
        text.parse().unwrap()
    }

    #[test]
    fn each_transport_has_its_form() {
        let oci = |dir: &str, name: Option<&str>| ImageLocation::Oci {
            dir: dir.into(),
            reference: name.map(str::to_owned),
        };
        assert_eq!(place("oci:/x/y"), oci("/x/y", None));
        assert_eq!(place("oci:x:"), oci("x", None));
        assert_eq!(place("oci:x:1.2"), oci("x", Some("1.2")));
        assert_eq!(place("oci:x:q.io/a/b:1"), oci("x", Some("q.io/a/b:1")));
        assert_eq!(
            place("oci-archive:a.tar:v1"),
            ImageLocation::OciArchive { file: "a.tar".into(), reference: Some("v1".into()) }
        );
        assert_eq!(
            place("docker-archive:-:q.io/x:1"),
            ImageLocation::DockerArchive {
                file: "-".into(),
                image: Some(ArchiveSelector::Named("q.io/x:1".parse().unwrap()))
            }
        );
        assert_eq!(
            place("docker-archive:a.tar:@3"),
            ImageLocation::DockerArchive {
                file: "a.tar".into(),
                image: Some(ArchiveSelector::At(3))
            }
        );
        for text in ["docker://debian:12", "debian:12"] {
            assert_eq!(place(text), ImageLocation::Registry("debian:12".parse().unwrap()));
        }
        // A name that begins like a transport is none.
        assert_eq!(
            place("ocicl/ocicl:1"),
            ImageLocation::Registry("ocicl/ocicl:1".parse().unwrap())
        );
    }

    #[test]
    fn an_invalid_transport_is_refused() {
        let digest = crate::digest::Digest::of(b"");
        for text in [
            "",
            "oci:",
            "oci::x",
            "oci:a:b c",
            "oci:a:-x",
            "oci:a:b//c",
            "oci:a:../x",
            "oci-archive:",
            "docker-archive:",
            "docker-archive:a:@",
            "docker-archive:a:@x",
            "docker-archive:a:@-1",
            "docker-archive:a:B",
            &format!("docker-archive:a:b@{digest}"),
            "docker-daemon:x:1",
            "containers-storage:x",
            "docker://",
        ] {
            assert!(text.parse::<ImageLocation>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_parsed_back(text in "(oci|oci-archive|docker-archive|docker):[ -~]{0,40}") {
            if let Ok(place) = text.parse::<ImageLocation>() {
                prop_assert_eq!(place.to_string().parse::<ImageLocation>().unwrap(), place);
            }
        }

        #[test]
        fn nothing_typed_panics(text in "\\PC{0,80}") {
            let _ = text.parse::<ImageLocation>();
        }
    }
}
