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
/// Verifies the digests of all blobs, that images are complete, that unpacked layers match their blobs (content, owner,
/// mode, links, attributes), and that records of containers are valid. All layers are read and decompressed again,
/// which takes about as long as unpacking them. Of a layer without its blob, and of all layers on a full or read-only
/// disk, only the number of files is checked. The exit status is 0 if no fault is left, else 1.
#[derive(clap::Args)]
pub struct Arguments {
    /// Repair the store: unpack damaged layers again, remove damaged objects, rebuild the list of images.
    #[arg(long)]
    repair: bool,

    /// Do not read file contents: check only the sizes of large blobs, and the number of files of unpacked layers.
    #[arg(short, long)]
    quick: bool,

    /// Output format.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = CheckFormat::Text)]
    format: CheckFormat,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum CheckFormat {
    /// Line of text for each fault.
    Text,
    /// Array of objects with what, fault, images, outcome (found, mended, left) and how.
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
