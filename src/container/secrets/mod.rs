//! Secrets: small files that only containers see.
//!
//! ```text
//! secrets/NAME                   a line of JSON, the record; then the content (mode 0600)
//! secrets.lock                   lock on changes
//! containers/ID/secrets/ID       content that a container has from its creation on
//! ```
//!
//! A container keeps its content when the secret is removed or replaced, as in podman. No layer, no config.json and no
//! document has it: the launch writes it to a tmpfs or to the environment.

mod filter;
mod held;
mod record;

pub use filter::{SecretFilter, list};
pub use held::{RequestedSecret, mount_points};
pub(super) use held::{check_mounts, copy, keep, launched, of_container, requested};
pub use record::{LARGEST, NameConflict, NewSecret, StoredSecret, all, create, find, remove};
