//! `usnea pull`: pulls images.

use crate::cli::flags::pull::{PULL_WORDS, PullPolicyFlag, SourceFlags};
use crate::cli::output::print;
use crate::cli::output::progress::{LayerProgress, Verbosity};
use crate::cli::output::streams;
use crate::container::images::{Pull, all_tags, pull};
use crate::container::{PullPolicy, PullSettings, Usnea, find_or_pull};
use crate::digest::Digest;
use crate::error::Result;
use crate::image::transport::ImageLocation;

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
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = PullPolicyFlag::Always)]
    policy: PullPolicyFlag,

    /// Accepted without effect: only policy.json decides on signatures.
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "BOOL", default_missing_value = "true",
          hide_possible_values = true)]
    disable_content_trust: Option<bool>,

    /// Print only the image's ID.
    #[arg(short, long)]
    quiet: bool,
}

/// Pulls images. Images pulled before a failure stay.
pub fn run(arguments: Arguments, usnea: &Usnea) -> Result<u8> {
    let places = arguments.images.iter().map(|text| text.parse::<ImageLocation>());
    let mut places = places.collect::<Result<Vec<_>>>()?.into_iter();
    let Some(first) = places.next() else { return Ok(0) };
    let mut request = arguments.source.pull(first)?;
    let verbosity = if arguments.quiet { Verbosity::Quiet } else { Verbosity::Normal };
    loop {
        let all = match arguments.all_tags {
            true => all_tags(usnea, &request)?,
            false => vec![request.place.clone()],
        };
        for place in all {
            request.input = streams::input_of(&place)?;
            request.place = place;
            let id = pull_image(usnea, &request, arguments.policy.into(), verbosity)?;
            print(&format!("{}\n", id.hex()))?;
        }
        match places.next() {
            Some(place) => request.place = place,
            None => return Ok(0),
        }
    }
}

/// Pulls an image, or finds the one here, by `policy`; returns its ID.
fn pull_image(
    usnea: &Usnea,
    request: &Pull,
    policy: PullPolicy,
    verbosity: Verbosity,
) -> Result<Digest> {
    let progress = LayerProgress::new(PULL_WORDS, verbosity);
    if policy == PullPolicy::Always {
        return Ok(pull(usnea, request, &progress)?.config);
    }
    let text = request.place.to_string();
    let name = text.strip_prefix("docker://").unwrap_or(&text);
    let settings = PullSettings { policy, pull: request.clone(), progress: &progress };
    Ok(find_or_pull(usnea, name, &settings)?.config)
}
