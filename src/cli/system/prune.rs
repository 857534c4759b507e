//! `usnea system prune`.

use std::path::Path;

use crate::cli::container::selection::say;
use crate::cli::image::prune::{is_sure, report};
use crate::container::stores::Stores;
use crate::container::{images, volumes};
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

    /// Remove the volumes too that were given no name and that no container mounts.
    #[arg(long)]
    volumes: bool,

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
    let volumes = if arguments.volumes { ", and all volumes without a name" } else { "" };
    if !arguments.force && !is_sure(&format!("{what}{volumes}"))? {
        return Ok(0);
    }
    let stores = Stores::open(root)?;
    let mut bytes = 0;
    if arguments.volumes {
        let pruned = volumes::prune(stores.own().root(), &[volumes::Filter::Anonymous(true)])?;
        pruned.names.iter().for_each(|name| say(&format!("Deleted: volume {name}")));
        bytes = pruned.bytes;
    }
    let mut freed = images::prune(&stores, which)?;
    freed.bytes += bytes;
    report(&freed)
}
