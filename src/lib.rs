//! usnea: runs containers for people without root. This page is the map.
//!
//! Imports point down only; siblings (one row) do not know each other:
//!
//! ```text
//! cli                       the commands: clap, tables, JSON
//! container                 the verbs: composes all below
//! monitor                   the process that stays beside a container
//! engine                    the OCI runtime: a spec in, a process out
//! userns image rootfs cgroup net spec security
//! config host               where our files are; what this machine can do
//! error ids files digest duration capability expression forward go_json host_entry override_stat whiteout   shared vocabulary
//! sys                       system calls, and the only unsafe
//! ```
#![warn(missing_docs)]

pub mod capability;
pub mod cgroup;
pub mod cli;
pub mod config;
pub mod container;
pub mod digest;
pub mod duration;
pub mod engine;
pub mod error;
pub mod expression;
pub mod files;
pub mod forward;
pub mod go_json;
pub mod host;
pub mod host_entry;
pub mod ids;
pub mod image;
pub mod monitor;
pub mod net;
pub mod override_stat;
pub mod rootfs;
pub mod security;
pub mod spec;
pub mod sys;
pub mod userns;
pub mod whiteout;
