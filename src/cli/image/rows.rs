//! Names, IDs and times in tables of images, in docker's words.

use jiff::Timestamp;

use crate::digest::Digest;
use crate::image::Reference;

/// Formats a name without tag and digest (`debian`, `q.io/a/b`): whole where the short name means another image.
pub fn repository(name: &Reference, is_hidden: bool) -> String {
    shown(&Reference { tag: None, digest: None, ..name.clone() }, is_hidden)
}

/// Formats a name as people type it: whole where its short form means another image.
pub fn shown(name: &Reference, is_hidden: bool) -> String {
    if is_hidden { name.to_string() } else { name.familiar() }
}

/// Formats an ID: twelve digits, or the whole digest.
pub fn id(digest: &Digest, whole: bool) -> String {
    if whole { digest.to_string() } else { digest.short().to_owned() }
}

/// Formats a time as Go does, in universal time: `2024-04-10 00:00:00 +0000 UTC`.
pub fn time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string()
}

/// Widest column of commands and descriptions in docker's tables, with the ellipsis.
const WIDEST: usize = 45;

/// Cuts the text to docker's width.
pub fn shortened(text: &str) -> String {
    match text.chars().count() > WIDEST {
        true => text.chars().take(WIDEST - 1).chain(['…']).collect(),
        false => text.to_owned(),
    }
}
