//! Filter keys of `--filter` that networks and volumes have in common.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;

use super::time;
use crate::error::{Context, Error, Result, Setting};
use crate::expression::Expression;

/// Filter of networks or volumes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResourceFilter {
    /// Regular expression that matches a name.
    Name(Expression),
    /// docker's name of the driver.
    Driver(String),
    /// Label: KEY, or KEY=VALUE.
    Label(String),
    /// Label that the resource must not have.
    NoLabel(String),
    /// Scope, which is always `local`.
    Scope(String),
    /// True: resources that no container uses; false: the others.
    Dangling(bool),
    /// Time before which the resource was made.
    Until(Timestamp),
}

/// Properties of a network or volume that filters compare.
pub trait FilteredResource {
    /// Name of the resource.
    fn name(&self) -> &str;
    /// docker's name of the driver.
    fn driver(&self) -> &str;
    /// Labels; `None`: a resource that cannot have labels.
    fn labels(&self) -> Option<&BTreeMap<String, String>>;
    /// Time when the resource was made.
    fn created(&self) -> Timestamp;
    /// True if no container uses the resource. Errors: the containers cannot be listed.
    fn is_dangling(&self, store: &Path) -> Result<bool>;
}

/// Text of a filter, split into key and value.
#[derive(Debug)]
pub struct FilterText<'a> {
    text: &'a str,
    /// Key, in lower case.
    pub key: String,
    /// Value.
    pub value: &'a str,
}

impl<'a> FilterText<'a> {
    /// Splits KEY=VALUE. Errors: no `=`.
    pub fn split(text: &'a str) -> Result<Self> {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        let split = Self { text, key: key.trim().to_ascii_lowercase(), value: value.trim() };
        match text.contains('=') {
            true => Ok(split),
            false => Err(split.invalid("it is KEY=VALUE")),
        }
    }

    /// Returns the error for an invalid filter.
    pub fn invalid(&self, why: &str) -> Error {
        Error::invalid(why).within(Setting::Filter.with(self.text.escape_debug()))
    }

    /// Parses the value as a regular expression. Errors: an invalid expression.
    pub fn expression(&self) -> Result<Expression> {
        self.value.parse().context(|| Setting::Filter.with(self.text.escape_debug()))
    }

    /// Parses the value as a boolean: true or false, 1 or 0. Errors: another value.
    pub fn switch(&self) -> Result<bool> {
        match self.value.to_ascii_lowercase().as_str() {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(self.invalid("true or false")),
        }
    }

    /// Parses a filter that networks and volumes have in common. Errors: a malformed value; an unknown key, with `keys`
    /// as the hint.
    pub fn common(&self, keys: &'static str) -> Result<ResourceFilter> {
        let value = || self.value.to_owned();
        Ok(match self.key.as_str() {
            "name" => ResourceFilter::Name(self.expression()?),
            "driver" => ResourceFilter::Driver(value()),
            "label" => ResourceFilter::Label(value()),
            "label!" => ResourceFilter::NoLabel(value()),
            "scope" => ResourceFilter::Scope(value()),
            "dangling" => ResourceFilter::Dangling(self.switch()?),
            "until" => ResourceFilter::Until(
                time::moment(self.value).ok_or_else(|| self.invalid("a time, or how long ago"))?,
            ),
            key => return Err(self.invalid(&format!("there is no filter {key}")).hint(keys)),
        })
    }
}

impl ResourceFilter {
    /// True for filters that prune accepts too.
    pub fn is_for_prune(&self) -> bool {
        matches!(self, Self::Label(_) | Self::NoLabel(_) | Self::Until(_))
    }

    /// True if `resource` matches. Errors: the containers cannot be listed.
    pub fn fits(&self, resource: &impl FilteredResource, store: &Path) -> Result<bool> {
        let has = |label: &str| {
            resource.labels().is_some_and(|labels| match label.split_once('=') {
                Some((key, value)) => labels.get(key).is_some_and(|there| there == value),
                None => labels.contains_key(label),
            })
        };
        Ok(match self {
            Self::Name(name) => name.is_in(resource.name()),
            Self::Driver(driver) => resource.driver() == driver,
            Self::Label(label) => has(label),
            Self::NoLabel(label) => !has(label),
            Self::Scope(scope) => scope == "local",
            Self::Dangling(is) => resource.is_dangling(store)? == *is,
            Self::Until(time) => resource.created() < *time,
        })
    }
}
