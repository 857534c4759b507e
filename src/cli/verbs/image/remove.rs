//! `usnea rmi`, `usnea image rm`: removes images or their names.

use std::io::Write;

use crate::cli::output::table::{escape, escape_lines};
use crate::container::Usnea;
use crate::container::images::{self, Missing};
use crate::error::{Error, Result, STATUS_OURS};
use crate::image::store::{ForceRemoval, ImageRemoval};

/// Remove images
///
/// Removes a name from its image. With the last name the image is removed too, with all layers that no other image
/// needs. An image that a container uses is not removed.
#[derive(clap::Args)]
pub struct Arguments {
    /// Names or IDs of images.
    #[arg(value_name = "IMAGE", required_unless_present = "all")]
    images: Vec<String>,

    /// Remove all images, including those with several names.
    #[arg(short, long, conflicts_with = "images")]
    all: bool,

    /// Remove an image by its ID even if it has several names.
    #[arg(short, long)]
    force: bool,

    /// Ignore missing images.
    #[arg(short, long)]
    ignore: bool,

    /// Accepted without effect: the store has no untagged parents (docker).
    #[arg(long)]
    no_prune: bool,
}

/// Removes the images; returns the exit status.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    let _stores = usnea.images()?;
    let force = if arguments.force || arguments.all { ForceRemoval::Yes } else { ForceRemoval::No };
    // With --all, an image that another command removes meanwhile is no error.
    let missing = match arguments.ignore || arguments.all {
        true => Missing::Ignored,
        false => Missing::Fails,
    };
    let all = if arguments.all { images::ids(usnea)? } else { arguments.images.clone() };
    let mut last_error: Option<Error> = None;
    let mut report = |outcome: Result<&ImageRemoval, &Error>| match outcome {
        Ok(removal) => print_removal(removal),
        Err(error) => {
            // The last error is reported with the exit status, the others here.
            if let Some(earlier) = last_error.replace(error.clone()) {
                let earlier = earlier.to_string();
                let _ = writeln!(anstream::stderr(), "usnea: {}", escape_lines(&earlier));
            }
        }
    };
    images::remove(usnea, &all, force, missing, &mut report)?;
    match last_error {
        Some(error) => Err(error.exit_status(STATUS_OURS)),
        None => Ok(0),
    }
}

/// Prints a removal, in docker's and podman's words.
pub fn print_removal(removal: &ImageRemoval) {
    let mut text = String::new();
    for name in &removal.untagged {
        text += &format!("Untagged: {}\n", escape(&name.familiar()));
    }
    if let Some(id) = &removal.deleted {
        text += &format!("Deleted: {id}\n");
    }
    // Errors are ignored: the work is done, even without a reader.
    let _ = std::io::stdout().write_all(text.as_bytes());
}
