//! Container Device Interface (CDI, version 1.1): devices of vendors, described by files that say which device files,
//! libraries, variables and hooks a container needs. <https://github.com/cncf-tags/container-device-interface>
//!
//! ```text
//!  document   one file: devices of one kind and their edits
//!  registry   all files of the standard folders
//!  edits      the edits of the devices that a container gets, put into its config.json
//!  nvidia_hook  what stands for NVIDIA's hooks where their program is missing
//! ```
//!
//! Without root a device file is mounted, not made: owner, mode and permissions of the file are the host's.

mod document;
mod edits;
mod nvidia_hook;
mod registry;
#[cfg(test)]
mod tests;

pub use edits::Edits;
pub use nvidia_hook::argument as hook_argument;
pub use registry::{CdiRegistry, ListedDevice};
