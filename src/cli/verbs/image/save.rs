//! `usnea save`: writes images to an archive.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::cli::output::streams::sink;
use crate::container::Usnea;
use crate::container::images::{SaveFormat, save};
use crate::error::Result;
use crate::image::manifest::Platform;

/// Save images to an archive
///
/// docker load, podman load, skopeo and usnea load can read the archive. An image that is given by its ID has no name
/// in the archive.
#[derive(clap::Args)]
pub struct Arguments {
    /// Names or IDs of the images.
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,

    /// Write to this file, or with oci-dir into this folder. Default: standard output, which must not be a terminal.
    #[arg(short, long, value_name = "FILE", default_value = "-", hide_default_value = true)]
    output: PathBuf,

    /// Format of the archive.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = ArchiveFormat::DockerArchive)]
    format: ArchiveFormat,

    /// Platform that the image must have: OS/ARCH[/VARIANT].
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<Platform>,

    /// Accepted without effect: several images are always allowed (podman).
    #[arg(short, long)]
    multi_image_archive: bool,

    /// Accepted without effect: nothing is printed (podman).
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum ArchiveFormat {
    /// Format of docker save, with uncompressed layers.
    DockerArchive,
    /// Tar archive of an OCI image layout, with layers as pulled.
    OciArchive,
    /// Directory of an OCI image layout.
    OciDir,
}

/// Saves the images.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    let format = match arguments.format {
        ArchiveFormat::DockerArchive => SaveFormat::DockerArchive,
        ArchiveFormat::OciArchive => SaveFormat::OciArchive,
        ArchiveFormat::OciDir => SaveFormat::OciDir,
    };
    let (_stores, platform) = (usnea.images()?, arguments.platform.as_ref());
    save(usnea, &arguments.images, format, platform, &sink(&arguments.output)?)?;
    Ok(0)
}
