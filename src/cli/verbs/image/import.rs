//! `usnea import`: makes an image of a tarball.

use std::ffi::OsString;
use std::io::IsTerminal;

use crate::cli::output::print;
use crate::cli::output::streams;
use crate::container::Usnea;
use crate::container::images::{Import, import};
use crate::container::stores::given_name;
use crate::error::{Error, Result};
use crate::image::archive::plain::ArchiveSource;
use crate::image::instruction::ConfigChange;
use crate::image::manifest::Platform;
use crate::image::reference::TypedReference;

/// Import a tarball of a root directory as an image
#[derive(clap::Args)]
pub struct Arguments {
    /// Tarball, plain or compressed with gzip, zstd, xz or bzip2: a file, an http or https URL, or - for standard
    /// input.
    #[arg(value_name = "FILE|URL|-")]
    file: OsString,

    /// Name of the image; without a registry, localhost/NAME.
    #[arg(value_name = "NAME")]
    name: Option<TypedReference>,

    /// Apply a Dockerfile instruction to the image's config: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD,
    /// STOPSIGNAL, USER, VOLUME or WORKDIR. May be given more than once.
    #[arg(short, long = "change", value_name = "INSTRUCTION")]
    changes: Vec<ConfigChange>,

    /// Comment in the image's history. Default: the source of the import.
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,

    /// Platform of the image: OS/ARCH[/VARIANT]. Default: this machine's.
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,

    /// Do not print the ID.
    #[arg(short, long)]
    quiet: bool,
}

/// Imports a tarball, and prints the image's ID.
pub fn run(arguments: Arguments, usnea: &Usnea) -> Result<u8> {
    if arguments.file == "-" && std::io::stdin().is_terminal() {
        return Err(Error::invalid("nothing to import: standard input is a terminal")
            .hint("redirect standard input, or name a file"));
    }
    let input = match arguments.file == "-" {
        true => ArchiveSource::Stream(streams::duplicate(rustix::stdio::stdin())?),
        false => ArchiveSource::File(arguments.file.into()),
    };
    let request = Import {
        input,
        name: arguments.name.as_ref().map(given_name).transpose()?,
        platform: arguments.platform.unwrap_or_else(Platform::host),
        message: arguments.message,
        changes: arguments.changes,
    };
    let image = import(usnea, &request)?;
    if arguments.quiet {
        return Ok(0);
    }
    print(&format!("{}\n", image.config))
}
