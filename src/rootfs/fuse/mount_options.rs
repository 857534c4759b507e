//! Options of mount(8) that every FUSE mount of usnea takes: words with commas between. A `\` stands before a comma, a
//! colon or a backslash in a name.

use std::path::PathBuf;

use super::tree::ShownIds;
use crate::error::{Error, Result};
use crate::fail;
use crate::ids::{BaseIds, FileIds, IdMaps, Map};
use crate::sys::mount::Attributes;

/// Parsed options for any content.
#[derive(Debug, Default)]
pub struct GenericOptions {
    /// Attributes of the mount.
    pub attributes: Attributes,
    /// `fsname`: source of the mount, as shown in /proc/self/mounts.
    pub source: Option<String>,
    /// Flags of the file system as a whole, passed to the kernel: `sync`, `dirsync`, `ro`.
    pub flags: Vec<String>,
    /// `X-mount.idmap`: user namespace (`/proc/PID/ns/user`) whose map moves the shown IDs.
    pub idmap: Option<PathBuf>,
    /// `uidmapping` and `gidmapping`: IDs on disk and the shown ones.
    maps: IdMaps<FileIds, BaseIds>,
}

/// Effect of an option without a value.
pub enum OptionEffect {
    /// Sets an attribute of the mount.
    Set(Attributes),
    /// Removes an attribute of the mount.
    Unset(Attributes),
    /// Sets a flag of the file system.
    Flag,
    /// No effect: the option states the default, or is for another program (mount(8), systemd).
    Nothing,
}

/// Options of mount(8) for every file system, and those of fuse-overlayfs that state the default. FUSE keeps no times
/// of access: options about them have no visible effect.
pub const WORDS: &[(&str, OptionEffect)] = &[
    ("", OptionEffect::Nothing),
    ("_netdev", OptionEffect::Nothing),
    ("allow_other", OptionEffect::Nothing),
    ("async", OptionEffect::Nothing),
    ("atime", OptionEffect::Unset(Attributes::NO_ATIME)),
    ("auto", OptionEffect::Nothing),
    ("default_permissions", OptionEffect::Nothing),
    ("defaults", OptionEffect::Nothing),
    ("dev", OptionEffect::Unset(Attributes::NO_DEV)),
    ("diratime", OptionEffect::Nothing),
    ("dirsync", OptionEffect::Flag),
    ("exec", OptionEffect::Unset(Attributes::NO_EXEC)),
    ("iversion", OptionEffect::Nothing),
    ("lazytime", OptionEffect::Nothing),
    ("loud", OptionEffect::Nothing),
    ("noatime", OptionEffect::Set(Attributes::NO_ATIME)),
    ("noauto", OptionEffect::Nothing),
    ("nodev", OptionEffect::Set(Attributes::NO_DEV)),
    ("nodiratime", OptionEffect::Nothing),
    ("noexec", OptionEffect::Set(Attributes::NO_EXEC)),
    ("nofail", OptionEffect::Nothing),
    ("noiversion", OptionEffect::Nothing),
    ("nolazytime", OptionEffect::Nothing),
    ("norelatime", OptionEffect::Nothing),
    ("nostrictatime", OptionEffect::Nothing),
    ("nosuid", OptionEffect::Set(Attributes::NO_SUID)),
    ("relatime", OptionEffect::Nothing),
    ("ro", OptionEffect::Set(Attributes::READ_ONLY)),
    ("rw", OptionEffect::Unset(Attributes::READ_ONLY)),
    ("silent", OptionEffect::Nothing),
    ("strictatime", OptionEffect::Nothing),
    ("suid", OptionEffect::Unset(Attributes::NO_SUID)),
    ("sync", OptionEffect::Flag),
    ("userxattr", OptionEffect::Nothing),
];

impl GenericOptions {
    /// Applies an option; true if the option is known. Errors: an invalid value.
    pub fn take(&mut self, name: &str, value: Option<&str>) -> Result<bool> {
        match (name, value) {
            ("uidmapping", Some(value)) => self.maps.uids = mapping(name, value)?,
            ("gidmapping", Some(value)) => self.maps.gids = mapping(name, value)?,
            ("X-mount.idmap", Some(path)) => self.idmap = Some(unescaped(path)),
            ("fsname", Some(value)) => {
                self.source = Some(unescaped(value).to_string_lossy().into_owned());
            }
            (name, None) => return Ok(self.take_word(name)),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Returns the map of shown IDs, if there is one.
    pub fn shown_ids(&self) -> ShownIds {
        ShownIds((self.maps != IdMaps::default()).then(|| self.maps.clone()))
    }

    /// Applies an option without a value; true if the option is known.
    fn take_word(&mut self, name: &str) -> bool {
        let Some((_, meaning)) = WORDS.iter().find(|(word, _)| *word == name) else { return false };
        match meaning {
            OptionEffect::Set(attribute) => self.attributes = self.attributes.with(*attribute),
            OptionEffect::Unset(attribute) => self.attributes = self.attributes.without(*attribute),
            OptionEffect::Flag => self.flags.push(name.to_owned()),
            OptionEffect::Nothing => {}
        }
        true
    }
}

/// Splits `NAME[=VALUE],...` of all `texts`, and hands each option to `take`.
pub fn each_option(
    texts: &[String],
    mut take: impl FnMut(&str, Option<&str>) -> Result<()>,
) -> Result<()> {
    for text in texts.iter().flat_map(|text| split(text, ',')) {
        match text.split_once('=') {
            Some((name, value)) => take(name, Some(value))?,
            None => take(&text, None)?,
        }
    }
    Ok(())
}

/// Splits a text at `separator`, unless a `\` stands before it; keeps each `\`.
pub fn split(text: &str, separator: char) -> impl Iterator<Item = String> {
    let mut parts = vec![String::new()];
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        let part = parts.last_mut();
        match (character, part) {
            ('\\', Some(part)) => {
                part.push('\\');
                part.extend(characters.next());
            }
            (character, _) if character == separator => parts.push(String::new()),
            (character, Some(part)) => part.push(character),
            (_, None) => {}
        }
    }
    parts.into_iter()
}

/// Removes each `\` before another character.
pub fn unescaped(text: &str) -> PathBuf {
    let mut name = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => name.extend(characters.next()),
            character => name.push(character),
        }
    }
    name.into()
}

/// Parses repeated `disk:shown:count`, as fuse-overlayfs takes them.
fn mapping(name: &str, value: &str) -> Result<Map<FileIds, BaseIds>> {
    // containers/storage begins with a colon.
    let numbers: Vec<&str> = value.split(':').filter(|number| !number.is_empty()).collect();
    if numbers.is_empty() || !numbers.len().is_multiple_of(3) {
        fail!(Invalid: "{name}={value}: expected disk:shown:count, again and again");
    }
    let lines = numbers.chunks(3).map(|line| {
        line.join(":").parse().map_err(|why| Error::invalid(format!("{name}={value}: {why}")))
    });
    Ok(Map::new(lines.collect::<Result<_>>()?))
}
