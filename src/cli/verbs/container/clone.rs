//! `usnea container clone`: copies a container's configuration to a new container.

use crate::cli::output::print_line;
use crate::container::{self, CloneRequest, RemoveOptions, Usnea};
use crate::error::{Error, Result};
use crate::spec::{ContainerName, Resources};

/// Create a container with the configuration of another one
///
/// The clone has the same image, options and volumes, and an empty writable layer. Prints the ID of the clone.
#[derive(clap::Args)]
pub struct Arguments {
    /// Name of the clone. Default: the container's name with "-clone".
    #[arg(long = "name", value_name = "NAME")]
    name: Option<ContainerName>,

    /// Remove the original container.
    #[arg(long)]
    destroy: bool,

    /// With --destroy: kill the original container if it runs.
    #[arg(short, long)]
    force: bool,

    /// Start the clone.
    #[arg(long)]
    run: bool,

    #[command(flatten)]
    resources: Resources,

    /// Name of the container, or the beginning of its ID.
    #[arg(value_name = "CONTAINER")]
    container: String,

    /// Name of the clone, as with --name.
    #[arg(value_name = "NAME", conflicts_with = "name")]
    new_name: Option<ContainerName>,
}

/// Clones the container, and prints the clone's ID.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    if arguments.force && !arguments.destroy {
        return Err(Error::invalid(
            "--force is about the removal of the original: it needs --destroy",
        ));
    }
    let container = container::find(usnea, &arguments.container)?;
    let removal = RemoveOptions { force: arguments.force, ..RemoveOptions::default() };
    let cloning = CloneRequest {
        name: arguments.name.clone().or_else(|| arguments.new_name.clone()),
        resources: arguments.resources.oci()?,
        destroy: arguments.destroy.then_some(removal),
        run: arguments.run,
    };
    print_line(&container::clone(usnea, &container, &cloning)?);
    Ok(0)
}
