//! `usnea check` of networks: their definitions must be readable, and their subnets must not overlap.

use std::path::Path;

use crate::container::images::Repair;
use crate::error::Result;
use crate::image::store::{FaultOutcome, StoreFault};
use crate::net::definition::{self, NetworkDefinition};
use crate::net::ipam;
use crate::network_name::NetworkName;

/// Checks the definitions of all networks. Repair keeps a damaged one, since records of containers name it.
pub(in crate::container) fn check(store: &Path, repair: Repair) -> Result<Vec<StoreFault>> {
    let mut faults = Vec::new();
    let mut whole: Vec<NetworkDefinition> = Vec::new();
    let mut report = |name: &NetworkName, fault: String| {
        let outcome = match repair {
            Repair::No => FaultOutcome::Found,
            Repair::Yes => FaultOutcome::Left(format!("'usnea network rm {name}' removes it")),
        };
        let what = format!("network {name}");
        faults.push(StoreFault { what, fault, images: Vec::new(), outcome });
    };
    for name in definition::names(store)? {
        match definition::find(store, &name) {
            Err(error) => report(&name, error.to_string()),
            // Another command has removed the network since the listing.
            Ok(None) => {}
            Ok(Some(network)) => {
                if let Some(other) = whole.iter().find(|other| overlaps(other, &network)) {
                    report(&name, format!("it has addresses of network {}", other.name));
                }
                whole.push(network);
            }
        }
    }
    Ok(faults)
}

fn overlaps(one: &NetworkDefinition, other: &NetworkDefinition) -> bool {
    let prefixes = |network: &NetworkDefinition| -> Vec<_> {
        network.subnets.iter().map(|subnet| subnet.prefix).collect()
    };
    let others = prefixes(other);
    prefixes(one).iter().any(|one| others.iter().any(|other| ipam::overlap(one, other)))
}
