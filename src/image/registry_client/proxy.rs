//! Proxies from the environment, read as curl and Go do: selects the proxy for an address.
//!
//! ureq's own reading supports neither ports nor networks in NO_PROXY, and takes one proxy for all schemes.

use std::net::IpAddr;

use ureq::Proxy;
use ureq::http::Uri;

use super::dns;
use crate::error::{Context, Error, Result};

/// Proxy settings of the environment.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
    exceptions: Vec<NoProxyRule>,
}

/// An entry of NO_PROXY.
#[derive(Clone, Debug, PartialEq, Eq)]
enum NoProxyRule {
    All,
    /// A network: address and prefix length in bits.
    Network(IpAddr, u32),
    /// A host and the names below it. `below_only`: the host itself does not match. `port`: `None` matches every port.
    Host {
        name: String,
        below_only: bool,
        port: Option<u16>,
    },
}

impl Proxies {
    /// Reads HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, lower case first. Errors: a proxy that is no address.
    pub fn of_environment() -> Result<Self> {
        Self::read(|name| std::env::var(name).ok())
    }

    fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let either = |name: &str| {
            let value = variable(&name.to_ascii_lowercase()).or_else(|| variable(name));
            value.filter(|value| !value.trim().is_empty())
        };
        let proxy = |name: &str| {
            let value = either(name).or_else(|| either("ALL_PROXY"));
            // The value may hold a password, so the message does not show it.
            let parse = |value: String| Proxy::new(value.trim()).map_err(Error::new);
            value.map(parse).transpose().context(|| format!("${name} or $ALL_PROXY"))
        };
        let exceptions = either("NO_PROXY").unwrap_or_default();
        Ok(Self {
            http: proxy("HTTP_PROXY")?,
            https: proxy("HTTPS_PROXY")?,
            exceptions: exceptions.split([',', ' ']).filter_map(NoProxyRule::parse).collect(),
        })
    }

    /// The proxy for `address`; never one for this machine itself.
    pub fn for_address(&self, address: &Uri) -> Option<&Proxy> {
        let host = address.host()?.trim_matches(['[', ']']).trim_end_matches('.');
        let host = host.to_ascii_lowercase();
        let is_https = address.scheme_str() == Some("https");
        let port = address.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        let ip: Option<IpAddr> = host.parse().ok();
        if dns::is_localhost(&host) || ip.is_some_and(|ip| ip.is_loopback()) {
            return None;
        }
        if self.exceptions.iter().any(|exception| exception.holds(&host, ip, port)) {
            return None;
        }
        if is_https { self.https.as_ref() } else { self.http.as_ref() }
    }
}

impl NoProxyRule {
    fn parse(word: &str) -> Option<Self> {
        let word = word.trim().to_ascii_lowercase();
        if word.is_empty() {
            return None;
        }
        if word == "*" {
            return Some(Self::All);
        }
        if let Some((ip, bits)) = word.split_once('/') {
            let (ip, bits) = (ip.parse::<IpAddr>().ok()?, bits.parse().ok()?);
            return (bits <= width(ip)).then_some(Self::Network(ip, bits));
        }
        if let Ok(ip) = word.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Some(Self::Network(ip, width(ip)));
        }
        let (name, port) = match word.rsplit_once(':') {
            Some((name, port)) => (name, Some(port.parse().ok()?)),
            None => (word.as_str(), None),
        };
        let bare = name.trim_matches(['[', ']']);
        let name = bare.strip_prefix("*.").or_else(|| bare.strip_prefix('.'));
        Some(Self::Host { below_only: name.is_some(), name: name.unwrap_or(bare).to_owned(), port })
    }

    fn holds(&self, host: &str, ip: Option<IpAddr>, port: u16) -> bool {
        match self {
            Self::All => true,
            Self::Network(network, bits) => ip.is_some_and(|ip| is_in(ip, *network, *bits)),
            Self::Host { name, below_only, port: only } => {
                let below =
                    || host.strip_suffix(name.as_str()).is_some_and(|rest| rest.ends_with('.'));
                only.is_none_or(|only| only == port)
                    && (!below_only && host == name || ip.is_none() && below())
            }
        }
    }
}

