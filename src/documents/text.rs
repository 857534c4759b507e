//! Texts in the rows of tables, in docker's words.

use jiff::Timestamp;

use crate::digest::Digest;
use crate::image::Reference;

/// Field of a row with its labels as a map, for `.Label "NAME"`, where `.Labels` is docker's text. No template can use
/// this name, and the field is never printed.
pub const LABELS: &str = " Labels";

/// Widest column of commands and descriptions of images in docker's tables, with the ellipsis.
pub const WIDEST: usize = 45;

/// Choice to cut IDs and long texts in rows (`--no-trunc`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Truncation {
    /// IDs have twelve digits; long texts are cut.
    #[default]
    On,
    /// IDs and texts are whole.
    Off,
}

impl Truncation {
    /// Returns the ID of an image: twelve digits, or the whole digest.
    pub fn digest(self, digest: &Digest) -> String {
        match self {
            Self::On => digest.short().to_owned(),
            Self::Off => digest.to_string(),
        }
    }

    /// Cuts the text to at most `widest` characters, with the ellipsis.
    pub fn text(self, text: &str, widest: usize) -> String {
        match self == Self::On && text.chars().count() > widest {
            true => text.chars().take(widest - 1).chain(['…']).collect(),
            false => text.to_owned(),
        }
    }
}

/// Form of an image's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NameForm {
    /// As people type it: `debian` for `docker.io/library/debian`.
    #[default]
    Short,
    /// Whole: the short form means another image.
    Whole,
}

impl NameForm {
    /// Formats a name.
    pub fn name(self, name: &Reference) -> String {
        match self {
            Self::Short => name.familiar(),
            Self::Whole => name.to_string(),
        }
    }

    /// Formats a name without tag and digest: `debian`, `q.io/a/b`.
    pub fn repository(self, name: &Reference) -> String {
        self.name(&Reference { tag: None, digest: None, ..name.clone() })
    }
}

/// Formats a time as Go does, in universal time: `2024-04-10 00:00:00 +0000 UTC`.
pub fn time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string()
}
