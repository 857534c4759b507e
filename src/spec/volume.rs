//! `--volume [HOST|NAME:]CONTAINER[:OPTIONS]`, and `--mount type=volume`: source, destination and options.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::bind::{BindAccess, BindOptions, BindOwners, BindSource, PROPAGATIONS, word_of};
use super::destination::Destination;
use super::idmap::Idmap;
use super::image_volume::{ImageVolume, SQUASHFS};
use super::name::VolumeName;

/// Parsed value of `--volume`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeFlag {
    /// The value as typed.
    pub text: String,
    /// Source of the mount.
    pub source: VolumeSource,
    /// Folder or file of a named volume that is mounted in its place, relative and without `..`.
    pub subpath: Option<PathBuf>,
    /// Mount point in the container.
    pub destination: Destination,
    /// Handling of changes, and mount options.
    pub kind: VolumeKind,
    /// Initial content of a new volume.
    pub content: VolumeContent,
}

/// Source of a volume's mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeSource {
    /// A file or folder of the host.
    Host(BindSource),
    /// A named volume of the store.
    Named(VolumeName),
    /// A private folder of the container.
    Anonymous,
}

/// Initial content of a new volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VolumeContent {
    /// Copy of the image's files at the mount point.
    OfImage,
    /// No content (`nocopy`).
    Nothing,
}

impl FromStr for VolumeSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // docker's rule: a value that begins like a path is a path.
        if text.starts_with(['/', '.', '~']) || text.is_empty() {
            return text.parse().map(Self::Host);
        }
        let refusal = |why| format!("'{text}' is neither a path nor the name of a volume: {why}");
        text.parse().map(Self::Named).map_err(refusal)
    }
}

/// Destination of changes to the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeKind {
    /// The source itself, by a bind mount.
    Bind(BindOptions),
    /// A disposable layer above the source (`O`), mounted with these flags.
    Overlay(Vec<&'static str>),
    /// No changes: the source is a squashfs image, mounted read-only (`squashfs`).
    Image(ImageVolume),
}

impl VolumeFlag {
    /// True if the volume is a folder of the host, bound at its own path, that shows `path` there.
    pub fn shows(&self, path: &Path) -> bool {
        let VolumeSource::Host(source) = &self.source else { return false };
        self.destination.path() == source.typed() && path.starts_with(source.typed())
    }
}

impl FromStr for VolumeFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(':');
        let (source, destination, options) =
            match (parts.next(), parts.next(), parts.next(), parts.next()) {
                (Some(destination), None, ..) => (VolumeSource::Anonymous, destination, None),
                (Some(source), Some(destination), options, None) => {
                    (source.parse()?, destination, options)
                }
                _ => return Err("expected [HOST|NAME:]CONTAINER[:OPTIONS]".into()),
            };
        let is_path = matches!(source, VolumeSource::Host(_));
        let (kind, content) = match options {
            Some(options) => parse_options(options)?,
            None => (VolumeKind::Bind(BindOptions::default()), None),
        };
        if matches!(kind, VolumeKind::Image(_)) && !is_path {
            return Err(format!("'{SQUASHFS}' is for an image file: a path"));
        }
        if let (true, Some(word)) = (is_path, content) {
            return Err(format!("'{word}' is for volumes that have a name"));
        }
        Ok(Self {
            text: text.to_owned(),
            source,
            subpath: None,
            destination: destination.parse()?,
            kind,
            content: if content == Some("nocopy") {
                VolumeContent::Nothing
            } else {
                VolumeContent::OfImage
            },
        })
    }
}

impl VolumeFlag {
    /// Anonymous volume at `destination`: a private folder of the container.
    pub(super) fn anonymous(destination: Destination, text: String) -> Self {
        Self {
            text,
            source: VolumeSource::Anonymous,
            subpath: None,
            destination,
            kind: VolumeKind::Bind(BindOptions::default()),
            content: VolumeContent::OfImage,
        }
    }
}

