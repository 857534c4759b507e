//! Phrase of an error: text, and settings that it concerns. The code that renders an error decides how settings are
//! written.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};

use super::setting::Setting;

/// Longest text in bytes: longer ones are paths that nobody reads to their end.
pub(super) const LONGEST_TEXT: usize = 2000;

/// Phrase of an error: its parts in their order.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Phrase(Vec<PhrasePart>);

/// Part of a phrase.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum PhrasePart {
    /// Text as it is.
    Text(String),
    /// Setting, written as a flag on the command line.
    Setting(Setting),
}

/// Notation of settings in a rendered phrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingNotation {
    /// Flag of the command line.
    Flag,
    /// Bare name, as in a document.
    Name,
}

impl Phrase {
    /// Appends a value: `none` to `--network`.
    pub fn with(mut self, value: impl Display) -> Self {
        self.0.push(format!(" {value}").into());
        self
    }

    /// Returns the phrase with its control characters escaped.
    pub(super) fn in_one_line(self) -> Self {
        let escaped = |part| match part {
            PhrasePart::Text(text) => PhrasePart::Text(one_line(text)),
            setting => setting,
        };
        Self(self.0.into_iter().map(escaped).collect())
    }

    /// Writes the phrase with its settings in this notation.
    pub fn write(&self, notation: SettingNotation, to: &mut impl fmt::Write) -> fmt::Result {
        self.0.iter().try_for_each(|part| match (part, notation) {
            (PhrasePart::Text(text), _) => to.write_str(text),
            (PhrasePart::Setting(setting), SettingNotation::Flag) => write!(to, "{setting}"),
            (PhrasePart::Setting(setting), SettingNotation::Name) => to.write_str(setting.name()),
        })
    }
}

impl<const N: usize> From<[PhrasePart; N]> for Phrase {
    fn from(parts: [PhrasePart; N]) -> Self {
        Self(parts.into())
    }
}

impl<P: Into<PhrasePart>> From<P> for Phrase {
    fn from(part: P) -> Self {
        Self(vec![part.into()])
    }
}

impl From<Setting> for PhrasePart {
    fn from(setting: Setting) -> Self {
        Self::Setting(setting)
    }
}

impl From<String> for PhrasePart {
    fn from(text: String) -> Self {
        Self::Text(cut(text))
    }
}

impl From<&String> for PhrasePart {
    fn from(text: &String) -> Self {
        text.clone().into()
    }
}

impl From<&str> for PhrasePart {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

/// Escapes the control characters of a text that others wrote, such as a key of their JSON: an error about it is one
/// line.
pub fn one_line(text: impl Display) -> String {
    let escaped = |letter: char| match letter.is_control() {
        true => letter.escape_debug().to_string(),
        false => letter.to_string(),
    };
    text.to_string().chars().map(escaped).collect()
}

/// Shortens a text that is too long, in its middle.
pub(super) fn cut(text: String) -> String {
    if text.len() <= LONGEST_TEXT {
        return text;
    }
    let half = LONGEST_TEXT / 4;
    let beginning = text.get(..text.floor_char_boundary(half)).unwrap_or_default();
    let end = text.get(text.ceil_char_boundary(text.len() - half)..).unwrap_or_default();
    let left_out = text.len() - beginning.len() - end.len();
    format!("{beginning}[{left_out} bytes]{end}")
}

impl Setting {
    /// Phrase of the setting with a value: `--network none` on the command line.
    pub fn with(self, value: impl Display) -> Phrase {
        Phrase::from(self).with(value)
    }
}

/// `phrase!(Setting::Cpus, " is too low")`: a [`Phrase`](crate::error::Phrase) of these parts.
#[macro_export]
macro_rules! phrase {
    ($($part:expr),+ $(,)?) => {
        $crate::error::Phrase::from([$($crate::error::PhrasePart::from($part)),+])
    };
}
