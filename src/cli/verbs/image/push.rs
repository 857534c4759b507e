//! `usnea push`: pushes images.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::cli::flags::registry::RegistryFlags;
use crate::cli::output::print;
use crate::cli::output::progress::{LayerProgress, LayerWords, Verbosity};
use crate::cli::output::streams;
use crate::container::Usnea;
use crate::container::images::{Push, names_of_repository, push};
use crate::error::Result;
use crate::files;
use crate::image::push::ManifestFormat;
use crate::image::transport::ImageLocation;

const WORDS: LayerWords = LayerWords { moved: "Pushed", was_there: "Layer already exists" };

/// Push an image to a registry, a layout or an archive
///
/// The manifest is sent unchanged, so its digest is kept. The digest changes in three cases: layers that were loaded
/// uncompressed are compressed for a registry, an OCI layout gets an OCI manifest, and a registry that rejects the
/// manifest's format gets the other format.
///
/// SOURCE may also be a single-file image: sqsh:FILE, sif:FILE, or a path of such a file that begins with / or ./. Its
/// files become the only layer of a new image with the configuration in the file, the same image that 'usnea load' makes
/// of the file. Neither image nor layer gets into the store. The layer is a temporary file in the store's folder meanwhile.
#[derive(clap::Args)]
pub struct Arguments {
    /// Name or ID of the image, or a single-file image: sqsh:FILE, sif:FILE, /FILE or ./FILE.
    #[arg(value_name = "SOURCE")]
    source: String,

    /// Destination: [docker://]REGISTRY/NAME[:TAG], oci:DIR[:NAME], oci-archive:FILE[:NAME], docker-archive:FILE[:NAME].
    /// Default: the registry of the image's own name, or of the name in a single-file image.
    #[arg(value_name = "DESTINATION")]
    destination: Option<String>,

    #[command(flatten)]
    registry: RegistryFlags,

    /// Print the destination only.
    #[arg(short, long)]
    quiet: bool,

    /// Write the digest of the pushed manifest to this file.
    #[arg(long, value_name = "FILE")]
    digestfile: Option<PathBuf>,

    /// Push all tags of the repository SOURCE, each to the registry of its own name.
    #[arg(short, long, conflicts_with_all = ["destination", "digestfile"])]
    all_tags: bool,

    /// Format of the manifest. Default: the format in the store, or the other one if the registry rejects that.
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<PushFormat>,

    /// Compression format of all layers.
    #[arg(long, value_enum, value_name = "COMPRESSION")]
    compression_format: Option<LayerCompression>,

    /// Accepted without effect: no signatures are pushed (podman).
    #[arg(long)]
    remove_signatures: bool,

    /// Accepted without effect: nothing is signed (docker).
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "BOOL", default_missing_value = "true",
          hide_possible_values = true)]
    disable_content_trust: Option<bool>,
}

#[derive(Clone, Copy, ValueEnum)]
enum PushFormat {
    /// OCI's image manifest.
    Oci,
    /// Docker's image manifest, version 2, schema 2.
    V2s2,
}

#[derive(Clone, Copy, ValueEnum)]
enum LayerCompression {
    /// gzip, which all registries and tools support.
    Gzip,
}

/// Pushes an image, or all of a repository.
pub fn run(mut arguments: Arguments, usnea: &Usnea) -> Result<u8> {
    let options = std::mem::take(&mut arguments.registry).options()?;
    // Parsed here, not by clap, so that an error keeps its hint.
    let destination =
        arguments.destination.take().map(|text| text.parse::<ImageLocation>()).transpose()?;
    let format = match arguments.format {
        None => ManifestFormat::AsStored,
        Some(PushFormat::Oci) => ManifestFormat::Oci,
        Some(PushFormat::V2s2) => ManifestFormat::Docker,
    };
    let gzip = arguments.compression_format.is_some();
    let mut request = Push {
        source: arguments.source.clone(),
        output: streams::output_of(destination.as_ref())?,
        destination,
        asked: options,
        format,
        gzip,
    };
    if !arguments.all_tags {
        return push_image(&arguments, usnea, &request);
    }
    for name in names_of_repository(usnea, &arguments.source)? {
        request.source = name;
        push_image(&arguments, usnea, &request)?;
    }
    Ok(0)
}

fn push_image(arguments: &Arguments, usnea: &Usnea, request: &Push) -> Result<u8> {
    let verbosity = if arguments.quiet { Verbosity::Quiet } else { Verbosity::Normal };
    let (place, pushed) = push(usnea, request, &LayerProgress::new(WORDS, verbosity))?;
    if let Some(file) = &arguments.digestfile {
        std::fs::write(file, pushed.digest.to_string())
            .map_err(|error| files::cannot_write_output(error, file))?;
    }
    match arguments.quiet {
        true => print(&format!("{}\n", typed_name(&place))),
        false => print(&format!(
            "{}: digest: {} size: {}\n",
            typed_name(&place),
            pushed.digest,
            pushed.size
        )),
    }
}

/// Returns a registry's name without its transport, as typed.
fn typed_name(place: &ImageLocation) -> String {
    let text = place.to_string();
    text.strip_prefix("docker://").unwrap_or(&text).to_owned()
}
