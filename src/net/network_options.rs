//! Driver options of a named network, by docker's and podman's names.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Longest name of a network interface in bytes (IFNAMSIZ less the end).
const LONGEST_INTERFACE: usize = 15;

/// Driver options of a network. The definition contains their text alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct NetworkOptions {
    /// Options as typed, for documents.
    pub text: BTreeMap<String, String>,
    /// Largest packet in bytes; `None`: the kernel's default.
    pub mtu: Option<u32>,
    /// Traffic between the members of the network.
    pub members: MemberTraffic,
    /// Name of the bridge in its network namespace.
    pub bridge: Option<String>,
    /// Name of the members' interfaces before the number; `None`: `eth`.
    pub interface_prefix: Option<String>,
    /// Address of the host at which members' ports are published by default.
    pub host_binding: Option<IpAddr>,
}

/// Traffic between the members of a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MemberTraffic {
    /// All traffic.
    #[default]
    Allowed,
    /// No reach at all (`enable_icc=false`).
    Blocked,
}

impl Default for NetworkOptions {
    fn default() -> Self {
        Self {
            text: BTreeMap::new(),
            mtu: None,
            members: MemberTraffic::Allowed,
            bridge: None,
            interface_prefix: None,
            host_binding: None,
        }
    }
}

impl From<NetworkOptions> for BTreeMap<String, String> {
    fn from(options: NetworkOptions) -> Self {
        options.text
    }
}

impl TryFrom<BTreeMap<String, String>> for NetworkOptions {
    type Error = String;

    fn try_from(text: BTreeMap<String, String>) -> Result<Self, String> {
        let mut options = Self::default();
        for (key, value) in &text {
            options.set(key, value).map_err(|why| format!("{key}={value}: {why}"))?;
        }
        options.text = text;
        Ok(options)
    }
}

/// Name of the bridge by default.
const BRIDGE: &str = "br0";

impl NetworkOptions {
    /// Name of the bridge in the network's namespace.
    pub fn bridge_name(&self) -> &str {
        self.bridge.as_deref().unwrap_or(BRIDGE)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "mtu" | "com.docker.network.driver.mtu" => {
                let mtu = mtu(value)?;
                if self.mtu.is_some_and(|other| other != mtu) {
                    return Err(format!(
                        "the MTU is {} by another option",
                        self.mtu.unwrap_or(mtu)
                    ));
                }
                self.mtu = Some(mtu);
            }
            "isolate" => match value {
                "true" | "1" | "strict" => {}
                _ => {
                    return Err("members of two networks never reach each other; a container may be a member of both".into());
                }
            },
            "com.docker.network.bridge.name" => self.bridge = Some(interface(value)?),
            "com.docker.network.bridge.enable_icc" => {
                self.members =
                    if switch(value)? { MemberTraffic::Allowed } else { MemberTraffic::Blocked }
            }
            "com.docker.network.bridge.enable_ip_masquerade" => {
                if !switch(value)? {
                    return Err(
                        "what members send to other machines comes from the host's address".into(),
                    );
                }
            }
            "com.docker.network.bridge.host_binding_ipv4" => {
                let address = value.parse().map_err(|_| "expected an IPv4 address".to_owned())?;
                self.host_binding = Some(IpAddr::V4(address));
            }
            "com.docker.network.container_iface_prefix" => {
                let prefix = interface(value)?;
                if prefix.len() > LONGEST_INTERFACE - 3 || prefix == "tap" {
                    return Err("expected at most 12 bytes, and not tap".into());
                }
                self.interface_prefix = Some(prefix);
            }
            _ => {
                return Err("there is no such option: mtu, isolate, com.docker.network.driver.mtu, \
                    com.docker.network.container_iface_prefix, com.docker.network.bridge.name, .enable_icc, \
                    .enable_ip_masquerade and .host_binding_ipv4 are"
                    .into());
            }
        }
        Ok(())
    }
}

/// Parses an MTU: at least 68 bytes by RFC 791, at most what a veth takes.
fn mtu(text: &str) -> Result<u32, String> {
    let mtu = text.parse().ok().filter(|mtu| (68..=65_535).contains(mtu));
    mtu.ok_or_else(|| "expected a number of bytes from 68 to 65535".into())
}

/// Parses a name of a network interface (dev_valid_name() of the kernel).
fn interface(text: &str) -> Result<String, String> {
    let fits = (1..=LONGEST_INTERFACE).contains(&text.len())
        && !matches!(text, "." | ".." | "lo")
        && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"/:%".contains(&byte));
    fits.then(|| text.to_owned()).ok_or_else(|| {
        format!(
            "expected a name of an interface: at most {LONGEST_INTERFACE} bytes without / : % and spaces, and not lo"
        )
    })
}

/// Parses docker's boolean words.
fn switch(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err("expected true or false".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(options: &[(&str, &str)]) -> Result<NetworkOptions, String> {
        let text = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        text.collect::<BTreeMap<_, _>>().try_into()
    }

    #[test]
    fn options_are_those_of_docker_and_podman() {
        let options = of(&[
            ("com.docker.network.driver.mtu", "1400"),
            ("com.docker.network.bridge.name", "br-web"),
            ("com.docker.network.bridge.enable_icc", "false"),
            ("com.docker.network.bridge.enable_ip_masquerade", "true"),
            ("com.docker.network.bridge.host_binding_ipv4", "127.0.0.1"),
            ("com.docker.network.container_iface_prefix", "net"),
            ("isolate", "true"),
        ])
        .unwrap();
        assert_eq!((options.mtu, options.bridge.as_deref()), (Some(1400), Some("br-web")));
        assert_eq!(options.members, MemberTraffic::Blocked);
        assert_eq!(options.interface_prefix.as_deref(), Some("net"));
        assert_eq!(options.host_binding.unwrap().to_string(), "127.0.0.1");
        assert_eq!(of(&[("mtu", "9000")]).unwrap().mtu, Some(9000));
        let text = serde_json::to_string(&options).unwrap();
        assert_eq!(serde_json::from_str::<NetworkOptions>(&text).unwrap(), options);
    }

    #[test]
    fn what_cannot_be_applied_is_refused() {
        for (key, value) in [
            ("mtu", "67"),
            ("mtu", "70000"),
            ("mtu", "x"),
            ("isolate", "false"),
            ("vlan", "3"),
            ("name", "x"),
            ("com.docker.network.bridge.mtu", "1400"),
            ("com.docker.network.bridge.isolate", "true"),
            ("com.docker.network.bridge.name", "a-name-of-16-byt"),
            ("com.docker.network.bridge.name", "a b"),
            ("com.docker.network.bridge.name", ""),
            ("com.docker.network.bridge.enable_icc", "maybe"),
            ("com.docker.network.bridge.enable_ip_masquerade", "false"),
            ("com.docker.network.bridge.host_binding_ipv4", "::1"),
            ("com.docker.network.container_iface_prefix", "lo"),
            ("com.docker.network.container_iface_prefix", "thirteenbytes"),
        ] {
            let error = of(&[(key, value)]).unwrap_err();
            assert!(error.starts_with(&format!("{key}={value}: ")), "{error}");
        }
        assert!(of(&[("mtu", "1400"), ("com.docker.network.driver.mtu", "1500")]).is_err());
    }
}
