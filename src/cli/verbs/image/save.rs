//! `usnea save`: writes images to an archive.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::ValueEnum;

use crate::cli::output::progress::{LayerProgress, LayerWords, Verbosity};
use crate::cli::output::streams::sink;
use crate::container::Usnea;
use crate::container::images::{SaveFormat, save};
use crate::error::Result;
use crate::image::manifest::Platform;

/// Save images to an archive
///
/// docker load, podman load, skopeo and usnea load can read the archive. An image that is given by its ID has no name
/// in the archive.
///
/// With squashfs the file has the merged layers of a single image as a file system: Linux, squashfuse and unsquashfs read it
/// in place. The same image gives the same bytes. The configuration of the image follows the file system. Access control
/// lists are left out, with a warning. 'usnea load' gives back an image with one layer, whose ID is another one.
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

    /// Show no progress: of the formats, squashfs alone shows a bar, on a terminal.
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
    /// File system of the merged layers, compressed with zstd.
    Squashfs,
}

/// Saves the images.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    let format = match arguments.format {
        ArchiveFormat::DockerArchive => SaveFormat::DockerArchive,
        ArchiveFormat::OciArchive => SaveFormat::OciArchive,
        ArchiveFormat::OciDir => SaveFormat::OciDir,
        ArchiveFormat::Squashfs => SaveFormat::Squashfs,
    };
    let is_shown = !arguments.quiet && std::io::stderr().is_terminal();
    let verbosity = if is_shown { Verbosity::Normal } else { Verbosity::Quiet };
    let words = LayerWords { moved: "Saved", was_there: "Already exists" };
    let progress = LayerProgress::new(words, verbosity);
    let (_stores, platform) = (usnea.images()?, arguments.platform.as_ref());
    save(usnea, &arguments.images, format, platform, &sink(&arguments.output)?, &progress)?;
    Ok(0)
}
