//! `--filter` of pods: podman's keys. Several values of one key are alternatives, and each key must match. Each `label`
//! and `label!` must match by itself.

use std::mem::discriminant;
use std::str::FromStr;

use jiff::Timestamp;

use super::known::Pod;
use crate::container::time;
use crate::error::{Context, Error, Result, Setting};
use crate::expression::Expression;

/// List of all keys, for hints.
const KEYS: &str =
    "id, name, label, label!, status, ctr-ids, ctr-names, ctr-number, ctr-status, network, until";

/// Filter of pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodFilter {
    /// Prefix of an ID, or a regular expression.
    Id(Expression),
    /// Regular expression that matches a name.
    Name(Expression),
    /// Label of the pod: KEY, or KEY=VALUE.
    Label(String),
    /// Label that the pod must not have.
    NoLabel(String),
    /// podman's word for the state, in lower case.
    Status(String),
    /// Prefix of the ID of a member, or a regular expression.
    MemberId(Expression),
    /// Regular expression that matches the name of a member.
    MemberName(Expression),
    /// Number of members.
    MemberCount(usize),
    /// docker's word for the state of a member.
    MemberStatus(String),
    /// Name of a network.
    Network(String),
    /// Time before which the pod was made.
    Until(Timestamp),
}

impl FromStr for PodFilter {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let phrase = || Setting::Filter.with(text.escape_debug());
        let bad = |why: &str| Error::invalid(why).within(phrase());
        let (key, value) = text.split_once('=').ok_or_else(|| bad("it is KEY=VALUE"))?;
        let (key, value) = (key.trim().to_ascii_lowercase(), value.trim());
        Ok(match key.as_str() {
            "id" => Self::Id(value.parse().context(phrase)?),
            "name" => Self::Name(value.parse().context(phrase)?),
            "label" => Self::Label(value.to_owned()),
            "label!" => Self::NoLabel(value.to_owned()),
            "status" => match value.to_ascii_lowercase().as_str() {
                word @ ("created" | "running" | "degraded" | "paused" | "exited" | "stopped"
                | "dead") => Self::Status(word.to_owned()),
                _ => {
                    return Err(bad("created, running, degraded, paused, exited, stopped"));
                }
            },
            "ctr-ids" => Self::MemberId(value.parse().context(phrase)?),
            "ctr-names" => Self::MemberName(value.parse().context(phrase)?),
            "ctr-number" => Self::MemberCount(value.parse().map_err(|_| bad("a number"))?),
            "ctr-status" => Self::MemberStatus(value.to_ascii_lowercase()),
            "network" => Self::Network(value.to_owned()),
            "until" => {
                Self::Until(time::moment(value).ok_or_else(|| bad("a time, or how long ago"))?)
            }
            _ => {
                let error = Error::invalid(format!("there is no filter {key}"));
                return Err(error.hint(KEYS)).context(phrase);
            }
        })
    }
}

impl PodFilter {
    /// True if the pod matches all filters.
    pub fn fit(filters: &[Self], pod: &Pod) -> Result<bool> {
        for filter in filters {
            let is_alone = matches!(filter, Self::Label(_) | Self::NoLabel(_));
            let alternatives = filters.iter().filter(|other| match is_alone {
                true => *other == filter,
                false => discriminant(*other) == discriminant(filter),
            });
            let mut fits = false;
            for alternative in alternatives {
                fits |= alternative.fits(pod)?;
            }
            if !fits {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn fits(&self, pod: &Pod) -> Result<bool> {
        let record = &pod.record;
        let has_label = |text: &str| match text.split_once('=') {
            Some((key, value)) => record.labels.get(key).is_some_and(|its| its == value),
            None => record.labels.contains_key(text),
        };
        Ok(match self {
            Self::Id(expression) => expression.is_of_id(&record.id),
            Self::Name(expression) => expression.is_in(&record.name),
            Self::Label(text) => has_label(text),
            Self::NoLabel(text) => !has_label(text),
            Self::Status(word) => pod.state()?.word().eq_ignore_ascii_case(word),
            Self::MemberId(expression) => {
                pod.members()?.iter().any(|member| expression.is_of_id(&member.record.id))
            }
            Self::MemberName(expression) => {
                pod.members()?.iter().any(|member| expression.is_in(&member.record.name))
            }
            Self::MemberCount(count) => pod.members()?.len() == *count,
            Self::MemberStatus(word) => {
                let members = pod.members()?;
                let mut states = members.iter().map(|member| member.status());
                states.any(|status| status.is_ok_and(|status| status.word() == word))
            }
            Self::Network(name) => record.network.names().contains(&name.as_str()),
            Self::Until(time) => record.created < *time,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_a_known_key_with_a_value() {
        for good in ["id=ab", "label=a=b", "label!=a", "status=Degraded", "ctr-number=2"] {
            assert!(good.parse::<PodFilter>().is_ok(), "{good}");
        }
        for bad in ["id", "status=up", "ctr-number=x", "colour=red", "until=soon"] {
            assert!(bad.parse::<PodFilter>().is_err(), "{bad}");
        }
    }
}
