//! Options of `usnea mount overlay`, in the manner of mount(8) and fuse-overlayfs: words with commas between. A `\`
//! stands before a comma, a colon or a backslash in a name.

use std::path::PathBuf;

use super::tree::{OverlayRules, ShownIds};
use crate::error::{Error, Result};
use crate::fail;
use crate::ids::{BaseIds, FileIds, IdMaps, Map};
use crate::layer::override_stat::Records;
use crate::layer::whiteout::Whiteouts;
use crate::sys::mount::Attributes;

/// Parsed options.
#[derive(Debug, Default)]
pub struct OverlayOptions {
    /// `lowerdir`: read-only layers, the topmost first.
    pub lowers: Vec<PathBuf>,
    /// `upperdir`
    pub upper: Option<PathBuf>,
    /// `workdir`
    pub work: Option<PathBuf>,
    /// Rules to read and write layers.
    pub rules: OverlayRules,
    /// Attributes of the mount.
    pub attributes: Attributes,
    /// `fsname`: source of the mount, as shown in /proc/self/mounts.
    pub source: Option<String>,
    /// Flags of the file system as a whole, passed to the kernel: `sync`, `dirsync`.
    pub flags: Vec<String>,
    /// `X-mount.idmap`: user namespace (`/proc/PID/ns/user`) whose map moves the shown IDs.
    pub idmap: Option<PathBuf>,
}

