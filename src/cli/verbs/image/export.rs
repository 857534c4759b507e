//! `usnea export` of an image: its file system as a tar.

use std::path::PathBuf;

use crate::cli::output::streams::sink;
use crate::container::Usnea;
use crate::container::images::export;
use crate::error::Result;

/// Export the file system of an image as a tar archive
///
/// The layers are merged. The configuration (command, user, environment) is not included: 'usnea save' keeps it.
#[derive(clap::Args)]
pub struct Arguments {
    /// Name or ID of an image.
    #[arg(value_name = "IMAGE")]
    image: String,

    /// Write to this file. Default: standard output, which must not be a terminal.
    #[arg(short, long, value_name = "FILE", default_value = "-", hide_default_value = true)]
    output: PathBuf,
}

/// Exports an image.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    export(usnea, &arguments.image, &sink(&arguments.output)?)?;
    Ok(0)
}