/// docker's words for the delay of writes between a Mac and its virtual machine: no effect on Linux.
pub(super) const CONSISTENCY: [&str; 3] = ["cached", "delegated", "consistent"];

/// Groups of exclusive options; no option may be repeated either.
const GROUPS: [&[&str]; 9] = [
    &["ro", "rw"],
    &["bind", "rbind"],
    &PROPAGATIONS,
    &["suid", "nosuid"],
    &["dev", "nodev"],
    &["exec", "noexec"],
    &["copy", "nocopy"],
    &["z", "Z"],
    &["U"],
];

/// Parses the options into the kind of mount, and the option for a new volume's content (`copy` or `nocopy`).
fn parse_options(text: &str) -> Result<(VolumeKind, Option<&'static str>), String> {
    if text.split(',').any(|option| option == SQUASHFS) {
        return Ok((VolumeKind::Image(ImageVolume::of_options(text)?), None));
    }
    let mut chosen: [Option<&'static str>; GROUPS.len()] = [None; GROUPS.len()];
    let mut thrown_away = false;
    let mut idmap = None;
    for option in text.split(',') {
        if CONSISTENCY.contains(&option) {
            continue;
        }
        if option == "O" {
            thrown_away = true;
            continue;
        }
        if let Some(map) = Idmap::of_option(option) {
            if idmap.replace(map?).is_some() {
                return Err("'idmap' is there twice".into());
            }
            continue;
        }
        let (group, word) = GROUPS
            .iter()
            .enumerate()
            .find_map(|(group, words)| Some((group, word_of(words, option)?)))
            .ok_or_else(|| format!("'{option}' is not an option of a volume"))?;
        if let Some(before) = chosen[group].replace(word) {
            return Err(format!("'{before}' and '{word}' exclude each other"));
        }
    }
    let [access, reach, propagation, suid, dev, exec, content, _relabel, users] = chosen;
    let flags = [suid, dev, exec].into_iter().flatten().collect();
    if thrown_away {
        let idmap = idmap.map(|_| "idmap");
        return match access.or(reach).or(propagation).or(users).or(idmap) {
            Some(word) => Err(format!(
                "'O' and '{word}' exclude each other: O is a layer over the folder, no bind of it"
            )),
            None => Ok((VolumeKind::Overlay(flags), content)),
        };
    }
    let default = BindOptions::default();
    let owners = users.map_or(BindOwners::AsTheyAre, |_| BindOwners::TheUsers);
    let kind = VolumeKind::Bind(BindOptions {
        access: if access == Some("ro") { BindAccess::ReadOnly } else { BindAccess::ReadWrite },
        reach: reach.unwrap_or(default.reach),
        propagation: propagation.unwrap_or(default.propagation),
        flags,
        owners: owners.with_idmap(idmap)?,
    });
    Ok((kind, content))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn options(text: &str) -> Vec<String> {
        match text.parse::<VolumeFlag>().unwrap().kind {
            VolumeKind::Bind(bind) => bind.options(),
            VolumeKind::Overlay(flags) => {
                ["O"].into_iter().chain(flags).map(str::to_owned).collect()
            }
            VolumeKind::Image(image) => image.options(),
        }
    }

    #[test]
    fn a_volume_is_bound_recursively_and_private_unless_asked_otherwise() {
        assert_eq!(options("/a:/b"), ["rbind", "rprivate"]);
        assert_eq!(options("/a:/b:rw"), ["rbind", "rprivate"]);
        assert_eq!(options("/a:/b:z"), ["rbind", "rprivate"]);
        assert_eq!(options("/a:/b:cached"), ["rbind", "rprivate"]);
        assert_eq!(options("/a:/b:consistent,ro,delegated"), ["rbind", "rprivate", "ro", "rro"]);
        assert_eq!(options("/a:/b:bind,ro"), ["bind", "rprivate", "ro"]);
        assert_eq!(
            options("/a:/b:Z,rslave,noexec,nosuid,nodev"),
            ["rbind", "rslave", "nosuid", "nodev", "noexec"]
        );
        assert_eq!(options("/a:/b:U"), ["rbind", "rprivate", "U"]);
        let idmap = options("/a:/b:idmap=uids=0-1-10#10-11-10;gids=@0-0-10,ro");
        assert_eq!(idmap, ["rbind", "rprivate", "idmap", "ro", "rro"]);
        assert_eq!(options("/a:/b:O"), ["O"]);
        assert_eq!(options("/a:/b:O,nosuid,z"), ["O", "nosuid"]);
        assert_eq!(options("/a:/b:squashfs"), ["ro", "nosuid", "nodev"]);
        assert_eq!(
            options("/a:/b:noexec,ro,squashfs,offset=4096,z"),
            ["ro", "nosuid", "nodev", "noexec", "offset=4096"]
        );
    }

    #[test]
    fn read_only_reaches_the_mounts_below() {
        assert_eq!(options("/a:/b:ro"), ["rbind", "rprivate", "ro", "rro"]);
    }

    #[test]
    fn a_malformed_volume_is_refused_with_the_part_that_is_wrong() {
        for (wrong, said) in [
            ("", "absolute"),
            ("a", "absolute"),
            ("a:/b", "two or more"),
            ("da/ta:/b", "neither a path nor the name"),
            ("~/a:/b", "./~/a"),
            ("/a:/b:nocopy", "have a name"),
            ("data:/b:copy,nocopy", "exclude"),
            (":/b", "empty"),
            ("/a:", "absolute"),
            ("/a:b", "absolute"),
            ("/a:/", "root itself"),
            ("/a:/b/../c", "'..'"),
            ("/a:/b:", "''"),
            ("/a:/b:rx", "'rx'"),
            ("/a:/b:U,U", "exclude"),
            ("/a:/b:O,U", "'O' and 'U'"),
            ("/a:/b:idmap=0-1-10", "uids="),
            ("/a:/b:idmap,idmap", "twice"),
            ("/a:/b:idmap,U", "'U' and 'idmap'"),
            ("/a:/b:O,idmap", "'O' and 'idmap'"),
            ("/a:/b:idmaps", "'idmaps'"),
            ("/a:/b:ro,", "''"),
            ("/a:/b:ro,rw", "'ro' and 'rw'"),
            ("/a:/b:ro,ro", "exclude"),
            ("/a:/b:slave,shared", "exclude"),
            ("/a:/b:O,ro", "'O' and 'ro'"),
            ("/a:/b:rshared,O", "'O'"),
            ("/a:/b:ro:x", "expected"),
            ("/a:/b:squashfs,rw", "'squashfs' and 'rw'"),
            ("/a:/b:squashfs,U", "'squashfs' and 'U'"),
            ("/a:/b:O,squashfs", "'squashfs' and 'O'"),
            ("/a:/b:squashfs,offset=-1", "number of bytes"),
            ("/a:/b:offset=1", "'offset=1' is not an option"),
            ("data:/b:squashfs", "a path"),
        ] {
            let error = wrong.parse::<VolumeFlag>().unwrap_err();
            assert!(error.contains(said), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_name_is_a_volume_and_a_path_alone_an_anonymous_one() {
        let volume: VolumeFlag = "data:/b:ro,nocopy".parse().unwrap();
        assert_eq!(volume.source, VolumeSource::Named("data".parse().unwrap()));
        assert_eq!(volume.content, VolumeContent::Nothing);
        let volume: VolumeFlag = "/b".parse().unwrap();
        assert_eq!(volume.source, VolumeSource::Anonymous);
        assert_eq!(volume.content, VolumeContent::OfImage);
    }

    proptest! {
        #[test]
        fn no_text_is_a_panic(text in "\\PC*") {
            let _ = text.parse::<VolumeFlag>();
        }

        #[test]
        fn near_volumes_are_no_panic(text in "[/.a:,ro]{0,20}") {
            let _ = text.parse::<VolumeFlag>();
        }
    }
}
