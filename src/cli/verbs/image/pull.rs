//! `usnea pull`: pulls images.

use std::path::{Path, PathBuf};

use crate::cli::flags::pull::{PULL_WORDS, PullPolicyFlag, SAVE_WORDS, SourceFlags};
use crate::cli::output::print;
use crate::cli::output::progress::{LayerProgress, Verbosity};
use crate::cli::output::streams;
use crate::container::images::{FileProgress, Pull, all_tags, pull, pull_to};
use crate::container::{PullPolicy, PullSettings, Usnea, find_or_pull};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::image::archive::output::ArchiveSink;
use crate::image::transport::ImageLocation;

/// Pull images from a registry, a layout or an archive
///
/// Prints the ID of each image. An interrupted pull resumes where it stopped when the same image is pulled again.
///
/// With --to the image goes into one squashfs file, the same that 'usnea save --format squashfs' would write, and not
/// into the store. The store need not exist, nor be writable. The layers are unpacked in $TMPDIR, else beside the file:
/// the file system needs room for the packed and the unpacked layers. The file appears when it is whole; nothing is left
/// of a pull that is broken off, which starts anew the next time.
#[derive(clap::Args)]
pub struct Arguments {
    /// Image: [docker://][REGISTRY/]NAME[:TAG][@DIGEST], oci:DIR[:NAME], oci-archive:FILE[:NAME],
    /// docker-archive:FILE[:NAME].
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,

    #[command(flatten)]
    source: SourceFlags,

    /// Write the image to this squashfs file instead of the store. -: standard output, which must not be a terminal.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["all_tags", "policy"])]
    to: Option<PathBuf>,

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
    if let Some(file) = &arguments.to {
        if places.next().is_some() {
            return Err(Error::invalid("a squashfs file holds a single image")
                .hint("pull each image to a file of its own"));
        }
        return pull_file(usnea, &request, file, verbosity);
    }
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

/// Pulls an image to a squashfs file. The ID must not get into a file on standard output.
fn pull_file(usnea: &Usnea, request: &Pull, file: &Path, verbosity: Verbosity) -> Result<u8> {
    let sink = streams::sink(file)?;
    let progress = FileProgress {
        pull: &LayerProgress::new(PULL_WORDS, verbosity),
        save: &LayerProgress::new(SAVE_WORDS, verbosity),
    };
    let id = pull_to(usnea, request, &sink, progress, "pull")?;
    if let ArchiveSink::File(_) = sink {
        print(&format!("{}\n", id.hex()))?;
    }
    Ok(0)
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
