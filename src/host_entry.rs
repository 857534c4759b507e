//! `--add-host NAME:ADDRESS`: a line of the container's /etc/hosts.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// docker's word for the host's address.
const HOST_GATEWAY: &str = "host-gateway";

/// Value of `--add-host`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostEntry {
    /// Name to define.
    pub name: String,
    /// Address of the name; `None`: the host's (`host-gateway`).
    pub address: Option<IpAddr>,
}

impl fmt::Display for HostEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => write!(f, "{}:{address}", self.name),
            None => write!(f, "{}:{HOST_GATEWAY}", self.name),
        }
    }
}

impl FromStr for HostEntry {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // docker's newer form is NAME=ADDRESS; an IPv6 address contains colons.
        let parted = text.split_once('=').or_else(|| text.split_once(':'));
        let (name, address) = parted.ok_or("expected NAME:ADDRESS")?;
        let fits = |letter: char| letter.is_ascii_alphanumeric() || "-._".contains(letter);
        if name.is_empty() || !name.chars().all(fits) {
            return Err(format!("'{name}' is no name of a host"));
        }
        let bare = address.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        let address = match bare.unwrap_or(address) {
            HOST_GATEWAY => None,
            number => number
                .parse()
                .map(Some)
                .map_err(|_| format!("'{address}' is neither an IP number nor host-gateway"))?,
        };
        Ok(Self { name: name.to_owned(), address })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_of_dockers_forms_are_taken() {
        let ip = |text: &str| Some(text.parse().unwrap());
        for (text, name, address) in [
            ("db:10.0.0.1", "db", ip("10.0.0.1")),
            ("db=10.0.0.1", "db", ip("10.0.0.1")),
            ("db:::1", "db", ip("::1")),
            ("a.b-c:[fd00::1]", "a.b-c", ip("fd00::1")),
            ("up:host-gateway", "up", None),
        ] {
            assert_eq!(text.parse(), Ok(HostEntry { name: name.into(), address }), "{text}");
        }
        for text in ["db", ":1.2.3.4", "a b:1.2.3.4", "a\nb:1.2.3.4", "db:host", "db:1.2.3"] {
            assert!(text.parse::<HostEntry>().is_err(), "{text}");
        }
    }
}
