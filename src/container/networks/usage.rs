//! Containers and pods that use a network, according to their records and to the network's live file.

use std::path::Path;

use crate::container::{self, Container, network, pods};
use crate::error::Result;
use crate::net::NetworkRequest;
use crate::net::live::{LiveFile, NetworkMember};
use crate::network_name::NetworkName;
use crate::object_id::short;

/// Container or pod that uses a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkUser {
    /// ID of the container or pod.
    pub id: String,
    /// Name of the container or pod.
    pub name: String,
}

/// Returns the containers and pods that use the network `name`, running or not. `id`: that of the network; `None`: its
/// definition is damaged.
pub fn users(store: &Path, name: &NetworkName, id: Option<&str>) -> Result<Vec<NetworkUser>> {
    let all = container::all_in(store)?.into_iter();
    let used = all.filter(|container| is_member(container, name));
    let user =
        |used: Container| NetworkUser { id: used.record.id.to_string(), name: used.record.name };
    let mut users: Vec<NetworkUser> = used.map(user).collect();
    let pods = pods::all_in(store)?.into_iter().filter(|pod| names(&pod.record.network, name));
    users.extend(pods.map(|pod| NetworkUser { id: pod.record.id, name: pod.record.name }));
    // A disposable container may have no record, and the record of one that was connected while it ran may be outdated.
    for member in id.map(|id| live(store, id)).unwrap_or_default() {
        if users.iter().all(|user| user.id != member.container) {
            let name = member.name.unwrap_or_else(|| short(&member.container).to_owned());
            users.push(NetworkUser { id: member.container, name });
        }
    }
    Ok(users)
}

/// Returns the running members of the network `id`.
pub(super) fn live(store: &Path, id: &str) -> Vec<NetworkMember> {
    // Without a store or a runtime folder, nothing runs.
    let folder = network::live_folder(store);
    folder.map(|folder| LiveFile::of(&folder, id).read().members).unwrap_or_default()
}

/// True if the container's settings name the network.
pub(in crate::container) fn is_member(container: &Container, name: &NetworkName) -> bool {
    names(&container.record.network, name)
}

fn names(request: &NetworkRequest, name: &NetworkName) -> bool {
    request.attachments.iter().any(|attachment| attachment.network == name.as_str())
}
