//! Names of the images in an archive or a layout.

use super::super::stores::given_name;
use crate::image::reference::{Reference, TypedReference};

/// Rule for reading the names of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Naming {
    /// Rule for a docker-archive.
    Docker,
    /// Rule for an OCI layout.
    Oci,
}

/// Returns the references of an archive's names.
pub(super) fn names(texts: &[String], naming: Naming) -> Vec<Reference> {
    let mut names: Vec<Reference> = Vec::new();
    for text in texts {
        let name = match (text.parse::<TypedReference>(), naming) {
            // A name with a tag and a digest is left out: nothing proves that the tag means that digest.
            (Ok(typed), _) if typed.digest.is_some() => None,
            (Ok(_), Naming::Docker) => text.parse().ok(),
            (Ok(typed), Naming::Oci) => given_name(&typed).ok(),
            (Err(_), _) => None,
        };
        match name {
            Some(name) if names.contains(&name) => {}
            Some(name) => names.push(name),
            None => {
                let text: String = text.chars().take(200).collect();
                log::warn!("'{}' is not a name for an image: left out", text.escape_debug());
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_archives_are_completed_as_their_writers_meant_them() {
        let of = |text: &str, naming| {
            names(&[text.to_owned()], naming).first().map(Reference::to_string)
        };
        for (text, docker, oci) in [
            ("debian:12", "docker.io/library/debian:12", "localhost/debian:12"),
            ("q.io/x:1", "q.io/x:1", "q.io/x:1"),
            ("localhost/x:1", "localhost/x:1", "localhost/x:1"),
            ("v1", "docker.io/library/v1:latest", "localhost/v1:latest"),
        ] {
            assert_eq!(of(text, Naming::Docker).unwrap(), docker);
            assert_eq!(of(text, Naming::Oci).unwrap(), oci);
        }
        for text in ["", "A B", "../x", "\u{1b}[31m"] {
            assert_eq!(of(text, Naming::Docker), None);
            assert_eq!(of(text, Naming::Oci), None);
        }
    }
}
