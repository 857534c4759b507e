//! Documents: JSON in docker's shape, with the fields that podman adds, as structs. The one source of `--format` and of
//! `--format json`.
//!
//! A document computes nothing and does no I/O. The verbs fill the documents in; records of a monitor that have the
//! shape of a document already are part of it as they are.
//!
//! Where Go has a list or a map that is nil, a document has an empty one: a template prints no `<no value>`.

// Fields are docker's and podman's; only those with a fact to add have a comment.
#[allow(missing_docs)]
pub mod container;
pub mod go;
#[allow(missing_docs)]
pub mod graph_driver;
#[allow(missing_docs)]
pub mod host_config;
#[allow(missing_docs)]
pub mod network;
