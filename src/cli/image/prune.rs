//! `usnea image prune`: removes unused images.

use std::io::IsTerminal;

use super::remove::say;
use crate::amount::size;
use crate::cli::output::print;
use crate::cli::output::prompt::{self, Echo};
use crate::container::Usnea;
use crate::container::images::{self, Filter};
use crate::error::{Error, Result};
use crate::image::store::{PruneResult, PruneScope};

/// Remove unused images
///
/// Removes layers, packed and unpacked, that no image needs, and leftovers of broken-off pulls. Images in use stay.
#[derive(clap::Args)]
pub struct Arguments {
    /// Remove all images that no container uses, also those with names.
    #[arg(short, long)]
    all: bool,

    /// Do not ask for confirmation.
    #[arg(short, long)]
    force: bool,

    /// Filter by until=TIME, label=KEY[=VALUE] or label!=KEY[=VALUE]. May be given more than once.
    #[arg(long = "filter", value_name = "KEY=VALUE", value_parser = prunes)]
    filters: Vec<Filter>,
}

/// Parses docker's filters of prune. Errors: no filter, or a filter for listings only.
pub fn prunes(text: &str) -> std::result::Result<Filter, String> {
    match text.parse::<Filter>() {
        Ok(filter @ (Filter::Label(..) | Filter::NoLabel(..) | Filter::Until(_))) => Ok(filter),
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
    let what = match arguments.all {
        true => "all images that no container runs on",
        false => "all images without a name, and what no image needs",
    };
    if !arguments.force && !is_sure(what)? {
        return Ok(0);
    }
    report(&images::prune(usnea, arguments.which(), &arguments.filters)?, 0)
}

/// Asks at the terminal. Errors: no terminal.
pub fn is_sure(what: &str) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        let error = "standard input is not a terminal to ask whether you are sure";
        return Err(Error::new(error).hint("--force removes without asking"));
    }
    let question = format!("This removes {what}. Are you sure? [y/N]");
    let answer = prompt::ask(&question, Echo::On)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Prints the removed images, and the freed space including `more` bytes.
pub fn report(freed: &PruneResult, more: u64) -> Result<u8> {
    freed.images.iter().for_each(say);
    print(&format!("Total reclaimed space: {}\n", size(freed.bytes + more)))
}
