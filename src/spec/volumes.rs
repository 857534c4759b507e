//! Volumes of a container, from flags or the image.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::destination::Destination;
use super::inputs::ImageDefaults;
use super::mount::MountFlag;
use super::name::VolumeName;
use super::options::ContainerOptions;
use super::tmpfs::TmpfsMount;
use super::volume::{VolumeFlag, VolumeSource};
use crate::error::{Context, Error, Result, Setting};

/// Volumes of `--volume` and `--mount type=volume`, with the flag.
pub(super) fn asked_volumes(
    options: &ContainerOptions,
) -> impl Iterator<Item = (Setting, &VolumeFlag)> {
    let mounts = options.mount.iter().filter_map(|flag| match flag {
        MountFlag::Volume(volume) => Some((Setting::Mount, volume)),
        _ => None,
    });
    mounts.chain(options.volume.iter().map(|volume| (Setting::Volume, volume)))
}

/// Volumes of the image (`--image-volume`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ImageVolumes {
    /// Each is an anonymous volume; podman's "bind" means the same.
    #[default]
    #[value(alias = "bind")]
    Anonymous,
    /// Each is an empty tmpfs.
    Tmpfs,
    /// None is mounted.
    Ignore,
}

/// Volumes of the image, without those whose place another mount takes. Errors: an invalid path.
pub(super) fn image_volumes(
    options: &ContainerOptions,
    image: &ImageDefaults,
) -> Result<Vec<VolumeFlag>> {
    match options.image_volume {
        ImageVolumes::Anonymous => free_volumes(options, image),
        ImageVolumes::Tmpfs | ImageVolumes::Ignore => Ok(Vec::new()),
    }
}

/// The same as tmpfs, where that is asked for (podman's flags: programs run in it).
pub(super) fn image_tmpfs(
    options: &ContainerOptions,
    image: &ImageDefaults,
) -> Result<Vec<TmpfsMount>> {
    if options.image_volume != ImageVolumes::Tmpfs {
        return Ok(Vec::new());
    }
    let volumes = free_volumes(options, image)?.into_iter();
    Ok(volumes.map(|volume| TmpfsMount::with_programs(volume.destination)).collect())
}

fn free_volumes(options: &ContainerOptions, image: &ImageDefaults) -> Result<Vec<VolumeFlag>> {
    let mut taken: HashSet<Destination> = destinations(options).cloned().collect();
    let mut volumes = Vec::new();
    for text in &image.volumes {
        let label = || format!("the image's volume '{}'", text.escape_debug());
        // As with docker: a path without a leading slash begins at the root.
        let path = if text.starts_with('/') { text.clone() } else { format!("/{text}") };
        let destination = path.parse::<Destination>().map_err(Error::new).context(label)?;
        if taken.insert(destination.clone()) {
            volumes.push(VolumeFlag::anonymous(destination, label()));
        }
    }
    Ok(volumes)
}

/// True if `path` in the container is below a mount point of the options.
pub(super) fn is_mounted(options: &ContainerOptions, path: &str) -> bool {
    destinations(options).any(|mounted| Path::new(path).starts_with(mounted.to_string()))
}

/// Whether something is asked for at exactly this place.
pub fn has_mount_at(options: &ContainerOptions, place: &Destination) -> bool {
    destinations(options).any(|mounted| mounted == place)
}

fn destinations(options: &ContainerOptions) -> impl Iterator<Item = &Destination> {
    let mounts = options.mount.iter().filter_map(|flag| match flag {
        MountFlag::Bind { destination, .. } => Some(destination),
        MountFlag::Tmpfs(tmpfs) => Some(&tmpfs.destination),
        MountFlag::Volume(volume) => Some(&volume.destination),
        MountFlag::FileSystem(mount) => Some(&mount.destination),
        MountFlag::Glob(glob) => glob.destination.as_ref(),
    });
    let volumes = options.volume.iter().map(|volume| &volume.destination);
    mounts.chain(volumes).chain(options.tmpfs.iter().map(|tmpfs| &tmpfs.destination))
}

/// Names each anonymous volume, the image's included: named volumes stay when the container is stopped. Returns the new
/// names.
pub fn name_volumes(
    options: &mut ContainerOptions,
    image: &mut ImageDefaults,
    mut name: impl FnMut() -> Result<VolumeName>,
) -> Result<Vec<VolumeName>> {
    let of_image = image_volumes(options, image)?;
    options.volume.extend(of_image);
    if options.image_volume == ImageVolumes::Anonymous {
        image.volumes.clear();
    }
    let mounts = options.mount.iter_mut().filter_map(|flag| match flag {
        MountFlag::Volume(volume) => Some(volume),
        _ => None,
    });
    let mut names = Vec::new();
    for volume in mounts.chain(&mut options.volume) {
        if volume.source == VolumeSource::Anonymous {
            let name = name()?;
            volume.source = VolumeSource::Named(name.clone());
            names.push(name);
        }
    }
    Ok(names)
}

/// Returns the folders of the host that are to be made before the mounts (`bind-create-src`).
pub fn sources_to_make(options: &ContainerOptions) -> Vec<PathBuf> {
    let made = options.mount.iter().filter_map(|flag| match flag {
        MountFlag::Bind { source, .. } => source.to_be_made(),
        _ => None,
    });
    made.collect()
}

/// Names of the requested volumes, each once.
pub fn volume_names(options: &ContainerOptions) -> Vec<VolumeName> {
    let mut names: Vec<VolumeName> = asked_volumes(options)
        .filter_map(|(_, volume)| match &volume.source {
            VolumeSource::Named(name) => Some(name.clone()),
            _ => None,
        })
        .collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_s_volume_is_one_unless_something_is_asked_for_there() {
        let options = ContainerOptions {
            volume: vec!["data:/a".parse().unwrap(), "/own".parse().unwrap()],
            mount: vec!["type=volume,target=/m".parse().unwrap()],
            tmpfs: vec!["/t".parse().unwrap()],
            ..ContainerOptions::default()
        };
        let paths = ["/a", "/b/", "/t", "/b", "/m"].map(str::to_owned).to_vec();
        let image = ImageDefaults { volumes: paths, ..ImageDefaults::default() };
        let volumes = image_volumes(&options, &image).unwrap();
        let shown: Vec<String> =
            volumes.iter().map(|volume| volume.destination.to_string()).collect();
        assert_eq!(shown, ["/b"]);

        let (mut named, mut rest, mut count) = (options, image, 10);
        let given = name_volumes(&mut named, &mut rest, || {
            count += 1;
            format!("n{count}").parse().map_err(Error::new)
        });
        let texts: Vec<String> = given.unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["n11", "n12", "n13"]);
        assert!(rest.volumes.is_empty());
        let all: Vec<String> = volume_names(&named).iter().map(ToString::to_string).collect();
        assert_eq!(all, ["data", "n11", "n12", "n13"]);
    }

    #[test]
    fn a_volume_of_an_image_that_is_no_path_is_refused() {
        let image = ImageDefaults { volumes: vec!["a/../b".into()], ..ImageDefaults::default() };
        let error = image_volumes(&ContainerOptions::default(), &image).unwrap_err();
        assert!(error.to_string().contains("the image's volume 'a/../b'"), "{error}");
    }
}
