//! `usnea network ls`: lists networks.

use super::builtin::BuiltinNetwork;
use super::filter::NetworkFilter;
use super::known::KnownNetwork;
use crate::container::Usnea;
use crate::error::Result;
use crate::net::definition;

/// Returns the networks that match all filters, sorted by name, including built-in ones.
pub fn list(usnea: &Usnea, filters: &[NetworkFilter]) -> Result<Vec<KnownNetwork>> {
    let store = usnea.store()?;
    let builtin = BuiltinNetwork::ALL.into_iter().map(KnownNetwork::Builtin);
    let named = definition::all(store)?.into_iter();
    let named = named.map(|network| KnownNetwork::Named(Box::new(network)));
    let mut fitting = Vec::new();
    for network in builtin.chain(named) {
        if NetworkFilter::fit(filters, &network, store)? {
            fitting.push(network);
        }
    }
    fitting.sort_by(|a, b| a.name().cmp(b.name()));
    Ok(fitting)
}
