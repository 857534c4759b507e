//! `usnea image`: a file for each command. Commands that docker has at the top level too are used there as well.

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
pub mod registry_flags;
pub mod remove;
mod rows;
pub mod save;
pub mod search;
pub mod tag;
pub mod tree;
pub mod untag;

use std::path::Path;

use clap::Subcommand;

use crate::cli::late::Late;
use crate::error::Result;

/// Manage images
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List images.
    #[command(visible_alias = "list")]
    Ls(Late<list::Arguments>),
    /// Show all that is known of images.
    Inspect(Late<inspect::Arguments>),
    /// Show what made the layers of an image, the newest first.
    History(Late<history::Arguments>),
    /// Show the layers of images, how large they are, and which images share them.
    Tree(Late<tree::Arguments>),
    /// Show what an image changes in the files of its parent, or of another image.
    Diff(Late<diff::Arguments>),
    /// Search registries for images.
    Search(Late<search::Arguments>),
    /// Exit with 0 when the image is here, with 1 when it is not.
    Exists(Late<exists::Arguments>),
    /// Pull images from a registry, a layout or an archive.
    Pull(Late<pull::Arguments>),
    /// Push an image to a registry, a layout or an archive.
    Push(Late<push::Arguments>),
    /// Write images to an archive.
    Save(Late<save::Arguments>),
    /// Load images from an archive.
    Load(Late<load::Arguments>),
    /// Make an image of a root directory's tarball.
    Import(Late<import::Arguments>),
    /// Write the file system of an image as one tar.
    Export(Late<export::Arguments>),
    /// Remove images.
    #[command(visible_alias = "remove")]
    Rm(Late<remove::Arguments>),
    /// Give an image more names.
    Tag(Late<tag::Arguments>),
    /// Take names from an image.
    Untag(Late<untag::Arguments>),
    /// Remove images without a name, and what no image needs.
    Prune(Late<prune::Arguments>),
}

/// Runs the subcommand; returns the exit status.
pub fn run(arguments: Arguments, root: Option<&Path>) -> Result<u8> {
    match arguments.command {
        Command::Ls(Late(list)) => list::run(list, root),
        Command::Inspect(Late(inspect)) => inspect::run(&inspect, root),
        Command::History(Late(history)) => history::run(history, root),
        Command::Tree(Late(tree)) => tree::run(tree, root),
        Command::Diff(Late(diff)) => diff::run(&diff, root),
        Command::Search(Late(search)) => search::run(search),
        Command::Exists(Late(exists)) => exists::run(&exists, root),
        Command::Pull(Late(pull)) => pull::run(pull, root),
        Command::Push(Late(push)) => push::run(push, root),
        Command::Save(Late(save)) => save::run(&save, root),
        Command::Load(Late(load)) => load::run(load, root),
        Command::Import(Late(import)) => import::run(import, root),
        Command::Export(Late(export)) => export::run(&export, root),
        Command::Rm(Late(remove)) => remove::run(&remove, root),
        Command::Tag(Late(tag)) => tag::run(&tag, root),
        Command::Untag(Late(untag)) => untag::run(&untag, root),
        Command::Prune(Late(prune)) => prune::run(&prune, root),
    }
}
