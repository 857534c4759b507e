//! `--filter` of networks. Values of one key are alternatives, different keys are conditions (each `label` and `label!`
//! is a condition).

use std::mem::discriminant;
use std::path::Path;
use std::str::FromStr;

use jiff::Timestamp;

use super::known::KnownNetwork;
use super::usage;
use crate::container::time;
use crate::error::{Context, Error, Result, Setting};
use crate::expression::Expression;

/// All keys, for hints.
const KEYS: &str = "name, id, driver, label, label!, scope, type, dangling, until";

/// Filter of networks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkFilter {
    /// Expression in a name.
    Name(Expression),
    /// Beginning of an ID, or an expression in it.
    Id(Expression),
    /// docker's name of the driver: bridge, host, null.
    Driver(String),
    /// Label of the network: KEY, or KEY=VALUE.
    Label(String),
    /// Label that the network must not have.
    NoLabel(String),
    /// Scope of the network, which is always `local`.
    Scope(String),
    /// True: networks of users; false: built-in ones.
    Custom(bool),
    /// True: networks of users that no container uses; false: the others.
    Dangling(bool),
    /// Time before which the network was made.
    Until(Timestamp),
}

impl FromStr for NetworkFilter {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let said = || Setting::Filter.with(text.escape_debug());
        let bad = |why: &str| Error::invalid(why).within(said());
        let (key, value) = text.split_once('=').ok_or_else(|| bad("it is KEY=VALUE"))?;
        let (key, value) = (key.trim().to_ascii_lowercase(), value.trim());
        Ok(match key.as_str() {
            "name" => Self::Name(value.parse().context(said)?),
            "id" => Self::Id(value.parse().context(said)?),
            "driver" => Self::Driver(value.to_owned()),
            "label" => Self::Label(value.to_owned()),
            "label!" => Self::NoLabel(value.to_owned()),
            "scope" => Self::Scope(value.to_owned()),
            "type" => match value {
                "custom" => Self::Custom(true),
                "builtin" => Self::Custom(false),
                _ => return Err(bad("custom or builtin")),
            },
            "dangling" => match value.to_ascii_lowercase().as_str() {
                "true" | "1" => Self::Dangling(true),
                "false" | "0" => Self::Dangling(false),
                _ => return Err(bad("true or false")),
            },
            "until" => {
                Self::Until(time::moment(value).ok_or_else(|| bad("a time, or how long ago"))?)
            }
            _ => return Err(bad(&format!("there is no filter {key}")).hint(KEYS)),
        })
    }
}

impl NetworkFilter {
    /// True if a network fits all `filters`.
    pub fn fit(filters: &[Self], network: &KnownNetwork, store: &Path) -> Result<bool> {
        for filter in filters {
            let mut fits = filter.fits(network, store)?;
            if !matches!(filter, Self::Label(_) | Self::NoLabel(_) | Self::Until(_)) {
                let same = |other: &&Self| discriminant(*other) == discriminant(filter);
                for other in filters.iter().filter(same) {
                    fits = fits || other.fits(network, store)?;
                }
            }
            if !fits {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn fits(&self, network: &KnownNetwork, store: &Path) -> Result<bool> {
        let has = |label: &str| {
            let labels = network.definition().map(|network| &network.labels);
            labels.is_some_and(|labels| match label.split_once('=') {
                Some((key, value)) => labels.get(key).is_some_and(|there| there == value),
                None => labels.contains_key(label),
            })
        };
        Ok(match self {
            Self::Name(name) => name.is_in(network.name()),
            Self::Id(id) => id.is_of_id(&network.id()),
            Self::Driver(driver) => network.driver() == driver,
            Self::Label(label) => has(label),
            Self::NoLabel(label) => !has(label),
            Self::Scope(scope) => scope == "local",
            Self::Custom(is) => network.definition().is_some() == *is,
            Self::Dangling(is) => is_dangling(network, store)? == *is,
            Self::Until(time) => network.created() < *time,
        })
    }
}

fn is_dangling(network: &KnownNetwork, store: &Path) -> Result<bool> {
    let Some(network) = network.definition() else { return Ok(false) };
    Ok(usage::users(store, &network.name, Some(&network.id))?.is_empty())
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
