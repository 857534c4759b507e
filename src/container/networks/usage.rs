//! Containers that use a network, according to their records.

use std::path::Path;

use crate::container::{self, Container};
use crate::error::Result;
use crate::net::definition;
use crate::network_name::NetworkName;

/// Container that uses a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkUser {
    /// ID of the container.
    pub id: String,
    /// Name of the container.
    pub name: String,
}

/// Returns the containers of the network `name`, also those that do not run. `id` is the network's; `None` for a network
/// with a damaged definition.
pub fn users(store: &Path, name: &NetworkName, id: Option<&str>) -> Result<Vec<NetworkUser>> {
    let all = container::all(store)?.into_iter();
    let used = all.filter(|container| is_member(container, name, id));
    let user = |used: Container| NetworkUser { id: used.record.id, name: used.record.name };
    Ok(used.map(user).collect())
}

/// True if the container's settings name the network, by its name or by digits of its ID.
pub(in crate::container) fn is_member(
    container: &Container,
    name: &NetworkName,
    id: Option<&str>,
) -> bool {
    let is_named = |text: &str| {
        text == name.as_str() || {
            let is_other =
                text.parse().is_ok_and(|other| definition::path(&container.store, &other).exists());
            !text.is_empty() && !is_other && id.is_some_and(|id| id.starts_with(text))
        }
    };
    let attachments = &container.record.network.attachments;
    attachments.iter().any(|attachment| is_named(&attachment.network))
}
