//! `usnea pull`: pulls images.

use std::path::PathBuf;

use crate::cli::image::registry_flags::RegistryFlags;
use crate::cli::progress::{Loudness, Shown, Words};
use crate::cli::run::print;
use crate::container::images::{Pull, all_tags, default_platform, pull};
use crate::container::{PullPolicy, PullSettings, Usnea, find_or_pull};
use crate::digest::Digest;
use crate::error::Result;
use crate::image::manifest::Platform;
use crate::image::transport::ImageLocation;

/// Words about layers.
pub const WORDS: Words = Words { moved: "Pull complete", was_there: "Already exists" };

/// Pull images from a registry, a layout or an archive
///
/// Prints the ID of each image. An interrupted pull resumes where it stopped when the same image is pulled again.
#[derive(clap::Args)]
pub struct Arguments {
    /// Image: [docker://][REGISTRY/]NAME[:TAG][@DIGEST], oci:DIR[:NAME], oci-archive:FILE[:NAME],
    /// docker-archive:FILE[:NAME].
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,

    #[command(flatten)]
    source: SourceFlags,

    /// Pull all tags of a repository.
    #[arg(short, long, conflicts_with = "policy")]
    all_tags: bool,

    /// Pull policy.
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = PullPolicy::Always)]
    policy: PullPolicy,

    /// Do not look for docker's signatures (docker). No effect: what policy.json says counts.
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "BOOL", default_missing_value = "true",
          hide_possible_values = true)]
    disable_content_trust: Option<bool>,

    /// Print nothing but the image's ID.
    #[arg(short, long)]
    quiet: bool,
}

/// Selection of an image of an index, its registry, and the policy that accepts it.
#[derive(clap::Args)]
pub struct SourceFlags {
    /// The image for this platform: OS/ARCH[/VARIANT]. Default: $DOCKER_DEFAULT_PLATFORM, else this machine's.
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", conflicts_with_all = ["arch", "os", "variant"])]
    platform: Option<Platform>,

    /// The image for this architecture, such as arm64.
    #[arg(long, value_name = "ARCH")]
    arch: Option<String>,

    /// The image for this operating system. Only linux runs here.
    #[arg(long, value_name = "OS")]
    os: Option<String>,

    /// The image for this variant of the architecture, such as v7.
    #[arg(long, value_name = "VARIANT")]
    variant: Option<String>,

    #[command(flatten)]
    registry: RegistryFlags,

    /// Signature policy file. Default: policy.json in ~/.config/containers, else in /etc/containers.
    #[arg(long, value_name = "FILE")]
    signature_policy: Option<PathBuf>,
}

impl SourceFlags {
    /// True if any of these flags is set.
    pub fn is_asked(&self) -> bool {
        let parts = [&self.arch, &self.os, &self.variant];
        let is_platform = self.platform.is_some() || parts.iter().any(|part| part.is_some());
        is_platform || self.signature_policy.is_some() || self.registry.is_asked()
    }

    /// Returns the pull from `place` with these flags.
    pub fn pull(self, place: ImageLocation) -> Result<Pull> {
        let platform = match self.platform {
            Some(platform) => Some(platform),
            None if self.arch.is_none() && self.os.is_none() && self.variant.is_none() => {
                default_platform()?
            }
            None => Some(Platform::of_parts(self.arch, self.os, self.variant)),
        };
        Ok(Pull {
            place,
            platform,
            asked: self.registry.asked()?,
            signature_policy: self.signature_policy,
        })
    }
}

/// Pulls images. Images pulled before a failure stay.
pub fn run(arguments: Arguments, usnea: &Usnea) -> Result<u8> {
    let places = arguments.images.iter().map(|text| text.parse::<ImageLocation>());
    let mut places = places.collect::<Result<Vec<_>>>()?.into_iter();
    let Some(first) = places.next() else { return Ok(0) };
    let mut request = arguments.source.pull(first)?;
    let loudness = if arguments.quiet { Loudness::Quiet } else { Loudness::Normal };
    loop {
        let all = match arguments.all_tags {
            true => all_tags(usnea, &request)?,
            false => vec![request.place.clone()],
        };
        for place in all {
            request.place = place;
            let id = one(usnea, &request, arguments.policy, loudness)?;
            print(&format!("{}\n", id.hex()))?;
        }
        match places.next() {
            Some(place) => request.place = place,
            None => return Ok(0),
        }
    }
}

/// Pulls an image, or finds the one here, by `policy`; returns its ID.
fn one(usnea: &Usnea, request: &Pull, policy: PullPolicy, loudness: Loudness) -> Result<Digest> {
    let shown = Shown::new(WORDS, loudness);
    if policy == PullPolicy::Always {
        return Ok(pull(usnea, request, &shown)?.config);
    }
    let text = request.place.to_string();
    let name = text.strip_prefix("docker://").unwrap_or(&text);
    let wanted = PullSettings { policy, pull: request.clone(), progress: &shown };
    Ok(find_or_pull(usnea, name, &wanted)?.config)
}
