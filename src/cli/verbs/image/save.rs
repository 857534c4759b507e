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
/// The archive can be read by docker load, podman load, skopeo and usnea load. An image given by its ID has no name in the
/// archive.
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

    /// Write the image for this platform, or fail where the image here is for another: OS/ARCH[/VARIANT].
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<Platform>,

    /// Allow several images (podman). No effect: they are always allowed.
    #[arg(short, long)]
    multi_image_archive: bool,

    /// Print nothing (podman). No effect: nothing is printed.
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum ArchiveFormat {
    /// As docker save writes it: layers without compression.
    DockerArchive,
    /// A tar of an OCI image layout: everything as it was pulled.
    OciArchive,
    /// The folder of an OCI image layout.
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
