//! `usnea check`: the store's and the containers' faults.

use crate::cli::output::print;
use crate::cli::output::table::escape;
use crate::container;
use crate::container::Usnea;
use crate::container::images::{self, CheckDepth, Repair};
use crate::error::{Error, Result};
use crate::image::store::{FaultOutcome, StoreFault};

/// Verify the store and repair it
///
/// Every blob must be what its name says, every image must have what it needs, every file of an unpacked layer must be
/// what the packed layer says (content, owner, mode, links, attributes), and the records of containers must be whole. All
/// layers are read and unpacked once more for it, without their contents being written: it takes as long as reading and
/// unpacking them. A layer without its packed blob is counted only, and so is all on a full disk or a read-only one.
/// The exit status is 0 when there is no fault, or none is left, and 1 when there is.
#[derive(clap::Args)]
pub struct Arguments {
    /// Repair the store: unpack damaged layers again, remove damaged objects, rebuild the list of images.
    #[arg(long)]
    repair: bool,

    /// Read no content: large blobs are known by their length, and files of unpacked layers are counted.
    #[arg(short, long)]
    quick: bool,

    /// Output format.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = CheckFormat::Text)]
    format: CheckFormat,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum CheckFormat {
    /// A line for each.
    Text,
    /// An array of objects: what, fault, images, outcome (found, mended, left), how.
    Json,
}

/// Checks images and containers, and prints the faults; returns the exit status.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    let repair = if arguments.repair { Repair::Yes } else { Repair::No };
    let depth = if arguments.quick { CheckDepth::Quick } else { CheckDepth::Whole };
    let mut faults = images::check(usnea, repair, depth)?;
    faults.extend(container::check(usnea, repair)?);
    match arguments.format {
        CheckFormat::Json => {
            let text = serde_json::to_string_pretty(&faults).map_err(Error::new)?;
            print(&(text + "\n"))?;
        }
        CheckFormat::Text => {
            let lines: String = faults.iter().map(|fault| line(fault) + "\n").collect();
            print(&lines)?;
            if !arguments.repair && !faults.is_empty() {
                log::warn!("'usnea check --repair' mends what can be mended");
            }
        }
    }
    Ok(u8::from(faults.iter().any(StoreFault::is_left)))
}

fn line(fault: &StoreFault) -> String {
    let needed = match fault.images.is_empty() {
        true => String::new(),
        false => format!(" (needed by {})", fault.images.join(", ")),
    };
    let outcome = match &fault.outcome {
        FaultOutcome::Found => String::new(),
        FaultOutcome::Mended(how) => format!("; mended: {how}"),
        FaultOutcome::Left(how) => format!("; not mended: {how}"),
    };
    escape(&format!("{}: {}{needed}{outcome}", fault.what, fault.fault)).into_owned()
}
