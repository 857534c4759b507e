//! `--volumes-from CONTAINER[:OPTIONS]`: volumes and bind mounts of another container, at the same places.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use oci_spec::runtime::{Mount, Spec};

use super::bind::{BindAccess, BindOptions, BindOwners, BindSource, PROPAGATIONS, word_of};
use super::idmap::Idmap;
use super::image_volume::{ImageVolume, SQUASHFS};
use super::mounts::{COPY_UP, DATA, SUBPATH};
use super::name::VolumeName;
use super::storage_driver::IDMAP;
use super::volume::{VolumeContent, VolumeFlag, VolumeKind, VolumeSource};
use crate::error::{Error, Result};
use crate::fail;
use crate::sys::mount::split_lowers;

/// A value of `--volumes-from`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumesFrom {
    /// Name or ID of the container.
    pub container: String,
    /// `ro` or `rw`; `None`: as the container has each mount.
    pub access: Option<BindAccess>,
}

impl FromStr for VolumesFrom {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (container, options) = text.split_once(':').unwrap_or((text, ""));
        if container.is_empty() {
            return Err("expected CONTAINER[:ro|rw]".into());
        }
        let mut access = None;
        for option in options.split(',').filter(|option| !option.is_empty()) {
            let asked = match option {
                "ro" => BindAccess::ReadOnly,
                "rw" => BindAccess::ReadWrite,
                // Nothing is confined by SELinux, so there is nothing to relabel.
                "z" | "Z" => continue,
                _ => return Err(format!("'{option}' is not ro, rw, z or Z")),
            };
            if access.replace(asked).is_some_and(|before| before != asked) {
                return Err("'ro' and 'rw' exclude each other".into());
            }
        }
        Ok(Self { container: container.to_owned(), access })
    }
}

impl fmt::Display for VolumesFrom {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.container)?;
        match self.access {
            Some(BindAccess::ReadOnly) => formatter.write_str(":ro"),
            Some(BindAccess::ReadWrite) => formatter.write_str(":rw"),
            None => Ok(()),
        }
    }
}

/// Bind mounts and volumes of a configuration that the user requested: not those of usnea itself, and no tmpfs.
pub fn asked_for(spec: &Spec) -> impl Iterator<Item = &Mount> {
    spec.mounts().iter().flatten().filter(|mount| {
        let path = mount.destination();
        let is_system = path == Path::new("/")
            || ["/proc", "/sys", "/dev"].iter().any(|system| path.starts_with(system));
        !is_system && source(mount).is_some() && !is_of_host(mount)
    })
}

/// The host's own name files and time zone, which other flags ask for (`--network host`, `--tz`).
fn is_of_host(mount: &Mount) -> bool {
    let has = |word: &str| mount.options().iter().flatten().any(|option| option == word);
    let files = ["/etc/resolv.conf", "/etc/hosts", "/etc/localtime"];
    files.iter().any(|file| mount.destination() == Path::new(file))
        && !has("rbind")
        && ["ro", "nosuid", "nodev", "noexec"].iter().all(|word| has(word))
}

/// The file or folder of the host: of a bind mount, of an image, or below the layer of a mount with `O`.
pub fn source(mount: &Mount) -> Option<PathBuf> {
    match mount.typ().as_deref() {
        Some("bind" | SQUASHFS) => mount.source().clone(),
        Some("overlay" | super::FUSE | super::COPIED) => {
            let lowers = mount.options().iter().flatten();
            let lowers = lowers.filter_map(|option| option.strip_prefix("lowerdir="));
            lowers.flat_map(split_lowers).next()
        }
        _ => None,
    }
}

