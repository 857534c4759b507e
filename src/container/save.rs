//! `usnea save`: images to an archive; the files of an image, a container or a root directory to a squashfs file.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use super::commit;
use super::container::{find, find_id};
use super::file_image::FileImage;
use super::freeze::Frozen;
use super::images::{self, ArchiveForm, FileProgress, MergedFiles, Pull};
use super::layers::ContainerLayers;
use super::root_source::RootSource;
use super::start::config;
use super::stores;
use super::usnea::Usnea;
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::image::archive::output::{ArchiveOutput, ArchiveSink};
use crate::image::diff::LayerSource;
use crate::image::manifest::Platform;
use crate::image::pull::TransferProgress;
use crate::image::squashfs::ImageTrailer;
use crate::image::transport::ImageLocation;
use crate::userns;

/// Format of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaveFormat {
    /// Images with their layers.
    Archive(ArchiveForm),
    /// Squashfs file of merged layers.
    Squashfs,
}

/// Objects to save, and their destination.
pub struct Save<'a> {
    /// Names or IDs of images. For a squashfs file a single name: of an image, of a container, of an archive or a layout
    /// (`docker-archive:FILE` and the like), or of a root directory (`dir:PATH`).
    pub names: &'a [String],
    /// Format of the output.
    pub format: SaveFormat,
    /// Platform that the image must have.
    pub platform: Option<&'a Platform>,
    /// Stream that an archive called `-` is read from.
    pub input: Option<Arc<File>>,
    /// Destination.
    pub output: &'a ArchiveSink,
    /// Receivers of the progress of a squashfs file.
    pub progress: FileProgress<'a>,
}

/// Saves the objects. Errors: an unknown name; several names for a squashfs file; the output is a terminal.
pub fn save(usnea: &Usnea, save: &Save<'_>) -> Result<()> {
    match (save.format, save.names) {
        (SaveFormat::Archive(form), names) => {
            images::save(usnea, names, form, save.platform, save.output)
        }
        (SaveFormat::Squashfs, [name]) => save_squashfs(usnea, name, save),
        (SaveFormat::Squashfs, _) => Err(Error::invalid("a squashfs file holds a single image")
            .hint("save each image to a file of its own")),
    }
}

fn save_squashfs(usnea: &Usnea, name: &str, save: &Save<'_>) -> Result<()> {
    if let Some(path) = FileImage::path_in(name) {
        let (output, progress) = (save.output, save.progress.save);
        return images::save_file(usnea, path, save.platform, output, progress);
    }
    if let Ok(RootSource::Directory(path) | RootSource::Path(path)) = name.parse() {
        refuse_platform(name, save)?;
        return save_directory(usnea, &path, save).context(|| cannot_save(name, save));
    }
    match name.parse::<ImageLocation>() {
        Ok(ImageLocation::Registry(_)) | Err(_) => {}
        Ok(place) => {
            let pull = Pull {
                place,
                input: save.input.clone(),
                platform: save.platform.cloned(),
                asked: Default::default(),
                signature_policy: None,
            };
            return images::pull_to(usnea, &pull, save.output, save.progress, "save").map(drop);
        }
    }
    // Images first, as for all other formats.
    if !images::exists(usnea, name)? && find_id(usnea, name).is_ok() {
        refuse_platform(name, save)?;
        return save_container(usnea, name, save).context(|| cannot_save(name, save));
    }
    images::save_squashfs(usnea, name, save.platform, save.output, save.progress.save)
}

fn cannot_save(name: &str, save: &Save<'_>) -> String {
    format!("cannot save {} to {}", name.escape_debug(), save.output.path().display())
}

fn refuse_platform(name: &str, save: &Save<'_>) -> Result<()> {
    match save.platform {
        Some(platform) => {
            fail!(Invalid: "{} is no image: no platform such as {platform} can be chosen", name.escape_debug())
        }
        None => Ok(()),
    }
}

/// Saves the root of a container, without its mounts. A container that runs is frozen meanwhile. The configuration is
/// that of an image which `usnea commit` would make.
fn save_container(usnea: &Usnea, name: &str, save: &Save<'_>) -> Result<()> {
    let container = find(usnea, name)?;
    let (spec, _image) = config(&container)?;
    let _still = Frozen::new(&container)?;
    let layers = ContainerLayers::of(usnea, &container, &spec)?;
    let configuration = commit::configuration(&container, &layers, &spec)?;
    let label = container.record.name.as_str();
    let files =
        FilesOutput { configuration, label, output: save.output, progress: save.progress.save };
    write(usnea, files, |write| layers.in_folders(|shown| write(&shown.stack())))
}

/// Saves a root directory, with the owners that a container made of it has.
fn save_directory(usnea: &Usnea, path: &Path, save: &Save<'_>) -> Result<()> {
    if !path.metadata()?.is_dir() {
        fail!(Invalid: "{} is no directory", path.display());
    }
    let configuration = commit::host_configuration().to_string();
    let (output, progress) = (save.output, save.progress.save);
    let files = FilesOutput { configuration, label: "files", output, progress };
    write(usnea, files, |write| write(&[LayerSource::from(path.to_owned())]))
}

/// File to write.
struct FilesOutput<'a> {
    configuration: String,
    /// Name in the progress.
    label: &'a str,
    output: &'a ArchiveSink,
    progress: &'a dyn TransferProgress,
}

/// Writes the file with the layers, topmost first, that `with_layers` hands over. It is called in base, in a process of
/// its own.
fn write(
    usnea: &Usnea,
    file: FilesOutput<'_>,
    with_layers: impl FnOnce(&dyn Fn(&[LayerSource]) -> Result<()>) -> Result<()>,
) -> Result<()> {
    let base = usnea.base()?;
    let owners = stores::owners_of_containers(base);
    // No manifest: the layers are not those of an image.
    let trailer = ImageTrailer { configuration: file.configuration, ..Default::default() };
    userns::in_base(base, || {
        with_layers(&|layers| {
            let top = layers.first().map(|layer| layer.path.metadata()).transpose()?;
            let files = MergedFiles {
                layers,
                owners: &owners,
                time: top.map_or(0, |top| top.mtime()),
                trailer: &trailer,
                name: file.label,
                size: 0,
            };
            let output = ArchiveOutput::create(file.output)?;
            files.write(output, &std::env::temp_dir(), file.progress)
        })
    })
}
