//! `usnea update`: changes limits and restart policy of containers.

use crate::cli::flags::selection::{AfterSuccess, MissingContainers, Selection, each, open};
use crate::container::{self, ContainerUpdate, Usnea};
use crate::error::{Error, Result};
use crate::monitor::policy::RestartPolicy;
use crate::spec::Resources;

/// Update the configuration of containers
///
/// New limits apply immediately if the container runs, and at each start. A new restart policy applies from the next
/// end of the container on.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    selection: Selection,

    /// Restart policy: no, on-failure[:N], always or unless-stopped.
    #[arg(long, value_name = "POLICY")]
    restart: Option<RestartPolicy>,

    #[command(flatten)]
    resources: Resources,
}

/// Changes containers.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    let changes =
        ContainerUpdate { restart: arguments.restart, resources: arguments.resources.oci()? };
    if changes.restart.is_none() && changes.resources.is_none() {
        return Err(Error::invalid("nothing is to be changed")
            .hint("such as --memory 1g, or --restart always"));
    }
    each(&arguments.selection, usnea, MissingContainers::Fails, |selected| {
        container::update(&open(usnea, selected)?, &changes)?;
        Ok(AfterSuccess::PrintName)
    })
}
