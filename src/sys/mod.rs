//! Mechanism: system calls behind safe functions, no policy, and the only `unsafe` of the project.
//!
//! Every descriptor is an `OwnedFd`, close-on-exec from its creation. Errors are `io::Error` with their errno, so that
//! they can cross a fork; callers add the context.
#![allow(unsafe_code)]

pub mod fd;
pub mod filesystem;
pub mod inode;
pub mod inroot;
pub mod keyring;
pub mod layout;
pub mod mount;
pub mod namespace;
mod namespace_set;
pub mod network;
pub mod pages;
pub mod probe;
pub mod process;
pub mod pty;
pub mod schedule;
pub mod seccomp;
pub mod signal;
pub mod title;
pub mod tree;
