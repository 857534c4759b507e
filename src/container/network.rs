//! Network of a container: from the flags to the settings in its record, and to the actions of a launch.

use std::path::Path;

use oci_spec::runtime::Spec;

use super::{folder, ports};
use crate::error::{Context, Error, Result, Setting};
use crate::hint;
use crate::monitor::process_id;
use crate::net::{Mode, Network, NetworkRequest, Resolver};
use crate::spec::{self, ContainerOptions, ImageDefaults};

/// Returns the network of the flags, with free ports of the host where none are named. Errors: published ports without
/// a network; no free port.
pub fn wanted(options: &ContainerOptions, image: &ImageDefaults) -> Result<NetworkRequest> {
    let network = options.network();
    options.joined_network().map_err(Error::invalid).context(|| Setting::Network)?;
    let publishes = options.publish_all || !options.publish.is_empty();
    let mut attachments = Vec::new();
    let (mode, flag) = match network {
        spec::NetworkMode::None if publishes => {
            return Err(Error::invalid("a container without a network has no ports")
                .within(Setting::Publish)
                .hint(hint::NOT_NETWORK_NONE));
        }
        spec::NetworkMode::None => (Mode::None, Default::default()),
        spec::NetworkMode::Host => (Mode::Host, Default::default()),
        spec::NetworkMode::Helper(flag) => (Mode::Helper, flag),
        spec::NetworkMode::Named(named, flag) => {
            attachments = named;
            if let Some(first) = attachments.first() {
                let text = format!("there is no network {}", first.network);
                return Err(Error::not_found(text).within(Setting::Network));
            }
            (Mode::Named, flag.unwrap_or_default())
        }
    };
    let exposed = ports::exposed(options, image);
    if mode == Mode::Host && publishes {
        log::warn!(
            "{}: on the host's network the container's ports are the host's already",
            Setting::Publish
        );
    }
    let forwards = match mode {
        Mode::Helper | Mode::Named => ports::forwards(options, &exposed)?,
        Mode::None | Mode::Host => Vec::new(),
    };
    let resolver = || Resolver {
        servers: options.dns.clone(),
        search: options.dns_search.clone(),
        options: options.dns_option.clone(),
    };
    Ok(NetworkRequest {
        mode,
        program: flag.program,
        options: flag.options,
        attachments,
        forwards,
        exposed: exposed
            .iter()
            .flat_map(ports::ends)
            .map(|(port, protocol)| format!("{port}/{protocol}"))
            .collect(),
        resolver: options.has_own_resolver().then(resolver),
        hosts: options.has_own_hosts().then(|| options.add_host.clone()),
        names_host: options.has_own_hostname(),
    })
}

/// Returns the network actions for a launch of `spec`. Errors: no helper; invalid options.
pub fn connected(wanted: &NetworkRequest, spec: &Spec, store: &Path) -> Result<Network> {
    let hostname = spec.hostname().clone().unwrap_or_else(process_id::host_name);
    let full_name = match spec.domainname() {
        Some(domain) if !hostname.contains('.') => format!("{hostname}.{domain}"),
        _ => hostname.clone(),
    };
    wanted.decide(&hostname, &full_name, &store.join("tmp"), folder::PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::Forward;

    fn options(publish: &[&str]) -> ContainerOptions {
        let publish = publish.iter().map(|text| text.parse().unwrap()).collect();
        ContainerOptions { publish, ..ContainerOptions::default() }
    }

    #[test]
    fn all_that_is_exposed_is_published_once() {
        let image = ImageDefaults {
            exposed_ports: vec!["80/tcp".into(), "odd".into(), "53/udp".into()],
            ..ImageDefaults::default()
        };
        let options = ContainerOptions { publish_all: true, ..options(&["127.0.0.1:40002:80"]) };
        let wanted = wanted(&options, &image).unwrap();
        let ends: Vec<_> = wanted.forwards.iter().map(Forward::container_end).collect();
        assert_eq!(ends, ["80/tcp", "53/udp"]);
        assert_eq!(wanted.exposed, ["80/tcp", "53/udp"]);
    }
}
