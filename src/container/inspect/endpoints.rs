//! Entries of `NetworkSettings.Networks` for named networks: requests from the record, and current addresses from the
//! networks' live files.

use std::collections::BTreeMap;
use std::net::IpAddr;

use oci_spec::runtime::Spec;

use crate::container::{Container, network};
use crate::documents::network::{EndpointAddresses, EndpointSettings, RequestedAddresses};
use crate::net::{LiveFile, NetworkDefinition, NetworkMember, Subnet, definition};
use crate::network_attachment::NetworkAttachment;

/// Returns the entries by network. Addresses are empty if the container is not connected at present.
pub(super) fn endpoints(container: &Container, spec: &Spec) -> BTreeMap<String, EndpointSettings> {
    let attachments = container.record.network.attachments.iter();
    attachments
        .map(|attachment| (attachment.network.clone(), endpoint(container, spec, attachment)))
        .collect()
}

fn endpoint(
    container: &Container,
    spec: &Spec,
    attachment: &NetworkAttachment,
) -> EndpointSettings {
    let record = &container.record;
    // With a damaged definition the rest is still shown.
    let definition = definition::named(&container.store, &attachment.network).ok();
    let member = definition.as_ref().and_then(|definition| member(container, definition));
    let identity = network::identity(&record.id, Some(&record.name), spec);
    let requested = RequestedAddresses {
        ipv4_address: attachment.ip.map(|address| address.to_string()),
        ipv6_address: attachment.ip6.map(|address| address.to_string()),
    };
    EndpointSettings {
        endpoint: match (&definition, member) {
            (Some(definition), Some(member)) => addresses(definition, &member),
            _ => EndpointAddresses::default(),
        },
        network_id: definition.map(|definition| definition.id).unwrap_or_default(),
        ipam_config: (requested != RequestedAddresses::default()).then_some(requested),
        aliases: attachment.aliases.clone(),
        dns_names: identity.names(attachment),
        ..EndpointSettings::default()
    }
}

fn member(container: &Container, definition: &NetworkDefinition) -> Option<NetworkMember> {
    let folder = network::live_folder(&container.store).ok()?;
    let members = LiveFile::of(&folder, &definition.id).read().members;
    members.into_iter().find(|member| *member.container == *container.record.id)
}

fn addresses(definition: &NetworkDefinition, member: &NetworkMember) -> EndpointAddresses {
    let length = |address: Option<IpAddr>, subnet: Option<&Subnet>| {
        address.and(subnet).map_or(0, |subnet| subnet.prefix.prefix_len())
    };
    let text = |address: Option<IpAddr>| address.map_or(String::new(), |one| one.to_string());
    // Members of docker's internal networks have no gateway either.
    let gateway = |subnet: Option<&Subnet>| match subnet {
        Some(subnet) if !definition.is_internal() => subnet.gateway.to_string(),
        _ => String::new(),
    };
    let (v4, v6) = (member.v4.map(IpAddr::V4), member.v6.map(IpAddr::V6));
    EndpointAddresses {
        endpoint_id: member.endpoint.clone(),
        gateway: gateway(definition.v4()),
        ip_address: text(v4),
        ip_prefix_len: length(v4, definition.v4()),
        ipv6_gateway: gateway(definition.v6()),
        global_ipv6_address: text(v6),
        global_ipv6_prefix_len: length(v6, definition.v6()),
        mac_address: member.mac.to_string(),
    }
}
