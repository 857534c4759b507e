//! `--volume HOST:CONTAINER[:OPTIONS]`.

use std::str::FromStr;

use super::bind::{Access, Bind, Owners, PROPAGATIONS, Source, word_of};
use super::destination::Destination;

/// One value of `--volume`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// As it was written.
    pub text: String,
    /// What of the host is shown.
    pub source: Source,
    /// Where.
    pub destination: Destination,
    /// How.
    pub kind: VolumeKind,
}

/// What becomes of changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeKind {
    /// They are the host's.
    Bind(Bind),
    /// They go to a layer that is thrown away (`O`). The mount has these flags.
    Overlay(Vec<&'static str>),
}

impl FromStr for Volume {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(':');
        let (source, destination, options) =
            match (parts.next(), parts.next(), parts.next(), parts.next()) {
                (Some(_), None, ..) => {
                    return Err(
                        "usnea has no anonymous volumes: write HOST:CONTAINER, or use --tmpfs"
                            .into(),
                    );
                }
                (Some(source), Some(destination), options, None) => (source, destination, options),
                _ => return Err("expected HOST:CONTAINER[:OPTIONS]".into()),
            };
        Ok(Self {
            text: text.to_owned(),
            source: source.parse()?,
            destination: destination.parse()?,
            kind: options.map_or(Ok(VolumeKind::Bind(Bind::default())), parse_options)?,
        })
    }
}

/// Options of which one excludes the others, itself included.
const GROUPS: [&[&str]; 8] = [
    &["ro", "rw"],
    &["bind", "rbind"],
    &PROPAGATIONS,
    &["suid", "nosuid"],
    &["dev", "nodev"],
    &["exec", "noexec"],
    &["z", "Z"],
    &["U"],
];

/// Why there is no `idmap`: mount_setattr(2) takes it from who owns the file system alone, and those of the host are its
/// root's.
pub(super) const NO_IDMAP: &str = "'idmap' is refused by the kernel for file systems of the host, whoever has no root there: \
     'U' gives the files to the container's user, --userns keep-id makes that user you";

fn parse_options(text: &str) -> Result<VolumeKind, String> {
    let mut chosen: [Option<&'static str>; GROUPS.len()] = [None; GROUPS.len()];
    let mut thrown_away = false;
    for option in text.split(',') {
        if option == "O" {
            thrown_away = true;
            continue;
        }
        if option == "idmap" || option.starts_with("idmap=") {
            return Err(NO_IDMAP.to_owned());
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
    let [access, reach, propagation, suid, dev, exec, _relabel, owners] = chosen;
    let flags = [suid, dev, exec].into_iter().flatten().collect();
    if thrown_away {
        return match access.or(reach).or(propagation).or(owners) {
            Some(word) => Err(format!(
                "'O' and '{word}' exclude each other: O is a layer over the folder, no bind of it"
            )),
            None => Ok(VolumeKind::Overlay(flags)),
        };
    }
    let default = Bind::default();
    Ok(VolumeKind::Bind(Bind {
        access: if access == Some("ro") { Access::ReadOnly } else { Access::ReadWrite },
        reach: reach.unwrap_or(default.reach),
        propagation: propagation.unwrap_or(default.propagation),
        flags,
        owners: Owners::of_switch(owners.is_some()),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn options(text: &str) -> Vec<String> {
        match text.parse::<Volume>().unwrap().kind {
            VolumeKind::Bind(bind) => bind.options(),
            VolumeKind::Overlay(flags) => {
                ["O"].into_iter().chain(flags).map(str::to_owned).collect()
            }
        }
    }

    #[test]
    fn a_volume_is_bound_recursively_and_private_unless_asked_otherwise() {
        assert_eq!(options("/a:/b"), ["rbind", "rprivate"]);
        assert_eq!(options("/a:/b:rw"), ["rbind", "rprivate"]);
        assert_eq!(options("/a:/b:z"), ["rbind", "rprivate"]);
        assert_eq!(options("/a:/b:bind,ro"), ["bind", "rprivate", "ro"]);
        assert_eq!(
            options("/a:/b:Z,rslave,noexec,nosuid,nodev"),
            ["rbind", "rslave", "nosuid", "nodev", "noexec"]
        );
        assert_eq!(options("/a:/b:U"), ["rbind", "rprivate", "U"]);
        assert_eq!(options("/a:/b:O"), ["O"]);
        assert_eq!(options("/a:/b:O,nosuid,z"), ["O", "nosuid"]);
    }

    #[test]
    fn read_only_reaches_the_mounts_below() {
        assert_eq!(options("/a:/b:ro"), ["rbind", "rprivate", "ro", "rro"]);
    }

    #[test]
    fn a_malformed_volume_is_refused_with_the_part_that_is_wrong() {
        for (wrong, said) in [
            ("", "anonymous"),
            ("/a", "anonymous"),
            ("data:/b", "./data"),
            (":/b", "empty"),
            ("/a:", "absolute"),
            ("/a:b", "absolute"),
            ("/a:/", "root itself"),
            ("/a:/b/../c", "'..'"),
            ("/a:/b:", "''"),
            ("/a:/b:rx", "'rx'"),
            ("/a:/b:U,U", "exclude"),
            ("/a:/b:O,U", "'O' and 'U'"),
            ("/a:/b:idmap=uids=0-1-10;gids=0-1-10", "keep-id"),
            ("/a:/b:idmap", "'idmap'"),
            ("/a:/b:ro,", "''"),
            ("/a:/b:ro,rw", "'ro' and 'rw'"),
            ("/a:/b:ro,ro", "exclude"),
            ("/a:/b:slave,shared", "exclude"),
            ("/a:/b:O,ro", "'O' and 'ro'"),
            ("/a:/b:rshared,O", "'O'"),
            ("/a:/b:ro:x", "expected"),
        ] {
            let error = wrong.parse::<Volume>().unwrap_err();
            assert!(error.contains(said), "{wrong}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_a_panic(text in "\\PC*") {
            let _ = text.parse::<Volume>();
        }

        #[test]
        fn near_volumes_are_no_panic(text in "[/.a:,ro]{0,20}") {
            let _ = text.parse::<Volume>();
        }
    }
}
