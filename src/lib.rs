//! usnea: runs containers for people without root. This page is the map.
//!
//! Imports point down only; siblings (one row) do not know each other:
//!
//! ```text
//! cli                       the commands: clap, tables, JSON
//! container oci quadlet     the verbs: composes all below; those of an OCI runtime; services of systemd from files
//! documents                 JSON in docker's and podman's shape, as structs
//! monitor                   the process that stays beside a container
//! engine                    the OCI runtime: a spec in, a process out
//! userns image rootfs cgroup net readiness spec security
//! config host               where our files are; what this machine can do
//! layer                     what the files of a layer mean: whiteouts, opaque folders, recorded owners
//! error hint ids files amount digest duration capability expression forward go_json host_entry network_attachment network_name object_id   shared vocabulary
//! sys                       system calls, and the only unsafe
//! ```
//!
//! Glossary, one name for a concept in code, messages and manual:
//!
//! ```text
//! base          the user namespace that owns the files of the store: its root is the user, subordinate IDs follow
//! container     a workspace with a record on disk
//! disposable    removed when the command ends
//! document      JSON in the shape of docker or podman
//! helper        the program that connects a network namespace: pasta, slirp4netns
//! hint          the part of an error that says how to repair the cause
//! image         a configuration and a list of layers
//! keeper        the base process that ends a container when its parent ends
//! layer         the files that one step of an image's build added, changed or removed
//! lower, upper  the read-only layers of a root; the layer that takes the changes
//! monitor       the process that stays beside a container with a record
//! plan, step    the operations of one launch in their order; one of them
//! reference     the name of an image, with its tag or digest
//! rootfs        the directory that a container sees as /
//! spec          the OCI runtime configuration, config.json
//! store         the directory with all files of usnea
//! supervisor    the process that answers the system calls of root emulation
//! workspace     a root, layers, ID maps and a spec, being assembled or removed at the end
//! ```
#![warn(missing_docs)]

pub mod amount;
pub mod capability;
pub mod cgroup;
pub mod cli;
pub mod config;
pub mod container;
pub mod digest;
pub mod documents;
pub mod duration;
pub mod engine;
pub mod error;
pub mod expression;
pub mod files;
pub mod forward;
pub mod go_json;
pub mod hint;
pub mod host;
pub mod host_entry;
pub mod ids;
pub mod image;
pub mod layer;
pub mod monitor;
pub mod net;
pub mod network_attachment;
pub mod network_name;
pub mod object_id;
pub mod oci;
pub mod quadlet;
pub mod readiness;
pub mod rootfs;
pub mod security;
pub mod spec;
pub mod sys;
pub mod userns;
