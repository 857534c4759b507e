//! `usnea manifest push`: pushes a list.

use std::path::PathBuf;

use clap::ValueEnum;
use clap::builder::BoolishValueParser;

use crate::cli::flags::registry::RegistryFlags;
use crate::cli::output::print;
use crate::cli::output::streams;
use crate::container::Usnea;
use crate::container::images::{ListFormat, PushList, push_list, remove_list};
use crate::error::Result;
use crate::files;
use crate::image::transport::ImageLocation;

/// Push a manifest list and its images
///
/// Prints the digest of the pushed list. Images of other registries are copied.
#[derive(clap::Args)]
pub struct Arguments {
    /// Name or ID of the list.
    #[arg(value_name = "LIST")]
    list: String,

    /// Destination: [docker://]REGISTRY/NAME[:TAG], oci:DIR[:NAME], oci-archive:FILE[:NAME]. Default: the registry of the
    /// list's own name.
    #[arg(value_name = "DESTINATION")]
    destination: Option<String>,

    /// Push the images too; false: only the list, whose images must exist at the destination.
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "BOOL", default_value = "true",
          default_missing_value = "true", hide_possible_values = true, value_parser = BoolishValueParser::new())]
    all: bool,

    /// Format of the list, and of images that are pushed from the store. Default: docker's if all images have it, else
    /// OCI's.
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    format: Option<IndexFormat>,

    /// Remove the list from the store after the push.
    #[arg(long = "rm", visible_alias = "purge", short = 'p')]
    remove: bool,

    /// Print nothing.
    #[arg(short, long)]
    quiet: bool,

    /// Write the digest of the list to this file.
    #[arg(long, value_name = "FILE")]
    digestfile: Option<PathBuf>,

    #[command(flatten)]
    registry: RegistryFlags,
}

#[derive(Clone, Copy, ValueEnum)]
enum IndexFormat {
    /// OCI's image index.
    Oci,
    /// Docker's manifest list, version 2, schema 2.
    V2s2,
}

/// Pushes a list.
pub fn run(arguments: Arguments, usnea: &Usnea) -> Result<u8> {
    let destination =
        arguments.destination.map(|text| text.parse::<ImageLocation>()).transpose()?;
    let request = PushList {
        list: arguments.list,
        output: streams::output_of(destination.as_ref())?,
        destination,
        asked: arguments.registry.options()?,
        all: arguments.all,
        format: arguments.format.map(|format| match format {
            IndexFormat::Oci => ListFormat::Oci,
            IndexFormat::V2s2 => ListFormat::Docker,
        }),
    };
    let (_, pushed) = push_list(usnea, &request)?;
    if let Some(file) = &arguments.digestfile {
        std::fs::write(file, pushed.digest.to_string())
            .map_err(|error| files::cannot_write_output(error, file))?;
    }
    if arguments.remove {
        remove_list(usnea, &request.list)?;
    }
    match arguments.quiet {
        true => Ok(0),
        false => print(&format!("{}\n", pushed.digest)),
    }
}
