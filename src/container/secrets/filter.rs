//! `--filter` of secrets. Several values of one key are alternatives; all keys must match.

use std::path::Path;
use std::str::FromStr;

use super::record::{StoredSecret, all};
use crate::container::resource_filter::FilterText;
use crate::error::{Error, Result};
use crate::expression::Expression;

/// List of all keys, for hints.
const KEYS: &str = "name, id, label";

/// Filter of secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretFilter {
    /// Regular expression that matches a name.
    Name(Expression),
    /// Beginning of an ID.
    Id(String),
    /// Label: KEY, or KEY=VALUE.
    Label(String),
}

impl FromStr for SecretFilter {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let text = FilterText::split(text)?;
        Ok(match text.key.as_str() {
            "name" => Self::Name(text.expression()?),
            "id" => Self::Id(text.value.to_owned()),
            "label" => Self::Label(text.value.to_owned()),
            key => return Err(text.invalid(&format!("there is no filter {key}")).hint(KEYS)),
        })
    }
}

impl SecretFilter {
    fn fits(&self, secret: &StoredSecret) -> bool {
        match self {
            Self::Name(name) => name.is_in(secret.name.as_str()),
            Self::Id(id) => secret.id.starts_with(id),
            Self::Label(label) => match label.split_once('=') {
                Some((key, value)) => secret.labels.get(key).is_some_and(|there| there == value),
                None => secret.labels.contains_key(label),
            },
        }
    }

    /// True if a secret matches all `filters`.
    fn fit(filters: &[Self], secret: &StoredSecret) -> bool {
        let same =
            |one: &Self, other: &Self| std::mem::discriminant(one) == std::mem::discriminant(other);
        filters.iter().all(|filter| match filter {
            Self::Label(_) => filter.fits(secret),
            _ => filters.iter().any(|other| same(filter, other) && other.fits(secret)),
        })
    }
}

/// Returns the secrets that match the filters, by name.
pub fn list(store: &Path, filters: &[SecretFilter]) -> Result<Vec<StoredSecret>> {
    let mut all = all(store)?;
    all.retain(|secret| SecretFilter::fit(filters, secret));
    Ok(all)
}
