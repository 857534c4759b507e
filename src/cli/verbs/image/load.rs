//! `usnea load`: loads the images of an archive.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use crate::cli::output::print;
use crate::cli::output::progress::{LayerProgress, LayerWords, Verbosity};
use crate::cli::output::streams;
use crate::container::Usnea;
use crate::container::images::{Load, LoadInput, LoadedImage, default_platform, load};
use crate::documents::text::NameForm;
use crate::error::{Error, Result};
use crate::image::manifest::Platform;

/// Words about layers.
pub const WORDS: LayerWords = LayerWords { moved: "Loaded", was_there: "Already exists" };

/// Load images from an archive
///
/// Loads all images of an archive written by docker save, podman save, skopeo or usnea save: a Docker archive, an OCI archive
/// or an OCI layout directory, plain or compressed by gzip, zstd, xz or bzip2. A name in an OCI layout without a registry
/// becomes localhost/NAME.
///
/// A squashfs file of usnea save --format squashfs becomes an image with the same configuration and a single layer, so with
/// another ID. A SIF file of apptainer or singularity becomes an image without a name, whose entrypoint and command are the
/// scripts in the file; its signatures are verified where policy.json requires one, else a warning tells that they are not.
/// The layers of an OCI-SIF stay layers.
#[derive(clap::Args)]
pub struct Arguments {
    /// Read from this file or directory. Default: standard input.
    #[arg(short, long, value_name = "FILE", default_value = "-", hide_default_value = true)]
    input: PathBuf,

    /// Print nothing.
    #[arg(short, long)]
    quiet: bool,

    /// Platform to load from a multi-platform image: OS/ARCH[/VARIANT]. Default: this machine's.
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
}

/// Loads the images, and prints their names.
pub fn run(arguments: Arguments, usnea: &Usnea) -> Result<u8> {
    let input = if arguments.input != Path::new("-") {
        LoadInput::Path(arguments.input)
    } else if std::io::stdin().is_terminal() {
        return Err(Error::invalid("nothing to load: standard input is a terminal")
            .hint("name a file with -i, or redirect standard input"));
    } else {
        LoadInput::Stream(streams::duplicate(rustix::stdio::stdin())?)
    };
    let platform =
        arguments.platform.map_or_else(default_platform, |platform| Ok(Some(platform)))?;
    let verbosity = if arguments.quiet { Verbosity::Quiet } else { Verbosity::Normal };
    let progress = LayerProgress::new(WORDS, verbosity);
    let images = load(usnea, &Load { input, platform }, &progress)?;
    match arguments.quiet {
        true => Ok(0),
        false => print(&images.iter().map(names_of).collect::<String>()),
    }
}

/// Returns lines with the names of a loaded image.
pub fn names_of(image: &LoadedImage) -> String {
    match image.names.is_empty() {
        true => format!("Loaded image ID: {}\n", image.id),
        false => image
            .names
            .iter()
            .map(|name| {
                let is_hidden = image.hidden.contains(name);
                let form = if is_hidden { NameForm::Whole } else { NameForm::Short };
                format!("Loaded image: {}\n", form.name(name))
            })
            .collect(),
    }
}
