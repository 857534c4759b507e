//! `usnea system prune`: removes unused containers, networks, images and volumes.

use crate::cli::output::failures::Failures;
use crate::cli::output::print_line;
use crate::cli::output::prompt::confirm;
use crate::cli::verbs::container::prune::print_pruned;
use crate::cli::verbs::image::prune::{prune_filter, report};
use crate::cli::verbs::network;
use crate::container::{self, SystemPrune, Usnea};
use crate::error::{Error, Result};
use crate::image::store::PruneScope;

/// Remove unused data
///
/// Removes pods without running containers, stopped containers, unused networks, images without a name, compressed and
/// unpacked layers that no image needs, and leftovers of killed commands. Images of containers are kept.
#[derive(clap::Args)]
pub struct Arguments {
    /// Remove all images that no container uses, including those with names, and the roots of host: images.
    #[arg(short, long)]
    all: bool,

    /// Remove unused anonymous volumes too.
    #[arg(long)]
    volumes: bool,

    /// Do not ask for confirmation.
    #[arg(short, long)]
    force: bool,

    /// Filter containers, networks and images by until=TIME, label=KEY[=VALUE] or label!=KEY[=VALUE]. May be given more than once.
    #[arg(long = "filter", value_name = "KEY=VALUE")]
    filters: Vec<String>,
}

/// Removes unused data, after a question at the terminal.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    let (which, what) = match arguments.all {
        true => (
            PruneScope::Unused,
            "all containers that do not run, all networks and images that none uses, and what killed commands left",
        ),
        false => (
            PruneScope::Dangling,
            "all containers that do not run, all networks that none uses, all images without a name, and what killed commands left",
        ),
    };
    let phrase = |error: String| Error::invalid(format!("--filter: {error}"));
    let of_images = arguments.filters.iter().map(|text| prune_filter(text).map_err(phrase));
    let of_images = of_images.collect::<Result<Vec<_>>>()?;
    let of_networks = arguments.filters.iter();
    let of_networks = of_networks.map(|text| network::prune_filter(text).map_err(phrase));
    let of_containers = arguments.filters.iter().map(|text| text.parse());
    let of_containers = of_containers.collect::<Result<Vec<container::ContainerFilter>>>()?;
    let volumes = if arguments.volumes { ", and all volumes without a name" } else { "" };
    if !arguments.force && !confirm(&format!("{what}{volumes}"))? {
        return Ok(0);
    }
    let request = SystemPrune {
        containers: of_containers,
        networks: of_networks.collect::<Result<Vec<_>>>()?,
        images: which,
        image_filters: of_images,
        anonymous_volumes: arguments.volumes,
    };
    let pruned = container::prune_system(usnea, &request)?;
    let pods = pruned.pods.inspect(|pruned| {
        pruned.removed.iter().for_each(|id| print_line(&format!("Deleted: pod {id}")));
    });
    print_pruned(&pruned.containers.removed);
    let networks = pruned.networks.inspect(|pruned| {
        pruned.removed.iter().for_each(|name| print_line(&format!("Deleted: network {name}")));
    });
    let volumes = pruned.volumes.inspect(|pruned| {
        pruned.removed.iter().for_each(|name| print_line(&format!("Deleted: volume {name}")));
    });
    let bytes = pruned.containers.bytes + volumes.as_ref().map_or(0, |pruned| pruned.bytes);
    let images = pruned.images?;
    report(&images, bytes)?;
    let mut failures = pruned.containers.failures;
    failures.extend(pods?.failures);
    failures.extend(networks?.failures);
    failures.extend(volumes?.failures);
    failures.extend(images.failures);
    Failures::from(failures).end()
}