fn width(ip: IpAddr) -> u32 {
    if ip.is_ipv4() { 32 } else { 128 }
}

fn is_in(ip: IpAddr, network: IpAddr, bits: u32) -> bool {
    let (ip, network, width) = match (ip, network) {
        (IpAddr::V4(ip), IpAddr::V4(network)) => {
            (u128::from(ip.to_bits()), u128::from(network.to_bits()), 32)
        }
        (IpAddr::V6(ip), IpAddr::V6(network)) => (ip.to_bits(), network.to_bits(), 128),
        _ => return false,
    };
    // Avoids a shift by 128: a prefix of zero bits matches every address of the family.
    (ip ^ network).checked_shr(width - bits).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        let find = |name: &str| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        Proxies::read(find).unwrap()
    }

    #[test]
    fn each_scheme_has_its_proxy() {
        let both =
            proxies(&[("HTTP_PROXY", "http://a:1"), ("https_proxy", "b:2"), ("ALL_PROXY", "c:3")]);
        let host = |address: &str| {
            both.for_address(&address.parse().unwrap()).map(|proxy| proxy.host().to_owned())
        };
        assert_eq!(host("http://x/"), Some("a".to_owned()));
        assert_eq!(host("https://x/"), Some("b".to_owned()));
        for own in [
            "http://localhost:5000/",
            "https://127.8.0.1/",
            "http://[::1]:80/",
            "https://x.localhost/",
        ] {
            assert_eq!(host(own), None, "{own}");
        }
        let all = proxies(&[("all_proxy", "socks5h://c:3"), ("HTTP_PROXY", "")]);
        assert!(all.for_address(&"http://x/".parse().unwrap()).is_some());
        let error = Proxies::read(|_| Some("http://u:secret@/ x".to_owned())).unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn exceptions_are_gos() {
        let is_direct = |exceptions: &str, address: &str| {
            let all = proxies(&[("ALL_PROXY", "p:1"), ("NO_PROXY", exceptions)]);
            all.for_address(&address.parse().unwrap()).is_none()
        };
        for (exceptions, address, expected) in [
            ("*", "https://x/", true),
            ("example.com", "https://example.com/", true),
            ("example.com", "https://r.Example.com/", true),
            ("example.com", "https://notexample.com/", false),
            (".example.com", "https://example.com/", false),
            ("*.example.com, y", "https://a.example.com/", true),
            ("example.com:5000", "https://example.com:5000/", true),
            ("example.com:5000", "https://example.com/", false),
            ("x:443", "https://x/", true),
            ("10.0.0.0/8", "https://10.1.2.3/", true),
            ("10.0.0.0/8", "https://11.1.2.3/", false),
            ("10.0.0.0/8", "https://x/", false),
            ("0.0.0.0/0", "https://11.1.2.3/", true),
            ("::/0", "https://[2001:db8::1]/", true),
            ("2001:db8::/32", "https://[2001:db8::1]/", true),
            ("192.0.2.1", "https://192.0.2.1:5000/", true),
            ("192.0.2.1:5000", "https://192.0.2.1:5000/", true),
            ("192.0.2.1:5000", "https://192.0.2.1/", false),
            ("10.0.0.0/99,", "https://10.0.0.1/", false),
        ] {
            assert_eq!(is_direct(exceptions, address), expected, "{exceptions} {address}");
        }
    }

    proptest! {
        #[test]
        fn no_exception_breaks_us(word in ".{0,40}", host in "[a-z.]{1,20}") {
            if let Some(exception) = NoProxyRule::parse(&word) {
                exception.holds(&host, None, 443);
            }
        }
    }
}
