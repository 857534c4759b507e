//! Name resolution. The program is static and getaddrinfo(3) would load libraries of the host's libc, so it is never
//! called. This module reads /etc/hosts and queries the name servers of /etc/resolv.conf itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use crate::error::{Context, Error, Result};

/// Longest time to resolve a name.
const LIMIT: Duration = Duration::from_secs(6);
/// Longest wait for one name server.
const SERVER_LIMIT: Duration = Duration::from_secs(3);
/// Capacity of ureq's address array.
const MOST_ADDRESSES: usize = 16;

/// Resolver that ureq uses.
#[derive(Debug)]
pub struct NameResolver;

impl Resolver for NameResolver {
    fn resolve(
        &self,
        address: &Uri,
        _: &Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let host = address.host().unwrap_or_default();
        let port = address.port_u16().unwrap_or(match address.scheme_str() {
            Some("http") => 80,
            Some("https") => 443,
            // The default port of a SOCKS proxy.
            _ => 1080,
        });
        let found = look_up(host).map_err(|error| ureq::Error::Other(Box::new(error)))?;
        let mut all = self.empty();
        for ip in found.into_iter().take(MOST_ADDRESSES) {
            all.push(SocketAddr::new(ip, port));
        }
        Ok(all)
    }
}

/// Addresses of `host`, at least one. A literal resolves to itself; `localhost` to loopback, whatever the name servers
/// say (RFC 6761).
pub fn look_up(host: &str) -> Result<Vec<IpAddr>> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    if let Ok(ip) = bare.parse() {
        return Ok(vec![ip]);
    }
    if is_localhost(bare) {
        return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    let found = ask_servers(bare).context(|| format!("cannot look up {bare}"))?;
    if found.is_empty() { Err(no_such_host(bare)) } else { Ok(found) }
}

/// True for `localhost` and names below it.
pub fn is_localhost(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost")
}

fn no_such_host(host: &str) -> Error {
    Error::new(format!("cannot look up {host}: no such host"))
}

// The runtime lives only in this function, on this thread.
fn ask_servers(host: &str) -> Result<Vec<IpAddr>> {
    let mut builder = match TokioResolver::builder_tokio() {
        Ok(builder) => builder,
        // Without a resolv.conf, or without a name server in it, the local machine is the name server (resolv.conf(5)).
        Err(error) => {
            log::debug!("/etc/resolv.conf: {error}");
            let local = NameServerConfig::udp_and_tcp(Ipv4Addr::LOCALHOST.into());
            let config = ResolverConfig::from_parts(None, Vec::new(), vec![local]);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        }
    };
    let options = builder.options_mut();
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.timeout = options.timeout.min(SERVER_LIMIT);
    options.attempts = options.attempts.min(2);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(async {
        let resolver = builder.build()?;
        match tokio::time::timeout(LIMIT, resolver.lookup_ip(host)).await {
            Ok(answer) => answer.map(|found| found.iter().collect()),
            Err(_) => Err(NetError::Timeout),
        }
    });
    // Does not wait for a lookup that is still under way.
    runtime.shutdown_background();
    answer.map_err(|error| explain(&error))
}

fn explain(error: &NetError) -> Error {
    if error.is_nx_domain() || error.is_no_records_found() {
        return Error::new("no such host").hint("check the registry's name");
    }
    log::debug!("name servers: {error}");
    Error::new("no name server answers")
        .hint("is this machine connected? its name servers are those of /etc/resolv.conf")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_localhost_need_no_name_server() {
        for host in ["127.0.0.1", "::1", "[::1]", "192.0.2.1"] {
            assert_eq!(look_up(host).unwrap().len(), 1, "{host}");
        }
        for host in ["localhost", "LOCALHOST.", "registry.localhost"] {
            assert!(look_up(host).unwrap().iter().all(IpAddr::is_loopback), "{host}");
        }
        assert!(!is_localhost("localhost.example") && !is_localhost("mylocalhost"));
    }

    #[test]
    fn an_unknown_name_is_reported_soon_and_in_one_line() {
        let start = std::time::Instant::now();
        let error = look_up("registry.invalid").unwrap_err().to_string();
        assert!(error.starts_with("cannot look up registry.invalid: no "), "{error}");
        assert!(!error.contains('\n') && start.elapsed() < LIMIT + SERVER_LIMIT, "{error}");
    }
}
