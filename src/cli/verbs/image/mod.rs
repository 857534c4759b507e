//! `usnea image`: a file for each command. Those that docker has at the top level too, under the same name, are verbs,
//! declared once.

pub mod diff;
pub mod exists;
pub mod export;
pub mod history;
pub mod import;
pub mod inspect;
pub mod list;
pub mod load;
pub mod prune;
pub mod pull;
pub mod push;
pub mod remove;
pub mod save;
pub mod scp;
pub mod search;
pub mod spread;
pub mod tag;
pub mod tree;
pub mod untag;

use clap::Subcommand;

use crate::cli::late::Late;
use crate::container::Usnea;
use crate::error::Result;

/// Manage images
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: ImageCommand,
}

#[derive(Subcommand)]
enum ImageCommand {
    #[command(flatten)]
    Verb(Box<ImageVerb>),
    /// List images.
    #[command(visible_alias = "list")]
    Ls(Late<list::Arguments>),
    /// Show detailed information on images.
    Inspect(Late<inspect::Arguments>),
    /// Show the layers of images, their sizes, and the images that share them.
    Tree(Late<tree::Arguments>),
    /// Show changes to the files between an image and its parent or another image.
    Diff(Late<diff::Arguments>),
    /// Check whether an image exists: exit with 0 if so, else with 1.
    Exists(Late<exists::Arguments>),
    /// Export the file system of an image as a tar archive.
    Export(Late<export::Arguments>),
    /// Copy an image from one machine to another, over ssh.
    Scp(Late<scp::Arguments>),
    /// Pull an image once for all ranks of a cluster job.
    Spread(Box<Late<spread::Arguments>>),
    /// Remove images.
    #[command(visible_alias = "remove")]
    Rm(Late<remove::Arguments>),
    /// Remove unused images.
    Prune(Late<prune::Arguments>),
}

#[derive(Subcommand)]
pub enum ImageVerb {
    /// Pull images from a registry, a layout or an archive.
    Pull(Late<pull::Arguments>),
    /// Show the history of an image, the newest layer first.
    History(Late<history::Arguments>),
    /// Search registries for images.
    Search(Late<search::Arguments>),
    /// Push an image to a registry, a layout or an archive.
    Push(Late<push::Arguments>),
    /// Save images to an archive.
    Save(Late<save::Arguments>),
    /// Load images from an archive.
    Load(Late<load::Arguments>),
    /// Import a tarball of a root directory as an image.
    Import(Late<import::Arguments>),
    /// Add names to an image.
    Tag(Late<tag::Arguments>),
    /// Remove names from an image.
    Untag(Late<untag::Arguments>),
}

/// Runs the subcommand; returns the exit status.
pub fn run(arguments: Arguments, usnea: &Usnea) -> Result<u8> {
    match arguments.command {
        ImageCommand::Verb(verb) => verb.run(usnea),
        ImageCommand::Ls(Late(list)) => list::run(list, usnea),
        ImageCommand::Inspect(Late(inspect)) => inspect::run(&inspect, usnea),
        ImageCommand::Tree(Late(tree)) => tree::run(tree, usnea),
        ImageCommand::Diff(Late(diff)) => diff::run(&diff, usnea),
        ImageCommand::Exists(Late(exists)) => exists::run(&exists, usnea),
        ImageCommand::Export(Late(export)) => export::run(&export, usnea),
        ImageCommand::Scp(Late(scp)) => scp::run(&scp, usnea),
        ImageCommand::Spread(spread) => spread::run(spread.0, usnea),
        ImageCommand::Rm(Late(remove)) => remove::run(&remove, usnea),
        ImageCommand::Prune(Late(prune)) => prune::run(&prune, usnea),
    }
}

impl ImageVerb {
    /// Runs the verb; returns the exit status.
    pub fn run(self, usnea: &Usnea) -> Result<u8> {
        match self {
            Self::Pull(Late(pull)) => pull::run(pull, usnea),
            Self::History(Late(history)) => history::run(history, usnea),
            Self::Search(Late(search)) => search::run(search),
            Self::Push(Late(push)) => push::run(push, usnea),
            Self::Save(Late(save)) => save::run(&save, usnea),
            Self::Load(Late(load)) => load::run(load, usnea),
            Self::Import(Late(import)) => import::run(import, usnea),
            Self::Tag(Late(tag)) => tag::run(&tag, usnea),
            Self::Untag(Late(untag)) => untag::run(&untag, usnea),
        }
    }
}
