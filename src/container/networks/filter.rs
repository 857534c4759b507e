//! `--filter` of networks. Several values of one key are alternatives, and each key must match. Each `label` and
//! `label!` must match by itself.

use std::collections::BTreeMap;
use std::mem::discriminant;
use std::path::Path;
use std::str::FromStr;

use jiff::Timestamp;

use super::known::KnownNetwork;
use super::usage;
use crate::container::resource_filter::{FilterText, FilteredResource, ResourceFilter};
use crate::error::{Error, Result};
use crate::expression::Expression;

/// List of all keys, for hints.
const KEYS: &str = "name, id, driver, label, label!, scope, type, dangling, until";

/// Filter of networks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkFilter {
    /// Filter that volumes have too. Built-in networks are never dangling.
    Common(ResourceFilter),
    /// Prefix of an ID, or a regular expression.
    Id(Expression),
    /// True: user-defined networks; false: built-in ones.
    Custom(bool),
}

impl FromStr for NetworkFilter {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let text = FilterText::split(text)?;
        Ok(match (text.key.as_str(), text.value) {
            ("id", _) => Self::Id(text.expression()?),
            ("type", "custom") => Self::Custom(true),
            ("type", "builtin") => Self::Custom(false),
            ("type", _) => return Err(text.invalid("custom or builtin")),
            _ => Self::Common(text.common(KEYS)?),
        })
    }
}

impl FilteredResource for KnownNetwork {
    fn name(&self) -> &str {
        self.name()
    }

    fn driver(&self) -> &str {
        self.driver()
    }

    fn labels(&self) -> Option<&BTreeMap<String, String>> {
        self.definition().map(|network| &network.labels)
    }

    fn created(&self) -> Timestamp {
        self.created()
    }

    fn is_dangling(&self, store: &Path) -> Result<bool> {
        let Some(network) = self.definition() else { return Ok(false) };
        Ok(usage::users(store, &network.name, Some(&network.id))?.is_empty())
    }
}

impl NetworkFilter {
    /// True if a network matches all `filters`.
    pub fn fit(filters: &[Self], network: &KnownNetwork, store: &Path) -> Result<bool> {
        for filter in filters {
            let mut fits = filter.fits(network, store)?;
            if !matches!(filter, Self::Common(common) if common.is_for_prune()) {
                for other in filters.iter().filter(|other| other.has_key_of(filter)) {
                    fits = fits || other.fits(network, store)?;
                }
            }
            if !fits {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn has_key_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Common(one), Self::Common(other)) => discriminant(one) == discriminant(other),
            (one, other) => discriminant(one) == discriminant(other),
        }
    }

    fn fits(&self, network: &KnownNetwork, store: &Path) -> Result<bool> {
        Ok(match self {
            Self::Common(common) => common.fits(network, store)?,
            Self::Id(id) => id.is_of_id(&network.id()),
            Self::Custom(is) => network.definition().is_some() == *is,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::networks::BuiltinNetwork;

    #[test]
    fn values_of_one_key_are_alternatives_and_keys_are_conditions() {
        let fits = |filters: &[&str]| {
            let filters: Vec<NetworkFilter> =
                filters.iter().map(|text| text.parse().unwrap()).collect();
            let none = KnownNetwork::Builtin(BuiltinNetwork::None);
            NetworkFilter::fit(&filters, &none, Path::new("/nonexistent")).unwrap()
        };
        let id = BuiltinNetwork::None.id();
        let of_id = format!("id={}", &id[..9]);
        for (filters, does_fit) in [
            (&[][..], true),
            (&["name=on"], true),
            (&["name=^x", "name=^n"], true),
            (&["name=on", "driver=bridge"], false),
            (&["driver=bridge", "driver=null"], true),
            (&["type=builtin"], true),
            (&["type=custom"], false),
            (&["type=custom", "type=builtin"], true),
            (&["dangling=true"], false),
            (&["dangling=false", "scope=local"], true),
            (&["scope=swarm"], false),
            (&["label=a"], false),
            (&["label!=a"], true),
            (&[&of_id], true),
            (&["id=zz"], false),
        ] {
            assert_eq!(fits(filters), does_fit, "{filters:?}");
        }
        for wrong in ["name", "nope=1", "type=x", "dangling=x", "until=soon", "name=(", "driver!=x"]
        {
            assert!(wrong.parse::<NetworkFilter>().is_err(), "{wrong}");
        }
    }
}
