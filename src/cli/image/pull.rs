//! `usnea pull`.

use std::path::{Path, PathBuf};

use crate::cli::image::registry_flags::RegistryFlags;
use crate::cli::progress::{Loudness, Shown, Words};
use crate::cli::run::print;
use crate::container::images::{Pull, pull};
use crate::container::stores::Stores;
use crate::error::Result;
use crate::image::manifest::Platform;
use crate::image::transport::Place;

/// What is said of layers.
pub const WORDS: Words = Words { moved: "Pull complete", was_there: "Already exists" };

/// Pull images from a registry, a layout or an archive
///
/// Prints the ID of each. What breaks off goes on where it stopped when the same is pulled again.
#[derive(clap::Args)]
pub struct Arguments {
    /// What: [docker://][REGISTRY/]NAME[:TAG][@DIGEST], oci:DIR[:NAME], oci-archive:FILE[:NAME],
    /// docker-archive:FILE[:NAME].
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,

    #[command(flatten)]
    source: SourceFlags,

    /// Print nothing but the image's ID.
    #[arg(short, long)]
    quiet: bool,
}

/// Which image of an index, from whom, and whether it may come.
#[derive(clap::Args)]
pub struct SourceFlags {
    /// The image for this machine: OS/ARCH[/VARIANT]. Default: the one we run on.
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<Platform>,

    #[command(flatten)]
    registry: RegistryFlags,

    /// Which images are accepted. Default: policy.json in ~/.config/containers, else in /etc/containers.
    #[arg(long, value_name = "FILE")]
    signature_policy: Option<PathBuf>,
}

impl SourceFlags {
    /// Whether any of them was given.
    pub fn is_asked(&self) -> bool {
        self.platform.is_some() || self.signature_policy.is_some() || self.registry.is_asked()
    }

    /// The pull from `place` that these flags ask for.
    pub fn pull(self, place: Place) -> Result<Pull> {
        Ok(Pull {
            place,
            platform: self.platform,
            asked: self.registry.asked()?,
            signature_policy: self.signature_policy,
        })
    }
}

/// Pulls. The images before one that fails stay.
pub fn run(arguments: Arguments, root: Option<&Path>) -> Result<u8> {
    let places = arguments.images.iter().map(|text| text.parse::<Place>());
    let mut places = places.collect::<Result<Vec<_>>>()?.into_iter();
    let Some(first) = places.next() else { return Ok(0) };
    let mut request = arguments.source.pull(first)?;
    let stores = Stores::open(root)?;
    let loudness = if arguments.quiet { Loudness::Quiet } else { Loudness::Normal };
    loop {
        let image = pull(&stores, &request, &Shown::new(WORDS, loudness))?;
        print(&format!("{}\n", image.config.hex()))?;
        match places.next() {
            Some(place) => request.place = place,
            None => return Ok(0),
        }
    }
}
