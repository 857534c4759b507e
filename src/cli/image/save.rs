//! `usnea save`.

use std::path::{Path, PathBuf};

use clap::ValueEnum;

use crate::container::images::{SaveFormat, save};
use crate::container::stores::Stores;
use crate::error::Result;

/// Write images to an archive
///
/// docker load, podman load, skopeo and usnea load read it. An image that is named by its ID has no name in the archive.
#[derive(clap::Args)]
pub struct Arguments {
    /// Names or IDs of the images.
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,

    /// Write to this file, or with oci-dir into this folder. Default: standard output, which must not be a terminal.
    #[arg(short, long, value_name = "FILE", default_value = "-", hide_default_value = true)]
    output: PathBuf,

    /// What is written.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = FormatName::DockerArchive)]
    format: FormatName,
}

#[derive(Clone, Copy, ValueEnum)]
enum FormatName {
    /// As docker save writes it: layers without compression.
    DockerArchive,
    /// A tar of an OCI image layout: everything as it was pulled.
    OciArchive,
    /// The folder of an OCI image layout.
    OciDir,
}

/// Saves.
pub fn run(arguments: &Arguments, root: Option<&Path>) -> Result<u8> {
    let format = match arguments.format {
        FormatName::DockerArchive => SaveFormat::DockerArchive,
        FormatName::OciArchive => SaveFormat::OciArchive,
        FormatName::OciDir => SaveFormat::OciDir,
    };
    save(&Stores::open(root)?, &arguments.images, format, &arguments.output)?;
    Ok(0)
}
