//! `usnea push`.

use std::path::{Path, PathBuf};

use crate::cli::image::registry_flags::RegistryFlags;
use crate::cli::progress::{Loudness, Shown, Words};
use crate::cli::run::print;
use crate::container::images::{Push, push};
use crate::container::stores::Stores;
use crate::error::Result;
use crate::files;
use crate::image::transport::Place;

const WORDS: Words = Words { moved: "Pushed", was_there: "Layer already exists" };

/// Push an image to a registry, a layout or an archive
///
/// The manifest arrives byte for byte as it came here, so that its digest stays. Layers that were loaded without
/// compression are compressed for a registry; then the digest is another one.
#[derive(clap::Args)]
pub struct Arguments {
    /// Name or ID of the image.
    #[arg(value_name = "SOURCE")]
    source: String,

    /// Where to: [docker://]REGISTRY/NAME[:TAG], oci:DIR[:NAME], oci-archive:FILE[:NAME], docker-archive:FILE[:NAME].
    /// Default: the registry of the image's own name.
    #[arg(value_name = "DESTINATION")]
    destination: Option<String>,

    #[command(flatten)]
    registry: RegistryFlags,

    /// Print nothing but where it is now.
    #[arg(short, long)]
    quiet: bool,

    /// Write the digest of the manifest, as it is there, to this file.
    #[arg(long, value_name = "FILE")]
    digestfile: Option<PathBuf>,
}

/// Pushes.
pub fn run(arguments: Arguments, root: Option<&Path>) -> Result<u8> {
    let asked = arguments.registry.asked()?;
    // Here, not by clap: an error keeps its hint.
    let destination = arguments.destination.map(|text| text.parse::<Place>()).transpose()?;
    let request = Push { source: arguments.source, destination, asked };
    let loudness = if arguments.quiet { Loudness::Quiet } else { Loudness::Normal };
    let shown_layers = Shown::new(WORDS, loudness);
    let (place, pushed) = push(&Stores::open(root)?, &request, &shown_layers)?;
    if let Some(file) = &arguments.digestfile {
        std::fs::write(file, pushed.digest.to_string())
            .map_err(|error| files::cannot_write(error, file))?;
    }
    match arguments.quiet {
        true => print(&format!("{}\n", shown(&place))),
        false => {
            print(&format!("{}: digest: {} size: {}\n", shown(&place), pushed.digest, pushed.size))
        }
    }
}

/// A registry's name without its transport, as it was typed.
fn shown(place: &Place) -> String {
    let text = place.to_string();
    text.strip_prefix("docker://").unwrap_or(&text).to_owned()
}
