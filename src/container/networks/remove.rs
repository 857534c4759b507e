//! `usnea network rm`: removes networks that no container uses.

use std::path::Path;

use super::builtin::BuiltinNetwork;
use super::create::log_event;
use super::usage;
use crate::container::pods::{self, PodRemoval};
use crate::container::{self, RemoveOptions, Usnea};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::files::{self, LockAttempt};
use crate::hint;
use crate::net::definition;
use crate::network_name::NetworkName;

/// Rule for containers that use a network which is to be removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ContainersOfNetwork {
    /// The network is not removed.
    #[default]
    Kept,
    /// The containers are removed first, including running ones.
    Removed,
}

/// Rule for a network that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingNetwork {
    /// The removal fails.
    Fails,
    /// The removal succeeds.
    Ignored,
}

/// Removes the network that `text` names. Returns false for a missing network that is ignored. Errors: a built-in
/// network; a container uses it, in any state.
pub fn remove(
    usnea: &Usnea,
    text: &str,
    containers: ContainersOfNetwork,
    missing: MissingNetwork,
) -> Result<bool> {
    let store = usnea.store()?;
    let name = match super::find(store, text) {
        Ok(super::KnownNetwork::Named(network)) => network.name,
        Ok(super::KnownNetwork::Builtin(network)) => return Err(builtin(network)),
        Err(error) => match text.parse() {
            // A damaged definition, such as after a power cut, can be removed too.
            Ok(name) if definition::path(store, &name).exists() => name,
            _ if missing == MissingNetwork::Ignored && error.kind() == ErrorKind::NotFound => {
                return Ok(false);
            }
            _ => return Err(error),
        },
    };
    if containers == ContainersOfNetwork::Removed {
        let id = definition::find(store, &name).ok().flatten().map(|network| network.id);
        for user in usage::users(store, &name, id.as_deref())? {
            let phrase = || format!("cannot remove container or pod {}", user.name);
            if pods::find_id_in(store, &user.id).is_ok() {
                let how = PodRemoval { force: true, time: None };
                pods::remove(usnea, &user.id, how).context(phrase)?;
                continue;
            }
            let how = RemoveOptions { force: true, ..RemoveOptions::default() };
            let id = user.id.parse().context(phrase)?;
            container::remove(usnea, &id, how).context(phrase)?;
        }
    }
    remove_unused(store, &name)?;
    Ok(true)
}

fn builtin(network: BuiltinNetwork) -> Error {
    Error::refused(format!("network {} is built in and cannot be removed", network.name()))
}

/// Removes a network. Errors: a container uses it, or is being created with it.
pub(super) fn remove_unused(store: &Path, name: &NetworkName) -> Result<()> {
    let _all = super::lock(store)?;
    let path = definition::path(store, name);
    let lock = match files::grip(&path).context(|| format!("cannot lock {}", path.display()))? {
        LockAttempt::Ours(lock) => Some(lock),
        LockAttempt::Held => None,
        LockAttempt::Gone => {
            return Err(Error::not_found(format!("network {name} was removed meanwhile")));
        }
    };
    let network = definition::find(store, name).ok().flatten();
    // The users are listed after the lock: a command that makes a container with the network has that lock until the
    // container can be found.
    let id = network.as_ref().map(|network| network.id.as_str());
    let users: Vec<String> =
        usage::users(store, name, id)?.into_iter().map(|user| user.name).collect();
    if !users.is_empty() {
        let names = users.join(", ");
        return Err(Error::conflict(format!("network {name} is in use by {names}"))
            .hint(hint::remove_users(&users)));
    }
    let Some(lock) = lock else {
        return Err(Error::conflict(format!("network {name} is in use by a container that runs"))
            .hint("stop that first"));
    };
    files::remove_held(&path, lock).context(|| format!("cannot remove {}", path.display()))?;
    files::sync_folder(&definition::folder(store))?;
    if let Some(network) = network {
        log_event(store, &network, "destroy");
    }
    Ok(())
}
