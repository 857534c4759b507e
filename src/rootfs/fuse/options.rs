//! Options of `usnea mount overlay`, in the manner of mount(8) and fuse-overlayfs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::mount_options::{GenericOptions, each_option, split, unescaped};
use super::tree::OverlayRules;
use crate::error::{Error, Result};
use crate::fail;
use crate::layer::override_stat::Records;
use crate::layer::whiteout::Whiteouts;

/// Parsed options.
#[derive(Debug, Default)]
pub struct OverlayOptions {
    /// `lowerdir`: read-only layers, the topmost first.
    pub lowers: Vec<PathBuf>,
    /// `image_offset=INDEX:BYTES`: starts of images in their files, by the index of the layer among `lowers`.
    pub offsets: BTreeMap<usize, u64>,
    /// `upperdir`
    pub upper: Option<PathBuf>,
    /// `workdir`
    pub work: Option<PathBuf>,
    /// Rules to read and write layers.
    pub rules: OverlayRules,
    /// Options of any mount.
    pub mount: GenericOptions,
}

/// Most lower layers: the kernel overlay's own limit (`OVL_MAX_STACK`).
const MOST_LOWERS: usize = 500;

impl OverlayOptions {
    /// Parses the options. Errors: an option is unknown, missing or contradicts another.
    pub fn parse(texts: &[String]) -> Result<Self> {
        let mut options = Self::default();
        options.rules.whiteouts = Whiteouts::Names;
        each_option(texts, |name, value| options.take(name, value))?;
        options.rules.ids = options.mount.shown_ids();
        options.checked()
    }

    fn take(&mut self, name: &str, value: Option<&str>) -> Result<()> {
        match (name, value) {
            ("lowerdir", Some(value)) => {
                self.lowers.extend(split(value, ':').map(|path| unescaped(&path)));
            }
            ("image_offset", Some(value)) => {
                let (index, offset) = image_offset(value)?;
                self.offsets.insert(index, offset);
            }
            ("upperdir", Some(value)) => self.upper = Some(unescaped(value)),
            ("workdir", Some(value)) => self.work = Some(unescaped(value)),
            ("xattr_permissions", Some("2")) => self.rules.records = Records::Everywhere,
            ("xattr_permissions", Some("0")) => self.rules.records = Records::Nowhere,
            ("recorded_lowers", None) => self.rules.records = Records::InLowers,
            ("volatile", None) => self.rules.is_disposable = true,
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
            (name, value) if self.mount.take(name, value)? => {}
            _ => {
                let hint = "known are lowerdir, image_offset, upperdir, workdir, uidmapping, gidmapping, X-mount.idmap, \
                            xattr_permissions=2, recorded_lowers, ro, \
                            volatile, fsname, and those of mount(8) for every file system";
                return Err(
                    Error::invalid(format!("'{name}' is no option of the overlay")).hint(hint)
                );
            }
        }
        Ok(())
    }

    fn checked(self) -> Result<Self> {
        if self.lowers.is_empty() {
            fail!(Invalid: "the option lowerdir is missing");
        }
        if self.lowers.len() > MOST_LOWERS {
            fail!(Invalid: "{} lower layers are more than {MOST_LOWERS}", self.lowers.len());
        }
        if let Some((index, _)) =
            self.offsets.last_key_value().filter(|(index, _)| **index >= self.lowers.len())
        {
            fail!(Invalid: "image_offset={index}: there are {} lower layers, from 0 on", self.lowers.len());
        }
        match (&self.upper, &self.work) {
            (Some(_), None) => fail!(Invalid: "upperdir needs workdir, an empty folder beside it"),
            (None, Some(_)) => fail!(Invalid: "workdir needs upperdir"),
            _ => Ok(self),
        }
    }
}

/// Parses `INDEX:BYTES`.
fn image_offset(value: &str) -> Result<(usize, u64)> {
    let parse = || {
        let (index, offset) = value.split_once(':')?;
        Some((index.parse().ok()?, offset.parse().ok()?))
    };
    match parse() {
        Some(parsed) => Ok(parsed),
        None => {
            fail!(Invalid: "image_offset={value}: expected INDEX:BYTES, with the index of a lower layer")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::mount_options::WORDS;
    use super::*;
    use crate::ids::IdMap;
    use crate::sys::mount::Attributes;

    fn parsed(text: &str) -> Result<OverlayOptions> {
        OverlayOptions::parse(&[text.to_owned()])
    }

    #[test]
    fn names_may_hold_what_parts_options() {
        let options = parsed(r"lowerdir=/a\:b:/c\,d:/e\\f,upperdir=/u,workdir=/w,ro").unwrap();
        let lowers: Vec<&str> = options.lowers.iter().filter_map(|path| path.to_str()).collect();
        assert_eq!(lowers, ["/a:b", "/c,d", r"/e\f"]);
        let of_sif = parsed("lowerdir=/a:/b.sif,image_offset=1:40960").unwrap();
        assert_eq!(of_sif.offsets.into_iter().collect::<Vec<_>>(), [(1, 40_960)]);
        assert_eq!(options.upper, Some("/u".into()));
        assert_eq!(options.mount.attributes, Attributes::READ_ONLY);
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
        assert_eq!(options.mount.attributes, Attributes::NO_DEV);
        assert_eq!(options.mount.flags, ["sync", "dirsync"]);
        assert_eq!(options.mount.source.as_deref(), Some("me"));
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
            "lowerdir=/a,image_offset=1:4096",
            "lowerdir=/a,image_offset=4096",
            "lowerdir=/a,image_offset=0:-1",
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
