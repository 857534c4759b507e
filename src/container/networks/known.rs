//! Lookup of networks by name or ID: those of the store, and the built-in ones.

use std::path::Path;

use jiff::Timestamp;

use super::builtin::BuiltinNetwork;
use crate::documents::network_definition::NetworkRow;
use crate::documents::text::{self, Truncation};
use crate::error::{ErrorKind, Result};
use crate::net::definition::{self, NetworkDefinition};

/// Network of the store, or a built-in one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KnownNetwork {
    /// Network without a definition.
    Builtin(BuiltinNetwork),
    /// Network of the store.
    Named(Box<NetworkDefinition>),
}

impl KnownNetwork {
    /// Name of the network.
    pub fn name(&self) -> &str {
        match self {
            Self::Builtin(network) => network.name(),
            Self::Named(network) => network.name.as_str(),
        }
    }

    /// ID of the network: 64 hexadecimal digits.
    pub fn id(&self) -> String {
        match self {
            Self::Builtin(network) => network.id(),
            Self::Named(network) => network.id.clone(),
        }
    }

    /// docker's name of the driver.
    pub fn driver(&self) -> &'static str {
        match self {
            Self::Builtin(network) => network.driver(),
            Self::Named(_) => "bridge",
        }
    }

    /// Definition of the network; `None`: a built-in one.
    pub fn definition(&self) -> Option<&NetworkDefinition> {
        match self {
            Self::Builtin(_) => None,
            Self::Named(network) => Some(network),
        }
    }

    /// Time when the network was made; for built-in ones, 1970.
    pub fn created(&self) -> Timestamp {
        self.definition().map_or(Timestamp::UNIX_EPOCH, |network| network.created)
    }

    /// Returns the row of a table.
    pub fn row(&self, truncation: Truncation) -> NetworkRow {
        let definition = self.definition();
        let labels = definition.map(|network| network.labels.clone()).unwrap_or_default();
        let texts = labels.iter().map(|(key, value)| format!("{key}={value}"));
        let id = self.id();
        NetworkRow {
            created_at: text::time(self.created()),
            driver: self.driver(),
            id: match truncation {
                Truncation::On => crate::object_id::short(&id).to_owned(),
                Truncation::Off => id,
            },
            ipv4: definition.is_none_or(|network| network.v4().is_some()).to_string(),
            ipv6: definition.is_some_and(|network| network.v6().is_some()).to_string(),
            internal: definition.is_some_and(NetworkDefinition::is_internal).to_string(),
            labels: texts.collect::<Vec<_>>().join(","),
            label_map: labels,
            name: self.name().to_owned(),
            scope: "local",
        }
    }
}

/// Returns the network that `text` names: its name, its ID, or a prefix of its ID. Errors: no such network; several.
pub fn find(store: &Path, text: &str) -> Result<KnownNetwork> {
    if let Some(network) = BuiltinNetwork::ALL.into_iter().find(|network| network.name() == text) {
        return Ok(KnownNetwork::Builtin(network));
    }
    match definition::named(store, text) {
        Ok(network) => Ok(KnownNetwork::Named(Box::new(network))),
        Err(error) if error.kind() == ErrorKind::NotFound && !text.is_empty() => {
            let is_meant = |network: &BuiltinNetwork| network.id().starts_with(text);
            let mut builtin = BuiltinNetwork::ALL.into_iter().filter(is_meant);
            match (builtin.next(), builtin.next()) {
                (Some(network), None) => Ok(KnownNetwork::Builtin(network)),
                _ => Err(error),
            }
        }
        Err(error) => Err(error),
    }
}
