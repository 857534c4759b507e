//! Documents: JSON in docker's shape, with the fields that podman adds, as structs. The one source of `--format` and of
//! `--format json`.
//!
//! A document does no I/O. The verbs fill documents in; records of a monitor that have the shape of a document already
//! are part of it as they are.
//!
//! Where Go has a list or a map that is nil, a document has an empty one: a template prints no `<no value>`.

// Fields are docker's and podman's; only those with a fact to add have a comment.
#![allow(missing_docs)]

pub mod cdi;
pub mod changes;
pub mod container;
pub mod container_row;
pub mod event;
pub mod go;
pub mod graph_driver;
pub mod host_config;
pub mod image;
pub mod info;
pub mod network;
pub mod network_definition;
pub mod pod;
pub mod secret;
pub mod text;
pub mod usage;
pub mod version;
pub mod volume;
