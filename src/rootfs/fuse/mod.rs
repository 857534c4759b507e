//! usnea's own overlay file system, where the kernel's cannot serve: old kernels, layers on NFS, shifted owners. Uses
//! FUSE, without a helper program.
//!
//! ```text
//!  kernel --request--> serve (one line an operation, one place that replies) --> tree (the overlay; no FUSE in it)
//!  mount: /dev/fuse, fsopen(2), a detached mount
//! ```
//!
//! The server is a process of its own, because it starts threads: the process that launches containers may not.

pub mod command;
mod confine;
mod filter;
mod handles;
pub mod mount;
mod notices;
pub mod options;
mod reply;
pub mod serve;
pub mod tree;
