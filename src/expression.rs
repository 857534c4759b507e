//! Regular expressions of filters, as in docker and podman: RE2's syntax, matching anywhere in a text.

use std::str::FromStr;

use regex::{Regex, RegexBuilder};

use crate::error::{Error, Result};

/// Memory limit of a compiled expression, in bytes.
const LARGEST: usize = 1 << 20;

/// Regular expression.
#[derive(Clone, Debug)]
pub struct Expression(Regex);

impl Expression {
    /// True if the expression matches in `text`, or equals `text` literally.
    pub fn is_in(&self, text: &str) -> bool {
        self.0.as_str() == text || self.0.is_match(text)
    }

    /// True if the expression matches an ID: hexadecimal digits alone match its beginning (podman's rule).
    pub fn is_of_id(&self, id: &str) -> bool {
        let text = self.0.as_str();
        let is_hex = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match is_hex {
            true => id.starts_with(&text.to_ascii_lowercase()),
            false => self.0.is_match(id),
        }
    }
}

impl FromStr for Expression {
    type Err = Error;

    /// Errors: an invalid expression, or one that takes too much memory.
    fn from_str(text: &str) -> Result<Self> {
        let compiled = RegexBuilder::new(text).size_limit(LARGEST).build();
        compiled.map(Self).map_err(|error| {
            // The last line has the reason; those before draw the place.
            let why = error.to_string();
            let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ");
            Error::invalid(format!("'{}' is no regular expression: {why}", text.escape_debug()))
                .hint("the syntax is RE2's; a backslash before a character takes it literally")
        })
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Expression {}

#[cfg(test)]
mod tests {
    use super::*;

    fn expression(text: &str) -> Expression {
        text.parse().unwrap()
    }

    #[test]
    fn expressions_are_found_anywhere_and_texts_are_themselves() {
        for (pattern, text, is_in) in [
            ("we", "web", true),
            ("^we", "web", true),
            ("^web$", "web", true),
            ("^eb", "web", false),
            ("b$", "web", true),
            ("foo|bar", "bar1", true),
            ("fo+", "foooo", true),
            ("^w.b$", "web", true),
            ("", "web", true),
            ("a+b", "a+b", true),
            (r"^\w+_\d{2}$", "calm_42", true),
            ("(?i)WEB", "web", true),
            ("WEB", "web", false),
        ] {
            assert_eq!(expression(pattern).is_in(text), is_in, "{pattern} {text}");
        }
    }

    #[test]
    fn hexadecimal_digits_are_the_beginning_of_an_id() {
        assert!(expression("ab").is_of_id("abcd") && expression("AB").is_of_id("abcd"));
        assert!(!expression("bc").is_of_id("abcd"));
        assert!(expression("cd$").is_of_id("abcd") && expression("^ab").is_of_id("abcd"));
    }

    #[test]
    fn an_invalid_expression_is_an_error_in_one_line_and_sizes_are_bounded() {
        for wrong in ["(", "[a", "*", "a{2,1}", r"\", "(?:(?:(?:x{200}){200}){200})"] {
            let error = wrong.parse::<Expression>().unwrap_err();
            assert!(!error.to_string().contains('\n') && error.hint_text().is_some(), "{error}");
        }
    }
}
