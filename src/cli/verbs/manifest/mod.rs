//! `usnea manifest`: a file for each command.

mod add;
mod create;
mod exists;
mod inspect;
mod push;
mod remove;

use clap::Subcommand;

use crate::cli::late::Late;
use crate::cli::output::print;
use crate::container::Usnea;
use crate::container::images::EntryChange;
use crate::error::Result;

/// Manage manifest lists: a name for images of several platforms
///
/// A list is kept in the store, but 'usnea images' does not show it. It refers to images of the store and of
/// registries.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: ManifestCommand,
}

#[derive(Subcommand)]
enum ManifestCommand {
    /// Create a manifest list.
    Create(Late<create::Arguments>),
    /// Add images to a manifest list.
    Add(Late<add::AddArguments>),
    /// Change the platform or the annotations of an entry.
    Annotate(Late<add::AnnotateArguments>),
    /// Show a manifest list of the store, or a manifest of a registry.
    Inspect(Late<inspect::Arguments>),
    /// Push a manifest list and its images.
    Push(Late<push::Arguments>),
    /// Remove an entry from a manifest list.
    Remove(Late<remove::EntryArguments>),
    /// Remove manifest lists.
    Rm(Late<remove::ListArguments>),
    /// Check whether a manifest list exists: exit with 0 if so, else with 1.
    Exists(Late<exists::Arguments>),
}

/// Platform and annotations of an entry of a list.
#[derive(clap::Args)]
struct EntryFlags {
    /// Architecture of the image, such as arm64.
    #[arg(long, value_name = "ARCH")]
    arch: Option<String>,

    /// Operating system of the image.
    #[arg(long, value_name = "OS")]
    os: Option<String>,

    /// Variant of the architecture, such as v7; empty: none.
    #[arg(long, value_name = "VARIANT")]
    variant: Option<String>,

    /// Version of the operating system; empty: none.
    #[arg(long, value_name = "VERSION")]
    os_version: Option<String>,

    /// Features of the operating system.
    #[arg(long, value_name = "FEATURE", value_delimiter = ',')]
    os_features: Vec<String>,

    /// Features of the processor.
    #[arg(long, value_name = "FEATURE", value_delimiter = ',')]
    features: Vec<String>,

    /// Annotation. May be given more than once.
    #[arg(long = "annotation", value_name = "KEY=VALUE", value_parser = parse_annotation)]
    annotations: Vec<(String, String)>,
}

impl EntryFlags {
    fn change(self) -> EntryChange {
        EntryChange {
            architecture: self.arch,
            os: self.os,
            variant: self.variant,
            os_version: self.os_version,
            os_features: self.os_features,
            features: self.features,
            annotations: self.annotations,
        }
    }
}

fn parse_annotation(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("not KEY=VALUE".to_owned()),
    }
}

/// Runs the subcommand; returns the exit status.
pub fn run(arguments: Arguments, usnea: &Usnea) -> Result<u8> {
    match arguments.command {
        ManifestCommand::Create(Late(create)) => create::run(create, usnea),
        ManifestCommand::Add(Late(add)) => add::add(add, usnea),
        ManifestCommand::Annotate(Late(annotate)) => add::annotate(annotate, usnea),
        ManifestCommand::Inspect(Late(inspect)) => inspect::run(inspect, usnea),
        ManifestCommand::Push(Late(push)) => push::run(push, usnea),
        ManifestCommand::Remove(Late(remove)) => remove::remove_entry(&remove, usnea),
        ManifestCommand::Rm(Late(remove)) => remove::remove_lists(&remove, usnea),
        ManifestCommand::Exists(Late(exists)) => exists::run(&exists, usnea),
    }
}

fn print_id(id: &str) -> Result<u8> {
    print(&format!("{id}\n"))
}
