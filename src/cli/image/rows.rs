//! What tables of images say of names, IDs and times, as docker words them.

use jiff::Timestamp;

use crate::digest::Digest;
use crate::image::Reference;

/// `debian`, `q.io/a/b`: a name without tag and digest; whole where the short name means another image.
pub fn repository(name: &Reference, is_hidden: bool) -> String {
    shown(&Reference { tag: None, digest: None, ..name.clone() }, is_hidden)
}

/// A name as people type it: whole where its short form means another image.
pub fn shown(name: &Reference, is_hidden: bool) -> String {
    if is_hidden { name.to_string() } else { name.familiar() }
}

/// Twelve digits, or the whole digest.
pub fn id(digest: &Digest, whole: bool) -> String {
    if whole { digest.to_string() } else { digest.short().to_owned() }
}

/// `2024-04-10 00:00:00 +0000 UTC`: Go's, in universal time.
pub fn time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string()
}

/// Widest column of commands and descriptions in docker's tables, the ellipsis included.
const WIDEST: usize = 45;

/// The text, cut to docker's width.
pub fn shortened(text: &str) -> String {
    match text.chars().count() > WIDEST {
        true => text.chars().take(WIDEST - 1).chain(['…']).collect(),
        false => text.to_owned(),
    }
}
