//! `usnea export` and `usnea container export`.

use std::path::PathBuf;

use super::NameScope;
use crate::cli::output::streams::sink;
use crate::container;
use crate::container::Usnea;
use crate::container::images;
use crate::error::{Error, Result};

/// Export the file system of a container, or of an image, as a tar archive
///
/// The layers are merged. Mounts of the container and the image's configuration (command, user, environment) are not
/// included: 'usnea commit' and 'usnea save' keep the configuration.
#[derive(clap::Args)]
pub struct Arguments {
    /// Name or ID of a container, else of an image.
    #[arg(value_name = "NAME")]
    name: String,

    /// Write to this file. Default: standard output, which must not be a terminal.
    #[arg(short, long, value_name = "FILE", default_value = "-", hide_default_value = true)]
    output: PathBuf,
}

/// Exports the container of this name; in the scope of all objects, else the image.
pub fn run(arguments: &Arguments, usnea: &Usnea, scope: NameScope) -> Result<u8> {
    let name = &arguments.name;
    if scope == NameScope::Containers || container::find_id(usnea, name).is_ok() {
        container::export(usnea, &container::find(usnea, name)?, &sink(&arguments.output)?)?;
        return Ok(0);
    }
    if !images::exists(usnea, name)? {
        let name = name.escape_debug();
        return Err(Error::not_found(format!(
            "neither a container nor an image is called '{name}'"
        ))
        .hint("'usnea ps --all' lists containers, 'usnea images' images"));
    }
    images::export(usnea, name, &sink(&arguments.output)?)?;
    Ok(0)
}
