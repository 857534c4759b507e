//! `usnea image prune`: removes unused images.

use super::remove::print_removal;
use crate::amount::size;
use crate::cli::output::failures::Failures;
use crate::cli::output::print;
use crate::cli::output::prompt::confirm;
use crate::container::images::{self, ImageFilter};
use crate::container::{Pruned, Usnea};
use crate::error::Result;
use crate::image::store::{ImageRemoval, PruneScope};

/// Remove unused images
///
/// Also removes layers, compressed and unpacked, that no image needs, and leftovers of interrupted pulls. Images in use
/// are kept.
#[derive(clap::Args)]
pub struct Arguments {
    /// Remove all images that no container uses, including those with names.
    #[arg(short, long)]
    all: bool,

    /// Do not ask for confirmation.
    #[arg(short, long)]
    force: bool,

    /// Filter by until=TIME, label=KEY[=VALUE] or label!=KEY[=VALUE]. May be given more than once.
    #[arg(long = "filter", value_name = "KEY=VALUE", value_parser = prune_filter)]
    filters: Vec<ImageFilter>,
}

/// Parses docker's filters of prune. Errors: no filter, or a filter for listings only.
pub fn prune_filter(text: &str) -> std::result::Result<ImageFilter, String> {
    match text.parse::<ImageFilter>() {
        Ok(
            filter @ (ImageFilter::Label(..) | ImageFilter::NoLabel(..) | ImageFilter::Until(_)),
        ) => Ok(filter),
        _ => Err("expected until=TIME, label=KEY[=VALUE] or label!=KEY[=VALUE]".into()),
    }
}

impl Arguments {
    fn which(&self) -> PruneScope {
        if self.all { PruneScope::Unused } else { PruneScope::Dangling }
    }
}

/// Removes unused images, after a question at the terminal.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    let objects = match arguments.all {
        true => "all images that no container runs on",
        false => "all images without a name, and what no image needs",
    };
    if !arguments.force && !confirm(objects)? {
        return Ok(0);
    }
    let pruned = images::prune(usnea, arguments.which(), &arguments.filters)?;
    report(&pruned, 0)?;
    Failures::from(pruned.failures).end()
}

/// Prints the removed images, and the freed space including `more` bytes.
pub fn report(pruned: &Pruned<ImageRemoval>, more: u64) -> Result<u8> {
    pruned.removed.iter().for_each(print_removal);
    print(&format!("Total reclaimed space: {}\n", size(pruned.bytes + more)))
}
