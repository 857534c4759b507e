//! `usnea image scp`: copies an image between machines.

use crate::cli::output::progress::{LayerProgress, Verbosity};
use crate::cli::output::{print, streams};
use crate::cli::verbs::image::load::{WORDS, names_of};
use crate::container::Usnea;
use crate::container::images::{RemoteHost, SecureCopy};
use crate::error::{Error, Result};

/// Copy an image from one machine to another, over ssh
///
/// HOST is [USER@]HOST[:PORT], or a name of ssh_config(5). With HOST:: before the image, it is copied from there; with
/// HOST:: after it, to there; with both, between the two. The image is saved at one end and loaded at the other, under
/// the same name: 'usnea save' and 'usnea load', or those of another program, run at the other machines. The image may be
/// in a file (sqsh:FILE, sif:FILE, /PATH); where the other machine gets it, it is an image of the store.
#[derive(clap::Args)]
pub struct Arguments {
    /// Name or ID of the image, or its file, and the machine that has it. Default: this one.
    #[arg(value_name = "[HOST::]IMAGE")]
    image: String,

    /// Machine that gets the image. Default: this one.
    #[arg(value_name = "HOST::")]
    destination: Option<String>,

    /// Program at the other machines: usnea, podman or docker, or its path.
    #[arg(long, value_name = "PROGRAM", default_value = "usnea")]
    program: String,

    /// Print nothing.
    #[arg(short, long)]
    quiet: bool,
}

impl Arguments {
    fn request(&self) -> Result<SecureCopy> {
        let (from, image) = match self.image.rsplit_once("::") {
            Some((host, image)) => (Some(host.parse::<RemoteHost>()?), image),
            None => (None, &*self.image),
        };
        if image.is_empty() || image.starts_with('-') {
            return Err(Error::invalid(format!("'{}' names no image", self.image.escape_debug())));
        }
        let to = self.destination.as_deref().map(|text| {
            let host = text.strip_suffix("::").filter(|host| !host.ends_with(':'));
            let text = text.escape_debug();
            let none = || Error::invalid(format!("'{text}' is no machine: it ends with ::"));
            host.ok_or_else(none)?.parse::<RemoteHost>()
        });
        let program = self.program.clone();
        Ok(SecureCopy { from, image: image.to_owned(), to: to.transpose()?, program })
    }
}

/// Copies the image, and prints its names where it is new.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    let request = arguments.request()?;
    let output = match arguments.quiet {
        true => None,
        false => Some(streams::duplicate(rustix::stdio::stdout())?),
    };
    let verbosity = if arguments.quiet { Verbosity::Quiet } else { Verbosity::Normal };
    let loaded = request.run(usnea, output, &LayerProgress::new(WORDS, verbosity))?;
    match arguments.quiet {
        true => Ok(0),
        false => print(&loaded.iter().map(names_of).collect::<String>()),
    }
}
