//! `usnea image`: one file a command. What docker has at the top too is used from there as well.

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
pub mod tag;
pub mod tree;
pub mod untag;

use std::path::Path;

use clap::Subcommand;

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
    Ls(list::Arguments),
    /// Show all that is known of images.
    Inspect(inspect::Arguments),
    /// Show what made the layers of an image, the newest first.
    History(history::Arguments),
    /// Show the layers of images, how large they are, and which images share them.
    Tree(tree::Arguments),
    /// Exit with 0 when the image is here, with 1 when it is not.
    Exists(exists::Arguments),
    /// Pull images from a registry, a layout or an archive.
    Pull(pull::Arguments),
    /// Push an image to a registry, a layout or an archive.
    Push(push::Arguments),
    /// Write images to an archive.
    Save(save::Arguments),
    /// Load images from an archive.
    Load(load::Arguments),
    /// Make an image of a root directory's tarball.
    Import(import::Arguments),
    /// Write the file system of an image as one tar.
    Export(export::Arguments),
    /// Remove images.
    #[command(visible_alias = "remove")]
    Rm(remove::Arguments),
    /// Give an image more names.
    Tag(tag::Arguments),
    /// Take names from an image.
    Untag(untag::Arguments),
    /// Remove images without a name, and what no image needs.
    Prune(prune::Arguments),
}

/// Carries it out.
pub fn run(arguments: Arguments, root: Option<&Path>) -> Result<u8> {
    match arguments.command {
        Command::Ls(list) => list::run(list, root),
        Command::Inspect(inspect) => inspect::run(&inspect, root),
        Command::History(history) => history::run(history, root),
        Command::Tree(tree) => tree::run(tree, root),
        Command::Exists(exists) => exists::run(&exists, root),
        Command::Pull(pull) => pull::run(pull, root),
        Command::Push(push) => push::run(push, root),
        Command::Save(save) => save::run(&save, root),
        Command::Load(load) => load::run(load, root),
        Command::Import(import) => import::run(import, root),
        Command::Export(export) => export::run(&export, root),
        Command::Rm(remove) => remove::run(&remove, root),
        Command::Tag(tag) => tag::run(&tag, root),
        Command::Untag(untag) => untag::run(&untag, root),
        Command::Prune(prune) => prune::run(&prune, root),
    }
}
