//! `usnea system prune`.

use std::path::Path;

use crate::cli::image::prune::{is_sure, report};
use crate::container::images;
use crate::container::stores::Stores;
use crate::error::Result;
use crate::image::store::Which;

/// Remove what nobody needs
///
/// Images without a name, packed and unpacked layers that no image needs, and what killed commands left. What a container
/// runs on stays.
#[derive(clap::Args)]
pub struct Arguments {
    /// Remove all images that no container runs on, those with names too.
    #[arg(short, long)]
    all: bool,

    /// Do not ask.
    #[arg(short, long)]
    force: bool,
}

/// Carries it out.
pub fn run(arguments: &Arguments, root: Option<&Path>) -> Result<u8> {
    let (which, what) = match arguments.all {
        true => {
            (Which::Unused, "all images that no container runs on, and what killed commands left")
        }
        false => (Which::Dangling, "all images without a name, and what killed commands left"),
    };
    if !arguments.force && !is_sure(what)? {
        return Ok(0);
    }
    report(&images::prune(&Stores::open(root)?, which)?)
}
