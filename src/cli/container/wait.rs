//! `usnea wait`, `rename` and `update`.

use std::path::Path;

use super::selection::{self, Missing, Said, Selection, each, open, say};
use crate::container::kept;
use crate::error::Result;
use crate::monitor::policy::RestartPolicy;
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

/// Change containers that there are
///
/// A running container has its new restart policy from its next end on.
#[derive(clap::Args)]
pub struct UpdateArguments {
    #[command(flatten)]
    selection: Selection,

    /// When it is started again: no, on-failure[:N], always or unless-stopped.
    #[arg(long, value_name = "POLICY")]
    restart: RestartPolicy,
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

/// Changes.
pub fn update(arguments: &UpdateArguments, root: Option<&Path>) -> Result<u8> {
    let store = selection::store(root)?;
    each(&arguments.selection, &store, Missing::Fails, |selected| {
        kept::update(&open(&store, selected)?, arguments.restart)?;
        Ok(Said::Name)
    })
}
