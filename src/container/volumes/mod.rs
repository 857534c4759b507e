//! Volumes: named folders that outlive containers.
//!
//! ```text
//! volumes/NAME/volume.json      the record; never changed
//! volumes/NAME/_data/           the files
//! volumes/NAME/new              marks a volume into which no files were copied yet (see `engine::root::copyup`)
//! ```
//!
//! A volume is made in `tmp/` and renamed into place. A command that makes a container with the volume has the shared
//! lock on its folder until the container is in its place. For a container without a record, the lock lasts as long as
//! the container runs. A command that removes the volume has the exclusive lock, and then searches the containers
//! ([`usage`]).

mod archive;
mod filter;
mod inherit;
mod list;
mod record;
mod remove;
mod size;
mod usage;

pub use archive::{TarInput, export, import};
pub use filter::VolumeFilter;
pub use inherit::inherit;
pub use list::list;
pub(super) use record::acquire;
pub use record::{StoredVolume, VolumeNaming, all, find, folder, make, named, random_name};
pub use remove::{prune, remove, remove_anonymous};
pub use size::usage;
pub use usage::{MountedVolume, is_used, used_by};
