//! `usnea save`: writes images to an archive.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::ValueEnum;

use crate::cli::flags::pull::{PULL_WORDS, SAVE_WORDS};
use crate::cli::output::progress::{LayerProgress, Verbosity};
use crate::cli::output::streams;
use crate::container::images::{ArchiveForm, FileProgress};
use crate::container::{self, Save, SaveFormat, Usnea};
use crate::error::Result;
use crate::image::manifest::Platform;
use crate::image::transport::ImageLocation;

/// Save images to an archive
///
/// docker load, podman load, skopeo and usnea load can read the archive. An image that is given by its ID has no name
/// in the archive. The files of a single-file image become one layer, under the first name in the file.
///
/// With squashfs the file has the merged layers of a single image as a file system: Linux, squashfuse and unsquashfs read it
/// in place. The same image gives the same bytes. The configuration of the image follows the file system. Access control
/// lists are left out, with a warning. 'usnea load' gives back an image with one layer, whose ID is another one.
///
/// The source of a squashfs file may also be a container, an archive or a layout, a root directory, or a SIF file. A name means an
/// image, else a container. The file of a container has its root without mounts, and the configuration that 'usnea
/// commit' would give an image; a container that runs is frozen meanwhile. An image of an archive or a layout does not
/// get into the store; see usnea-pull(1), --to. The file of a directory has owners as in a container of that directory.
#[derive(clap::Args)]
pub struct Arguments {
    /// Names or IDs of the images, or single-file images: sqsh:FILE, sif:FILE, /FILE or ./FILE. With squashfs also the
    /// name or ID of a container, oci:DIR[:NAME], oci-archive:FILE[:NAME], docker-archive:FILE[:NAME], and dir:PATH, /PATH
    /// or ./PATH.
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,

    /// Write to this file, or with oci-dir into this folder. Default: standard output, which must not be a terminal.
    #[arg(short, long, value_name = "FILE", default_value = "-", hide_default_value = true)]
    output: PathBuf,

    /// Format of the archive.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = FormatFlag::DockerArchive)]
    format: FormatFlag,

    /// Platform that the image must have: OS/ARCH[/VARIANT].
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<Platform>,

    /// Accepted without effect: several images are always allowed (podman).
    #[arg(short, long)]
    multi_image_archive: bool,

    /// Show no progress: of the formats, squashfs alone shows a bar, on a terminal.
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum FormatFlag {
    /// Format of docker save, with uncompressed layers.
    DockerArchive,
    /// Tar archive of an OCI image layout, with layers as pulled.
    OciArchive,
    /// Directory of an OCI image layout.
    OciDir,
    /// File system of the merged layers, compressed with zstd.
    Squashfs,
}

/// Saves the images.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    let format = match arguments.format {
        FormatFlag::DockerArchive => SaveFormat::Archive(ArchiveForm::Docker),
        FormatFlag::OciArchive => SaveFormat::Archive(ArchiveForm::Oci),
        FormatFlag::OciDir => SaveFormat::Archive(ArchiveForm::OciFolder),
        FormatFlag::Squashfs => SaveFormat::Squashfs,
    };
    let is_shown = !arguments.quiet && std::io::stderr().is_terminal();
    let verbosity = if is_shown { Verbosity::Normal } else { Verbosity::Quiet };
    let places = arguments.images.iter().filter_map(|name| name.parse::<ImageLocation>().ok());
    let inputs = places.map(|place| streams::input_of(&place));
    let save = Save {
        names: &arguments.images,
        format,
        platform: arguments.platform.as_ref(),
        input: inputs.collect::<Result<Vec<_>>>()?.into_iter().flatten().next(),
        output: &streams::sink(&arguments.output)?,
        progress: FileProgress {
            pull: &LayerProgress::new(PULL_WORDS, verbosity),
            save: &LayerProgress::new(SAVE_WORDS, verbosity),
        },
    };
    container::save(usnea, &save)?;
    Ok(0)
}
