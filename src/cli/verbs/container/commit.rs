//! `usnea commit`: makes an image of a container.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::cli::output::print;
use crate::container::stores::given_name;
use crate::container::{self, Commit, DuringCommit, Squash, Usnea};
use crate::error::{Context, Result};
use crate::image::instruction::ConfigChange;
use crate::image::reference::TypedReference;

/// Create an image from a container
///
/// The image has the layers of the container's image, and one layer with the container's changes. Files in volumes are
/// not included. Command, environment, labels, user and working directory are those of the container.
#[derive(clap::Args)]
pub struct Arguments {
    /// Name or ID of the container.
    #[arg(value_name = "CONTAINER")]
    container: String,

    /// Name of the image; without a registry, localhost/NAME.
    #[arg(value_name = "NAME")]
    name: Option<TypedReference>,

    /// Author of the image.
    #[arg(short, long, value_name = "TEXT")]
    author: Option<String>,

    /// Apply a Dockerfile instruction to the image's config: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD,
    /// STOPSIGNAL, USER, VOLUME or WORKDIR. May be given more than once.
    #[arg(short, long = "change", value_name = "INSTRUCTION")]
    changes: Vec<ConfigChange>,

    /// Format of the image; only oci is supported.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value = "oci")]
    format: CommitFormat,

    /// Write the image's ID to this file.
    #[arg(long, value_name = "FILE")]
    iidfile: Option<PathBuf>,

    /// Comment in the image's history.
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,

    /// Pause a running container during the commit.
    #[arg(short, long)]
    pause: bool,

    /// Print the ID only (the default).
    #[arg(short, long)]
    quiet: bool,

    /// Squash all layers into one.
    #[arg(short, long)]
    squash: bool,
}

/// Format of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum CommitFormat {
    Oci,
}

/// Commits a container, and prints the image's ID.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    let container = container::find(usnea, &arguments.container)?;
    let name = arguments.name.as_ref().map(given_name).transpose()?;
    let commit = Commit {
        name,
        author: arguments.author.clone(),
        message: arguments.message.clone(),
        changes: arguments.changes.clone(),
        squash: if arguments.squash { Squash::Yes } else { Squash::No },
        during: if arguments.pause { DuringCommit::Pause } else { DuringCommit::Run },
    };
    let image = container::commit(usnea, &container, &commit)?;
    if let Some(path) = &arguments.iidfile {
        std::fs::write(path, image.config.to_string())
            .context(|| format!("--iidfile: cannot write {}", path.display()))?;
    }
    print(&format!("{}\n", image.config))
}
