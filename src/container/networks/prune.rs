//! `usnea network prune`: removes all networks that no container uses.

use super::filter::NetworkFilter;
use super::known::KnownNetwork;
use super::remove::remove_unused;
use crate::container::Usnea;
use crate::container::pruned::Pruned;
use crate::error::{ErrorKind, Result};
use crate::net::definition;
use crate::network_name::NetworkName;

/// Removes the networks that match the filters and that no container uses, running or not. Returns their names.
pub fn prune(usnea: &Usnea, filters: &[NetworkFilter]) -> Result<Pruned<NetworkName>> {
    let store = usnea.store()?;
    let mut pruned = Pruned::default();
    for network in definition::all(store)? {
        let network = KnownNetwork::Named(Box::new(network));
        if !NetworkFilter::fit(filters, &network, store)? {
            continue;
        }
        let KnownNetwork::Named(network) = network else { continue };
        match remove_unused(store, &network.name) {
            Ok(()) => pruned.removed.push(network.name),
            // A container uses the network, or another command has removed it: not a failure.
            Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => {
                log::debug!("{error}");
            }
            Err(error) => pruned.failures.push(error),
        }
    }
    Ok(pruned)
}
