//! `usnea volume export` and `import`: a volume's files as a tar.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use crate::cli::output::streams::sink;
use crate::container::Usnea;
use crate::container::volumes::{self, TarInput};
use crate::error::{Error, Result};

/// Export the files of a volume as a tar archive
#[derive(clap::Args)]
pub struct ExportArguments {
    /// The volume.
    #[arg(value_name = "VOLUME")]
    name: String,

    /// Write to this file. Default: standard output, which must not be a terminal.
    #[arg(short, long, value_name = "FILE", default_value = "-", hide_default_value = true)]
    output: PathBuf,
}

/// Import a tar archive into a volume
///
/// Files of the same name are replaced; all other files are kept.
#[derive(clap::Args)]
pub struct ImportArguments {
    /// Name of an existing volume.
    #[arg(value_name = "VOLUME")]
    name: String,

    /// Tar archive, plain or compressed with gzip or zstd; - for standard input.
    #[arg(value_name = "FILE", default_value = "-", hide_default_value = true)]
    file: PathBuf,
}

/// Exports a volume.
pub fn export(arguments: &ExportArguments, usnea: &Usnea) -> Result<u8> {
    volumes::export(usnea, &arguments.name, &sink(&arguments.output)?).map(|()| 0)
}

/// Imports a tar into a volume.
pub fn import(arguments: &ImportArguments, usnea: &Usnea) -> Result<u8> {
    if arguments.file == Path::new("-") && std::io::stdin().is_terminal() {
        return Err(Error::invalid("nothing to import: standard input is a terminal")
            .hint("redirect standard input, or name a file"));
    }
    let input = match arguments.file == Path::new("-") {
        true => TarInput::Stream(Box::new(std::io::stdin().lock())),
        false => TarInput::File(&arguments.file),
    };
    volumes::import(usnea, &arguments.name, input).map(|()| 0)
}
