//! Named networks of the store: their definitions, and the containers that use them.
//!
//! A command that makes or removes a network has the exclusive lock `networks.lock`. A command that makes a container
//! with a network has the shared lock on its definition until the container can be found (`net::definition`).

mod builtin;
mod check;
mod connect;
mod create;
mod filter;
mod inspect;
mod known;
mod list;
mod prune;
mod remove;
mod usage;

pub use builtin::BuiltinNetwork;
pub(super) use check::check;
pub use connect::{connect, disconnect, reload};
pub use create::{CreateNetwork, ExistingNetwork, create};
pub use filter::NetworkFilter;
pub use inspect::inspect;
pub use known::{KnownNetwork, find};
pub use list::list;
pub use prune::prune;
pub use remove::{ContainersOfNetwork, MissingNetwork, remove};
pub(super) use usage::is_member;
pub use usage::{NetworkUser, users};

use std::fs::File;
use std::path::Path;

use crate::error::Result;
use crate::files::{self, Lock};

/// Waits for the lock on the definitions of all networks.
fn lock(store: &Path) -> Result<File> {
    files::lock_file(&store.join("networks.lock"), Lock::Exclusive)
}
