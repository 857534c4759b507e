//! `--entrypoint`: a program as with docker, or podman's JSON array of a program and its first arguments.

use std::str::FromStr;

/// Entrypoint: the words that precede the command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entrypoint(Vec<String>);

impl Entrypoint {
    /// The program and its first arguments; empty if the flag only removes the image's entrypoint.
    pub fn words(&self) -> &[String] {
        &self.0
    }
}

impl FromStr for Entrypoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self(Vec::new()));
        }
        if text.starts_with('[') {
            return serde_json::from_str(text)
                .map(Self)
                .map_err(|error| format!("not a JSON array of strings: {error}"));
        }
        Ok(Self(vec![text.to_owned()]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entrypoint_is_a_word_an_array_or_nothing() {
        let words = |text: &str| text.parse::<Entrypoint>().map(|entrypoint| entrypoint.0);
        assert_eq!(words("/bin/sh -c"), Ok(vec!["/bin/sh -c".to_owned()]));
        assert_eq!(words(""), Ok(vec![]));
        assert_eq!(words(r#"["a","b c"]"#), Ok(vec!["a".to_owned(), "b c".to_owned()]));
        assert!(words("[").is_err());
        assert!(words("[1]").is_err());
    }
}