impl VolumeFlag {
    /// The volume that shows what `mount` of another container shows. `name`: its name, where it has one. Errors: a mount
    /// that cannot be made again.
    pub fn inherited(
        mount: &Mount,
        name: Option<VolumeName>,
        from: &VolumesFrom,
    ) -> Result<Option<Self>> {
        let Some(source) = source(mount) else { return Ok(None) };
        let options: Vec<&str> = mount.options().iter().flatten().map(String::as_str).collect();
        let words =
            |words: &[&'static str]| options.iter().find_map(|option| word_of(words, option));
        let flags: Vec<&'static str> = [["nosuid", "suid"], ["nodev", "dev"], ["noexec", "exec"]]
            .iter()
            .filter_map(|pair| words(pair))
            .collect();
        let default = BindOptions::default();
        let has_own_map = mount.uid_mappings().is_some() || mount.gid_mappings().is_some();
        if has_own_map {
            fail!(Invalid: "{}: its idmap is that container's own", mount.destination().display());
        }
        let recorded = match words(&["ro", "rro"]) {
            Some(_) => BindAccess::ReadOnly,
            None => BindAccess::ReadWrite,
        };
        let kind = match mount.typ().as_deref() {
            Some("bind") => VolumeKind::Bind(BindOptions {
                access: from.access.unwrap_or(recorded),
                reach: words(&["rbind", "bind"]).unwrap_or(default.reach),
                propagation: words(&PROPAGATIONS).unwrap_or(default.propagation),
                flags,
                owners: match options.contains(&IDMAP) {
                    true => BindOwners::Mapped(Idmap::default()),
                    false => BindOwners::AsTheyAre,
                },
            }),
            Some(SQUASHFS) => VolumeKind::Image(ImageVolume::of_mount(mount)),
            _ if from.access == Some(BindAccess::ReadOnly) => {
                VolumeKind::Bind(BindOptions { access: BindAccess::ReadOnly, flags, ..default })
            }
            _ => VolumeKind::Overlay(flags),
        };
        let destination = mount.destination().to_string_lossy();
        let is_new = name.is_some() && options.contains(&COPY_UP);
        Ok(Some(Self {
            text: from.to_string(),
            source: match name {
                Some(name) => VolumeSource::Named(name),
                None => VolumeSource::Host(BindSource::of(source)),
            },
            subpath: options.iter().find_map(|option| Some(option.strip_prefix(SUBPATH)?.into())),
            destination: destination.parse().map_err(Error::new)?,
            kind,
            content: if is_new { VolumeContent::OfImage } else { VolumeContent::Nothing },
        }))
    }
}

/// True if `source` is an anonymous volume of a disposable container: no other container can use it.
pub fn is_disposable(source: &Path) -> bool {
    let volume = source.parent().filter(|_| source.ends_with(DATA));
    let name = volume.and_then(Path::file_name).map(|name| name.to_string_lossy());
    name.is_some_and(|name| name.starts_with(super::mounts::ANONYMOUS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inherited(options: &[&str], from: &str) -> BindOptions {
        let mut mount = Mount::default();
        mount
            .set_destination("/data".into())
            .set_typ(Some("bind".into()))
            .set_source(Some("/host".into()))
            .set_options(Some(options.iter().map(|option| (*option).to_owned()).collect()));
        let from = from.parse().unwrap();
        match VolumeFlag::inherited(&mount, None, &from).unwrap().unwrap().kind {
            VolumeKind::Bind(bind) => bind,
            VolumeKind::Overlay(_) | VolumeKind::Image(_) => panic!("no bind mount"),
        }
    }

    #[test]
    fn options_are_a_container_and_its_access() {
        for (text, access) in [
            ("web", None),
            ("web:ro", Some(BindAccess::ReadOnly)),
            ("web:rw", Some(BindAccess::ReadWrite)),
            ("web:ro,z", Some(BindAccess::ReadOnly)),
            ("web:Z", None),
        ] {
            let from: VolumesFrom = text.parse().unwrap();
            assert_eq!((from.container.as_str(), from.access), ("web", access), "{text}");
        }
        for wrong in ["", ":ro", "web:rx", "web:ro,rw"] {
            assert!(wrong.parse::<VolumesFrom>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_mount_keeps_its_access_unless_another_is_given() {
        let bind =
            BindOptions { flags: vec!["nosuid"], propagation: "rslave", ..BindOptions::default() };
        let read_only = BindOptions { access: BindAccess::ReadOnly, ..bind.clone() };
        for (asked, bind) in [("a", &bind), ("a:rw", &bind), ("a:ro", &read_only)] {
            let options = bind.options();
            let options: Vec<&str> = options.iter().map(String::as_str).collect();
            assert_eq!(inherited(&options, asked), *bind, "{asked}");
        }
        let options = read_only.options();
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        assert_eq!(inherited(&options, "a"), read_only);
        assert_eq!(inherited(&options, "a:rw"), bind);
    }
}
