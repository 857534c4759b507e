//! `usnea container prune` and `usnea system prune`: removes unused objects.

use super::check;
use super::images;
use super::list::fitting;
use super::networks::{self, NetworkFilter};
use super::pods;
use super::remove::{RemoveOptions, Remover};
use super::volumes::{self, VolumeFilter};
use super::{ContainerFilter, Pruned, Usnea, size};
use crate::error::{ErrorKind, Result};
use crate::image::store::{ImageRemoval, PruneScope};
use crate::monitor::Status;
use crate::network_name::NetworkName;
use crate::spec::VolumeName;

/// Removes the containers that do not run and match the filters, and leftovers of killed processes. Returns the
/// containers' IDs.
pub fn prune(usnea: &Usnea, filters: &[ContainerFilter]) -> Result<Pruned<String>> {
    let remover = Remover::new(usnea, RemoveOptions::default());
    let mut pruned = Pruned::default();
    check::sweep_sockets(usnea.store()?);
    for container in fitting(usnea, filters)? {
        match container.status() {
            Ok(Status::Created | Status::Exited(_)) => {}
            Ok(_) => continue,
            Err(error) => {
                pruned.failures.push(error);
                continue;
            }
        }
        let bytes = size(&container);
        match remover.remove(&container.record.id) {
            Ok(()) => {
                pruned.removed.push(container.record.id.to_string());
                pruned.bytes += bytes;
            }
            // Another command has just started the container: not a failure.
            Err(error) if error.kind() == ErrorKind::Conflict => log::debug!("{error}"),
            Err(error) => pruned.failures.push(error),
        }
    }
    Ok(pruned)
}

/// Selection of unused data.
#[derive(Clone, Debug)]
pub struct SystemPrune {
    /// Filters of containers.
    pub containers: Vec<ContainerFilter>,
    /// Filters of networks.
    pub networks: Vec<NetworkFilter>,
    /// Images to remove.
    pub images: PruneScope,
    /// Filters of images.
    pub image_filters: Vec<images::ImageFilter>,
    /// True if unused anonymous volumes are removed too.
    pub anonymous_volumes: bool,
}

/// Results of a system prune, by kind of object: a failure in one kind does not hide the results of the others.
#[derive(Debug)]
pub struct PrunedSystem {
    /// IDs of the removed pods.
    pub pods: Result<Pruned<String>>,
    /// IDs of the removed containers.
    pub containers: Pruned<String>,
    /// Names of the removed networks.
    pub networks: Result<Pruned<NetworkName>>,
    /// Names of the removed volumes.
    pub volumes: Result<Pruned<VolumeName>>,
    /// Removed images.
    pub images: Result<Pruned<ImageRemoval>>,
}

/// Removes unused data. Starts with pods and containers: their removal frees images, networks and volumes.
pub fn prune_system(usnea: &Usnea, request: &SystemPrune) -> Result<PrunedSystem> {
    let _stores = usnea.images()?;
    let pods = match request.containers.is_empty() {
        true => pods::prune(usnea, &[]),
        // Pods cannot be filtered by filters of containers: with such filters they stay.
        false => Ok(Pruned::default()),
    };
    let containers = prune(usnea, &request.containers)?;
    let networks = networks::prune(usnea, &request.networks);
    let volumes = match request.anonymous_volumes {
        true => volumes::prune(usnea, &[VolumeFilter::Anonymous(true)]),
        false => Ok(Pruned::default()),
    };
    let images = images::prune(usnea, request.images, &request.image_filters);
    Ok(PrunedSystem { pods, containers, networks, volumes, images })
}
