//! `usnea wait` and `rename`.

use std::path::Path;

use super::selection::{self, Missing, Said, Selection, each, open, say};
use crate::container::kept;
use crate::error::Result;
use crate::spec::ContainerName;

/// Wait until containers have ended
///
/// Prints the exit status of each.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    selection: Selection,
}

/// Give a container another name
#[derive(clap::Args)]
pub struct RenameArguments {
    /// The container.
    #[arg(value_name = "CONTAINER")]
    container: String,

    /// Its new name.
    #[arg(value_name = "NAME")]
    name: ContainerName,
}

/// Waits.
pub fn run(arguments: &Arguments, root: Option<&Path>) -> Result<u8> {
    let store = selection::store(root)?;
    each(&arguments.selection, &store, Missing::Fails, |selected| {
        say(&kept::wait(&open(&store, selected)?)?.to_string());
        Ok(Said::Nothing)
    })
}

/// Renames.
pub fn rename(arguments: &RenameArguments, root: Option<&Path>) -> Result<u8> {
    let kept = kept::find(&selection::store(root)?, &arguments.container)?;
    kept::rename(&kept, &arguments.name)?;
    Ok(0)
}