/// Effect of an option without a value.
enum OptionEffect {
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
const WORDS: &[(&str, OptionEffect)] = &[
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

/// Most lower layers: the kernel overlay's own limit (`OVL_MAX_STACK`).
const MOST_LOWERS: usize = 500;

impl OverlayOptions {
    /// Parses the options. Errors: an option is unknown, missing or contradicts another.
    pub fn parse(texts: &[String]) -> Result<Self> {
        let mut options = Self::default();
        options.rules.whiteouts = Whiteouts::Names;
        let mut maps = IdMaps::default();
        for text in texts.iter().flat_map(|text| split(text, ',')) {
            let (name, value) = match text.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (text.as_str(), None),
            };
            options.take(name, value, &mut maps)?;
        }
        if maps != IdMaps::default() {
            options.rules.ids = ShownIds(Some(maps));
        }
        options.checked()
    }

    fn take(
        &mut self,
        name: &str,
        value: Option<&str>,
        maps: &mut IdMaps<FileIds, BaseIds>,
    ) -> Result<()> {
        match (name, value) {
            ("lowerdir", Some(value)) => {
                self.lowers.extend(split(value, ':').map(|path| unescaped(&path)));
            }
            ("upperdir", Some(value)) => self.upper = Some(unescaped(value)),
            ("workdir", Some(value)) => self.work = Some(unescaped(value)),
            ("uidmapping", Some(value)) => maps.uids = mapping(name, value)?,
            ("gidmapping", Some(value)) => maps.gids = mapping(name, value)?,
            ("xattr_permissions", Some("2")) => self.rules.records = Records::Everywhere,
            ("xattr_permissions", Some("0")) => self.rules.records = Records::Nowhere,
            ("recorded_lowers", None) => self.rules.records = Records::InLowers,
            ("X-mount.idmap", Some(path)) => self.idmap = Some(unescaped(path)),
            ("volatile", None) => self.rules.is_disposable = true,
            ("fsname", Some(value)) => {
                self.source = Some(unescaped(value).to_string_lossy().into_owned());
            }
            (name, None) if self.take_word(name) => {}
            ("index" | "redirect_dir" | "metacopy" | "nfs_export", Some("off")) => {}
            ("xino", Some("off" | "auto")) => {}
            // Internal settings of fuse-overlayfs: this overlay needs none.
            ("clone_fd" | "fast_ino" | "static_nlink", None) => {}
            ("clone_fd" | "fast_ino" | "static_nlink" | "threaded", Some("0" | "1")) => {}
            ("timeout" | "max_write", Some(value)) if value.parse::<f64>().is_ok() => {}
            ("noxattrs", Some("0")) => {}
            ("squash_to_root" | "squash_to_uid" | "squash_to_gid", _) => {
                let error = format!("'{name}': files are not shown as one user's");
                return Err(
                    Error::invalid(error).hint("uidmapping and gidmapping move IDs one by one")
                );
            }
            _ => {
                let hint = "known are lowerdir, upperdir, workdir, uidmapping, gidmapping, X-mount.idmap, \
                            xattr_permissions=2, recorded_lowers, ro, \
                            volatile, fsname, and those of mount(8) for every file system";
                return Err(
                    Error::invalid(format!("'{name}' is no option of the overlay")).hint(hint)
                );
            }
        }
        Ok(())
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

    fn checked(self) -> Result<Self> {
        if self.lowers.is_empty() {
            fail!(Invalid: "the option lowerdir is missing");
        }
        if self.lowers.len() > MOST_LOWERS {
            fail!(Invalid: "{} lower layers are more than {MOST_LOWERS}", self.lowers.len());
        }
        match (&self.upper, &self.work) {
            (Some(_), None) => fail!(Invalid: "upperdir needs workdir, an empty folder beside it"),
            (None, Some(_)) => fail!(Invalid: "workdir needs upperdir"),
            _ => Ok(self),
        }
    }
}

/// Splits a text at `separator`, unless a `\` stands before it; keeps each `\`.
fn split(text: &str, separator: char) -> impl Iterator<Item = String> {
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

fn unescaped(text: &str) -> PathBuf {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::IdMap;

    fn parsed(text: &str) -> Result<OverlayOptions> {
        OverlayOptions::parse(&[text.to_owned()])
    }

    #[test]
    fn names_may_hold_what_parts_options() {
        let options = parsed(r"lowerdir=/a\:b:/c\,d:/e\\f,upperdir=/u,workdir=/w,ro").unwrap();
        let lowers: Vec<&str> = options.lowers.iter().filter_map(|path| path.to_str()).collect();
        assert_eq!(lowers, ["/a:b", "/c,d", r"/e\f"]);
        assert_eq!(options.upper, Some("/u".into()));
        assert_eq!(options.attributes, Attributes::READ_ONLY);
    }

    #[test]
    fn fuse_overlayfs_s_options_are_taken_where_they_change_nothing_that_is_seen() {
        parsed("lowerdir=/a,timeout=31536000.0,clone_fd,fast_ino=1,static_nlink,xino=off").unwrap();
        for wrong in ["squash_to_root", "squash_to_uid=7", "noacl", "noxattrs=1", "context=a_t"] {
            assert!(parsed(&format!("lowerdir=/a,{wrong}")).is_err(), "{wrong}");
        }
        assert!(parsed("lowerdir=/a,timeout=long").is_err());
    }

    #[test]
    fn options_of_every_file_system_are_taken_and_the_last_word_counts() {
        let options = parsed(
            "lowerdir=/a,defaults,relatime,strictatime,nodiratime,lazytime,sync,dirsync,fsname=me,noexec,exec,nodev",
        );
        let options = options.unwrap();
        assert_eq!(options.attributes, Attributes::NO_DEV);
        assert_eq!(options.flags, ["sync", "dirsync"]);
        assert_eq!(options.source.as_deref(), Some("me"));
        for (word, _) in WORDS {
            assert!(parsed(&format!("lowerdir=/a,{word}")).is_ok(), "{word}");
            assert!(parsed(&format!("lowerdir=/a,{word}=1")).is_err(), "{word}=1");
        }
        for wrong in ["relatimes", "mand", "user", "bind", "remount", "fsname"] {
            assert!(parsed(&format!("lowerdir=/a,{wrong}")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn maps_are_triples() {
        let options =
            parsed("lowerdir=/a,uidmapping=:0:1000:1:1:5000:10,gidmapping=0:7:1").unwrap();
        let maps = options.rules.ids.0.unwrap();
        assert_eq!(maps.uids.to_vec(), [IdMap::new(0, 1000, 1), IdMap::new(1, 5000, 10)]);
        assert_eq!(maps.gids.to_vec(), [IdMap::new(0, 7, 1)]);
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for wrong in [
            "",
            "upperdir=/u",
            "lowerdir=/a,upperdir=/u",
            "lowerdir=/a,workdir=/w",
            "lowerdir=/a,bogus",
            "lowerdir=/a,redirect_dir=on",
            "lowerdir=/a,uidmapping=1:2",
            "lowerdir=/a,uidmapping=1:2:x",
            "lowerdir",
        ] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
        let many = format!("lowerdir={}", vec!["/a"; 501].join(":"));
        assert!(parsed(&many).is_err());
    }
}
