//! Images: names, sources, storage, and the unpacking of layers into folders.
//!
//! ```text
//!  Reference --registries.conf--> Endpoint --+                        +-- blobs/       verified bytes
//!  oci: oci-archive: docker-archive: --------+--> Source --> pull --> +-- layers/      unpacked (base namespace)
//!                                                                     +-- images.json  names -> manifests
//!  store --> push --> Target: registry, layout, archive
//! ```
//!
//! No code here depends on containers. All code that writes runs in the base user namespace (`userns::in_base`), in a
//! process made for it. That process may start threads; the process that launches containers may not.

pub mod archive;
pub mod compose;
pub mod compression;
pub mod config;
pub mod credentials;
pub mod diff;
pub mod endpoint;
pub mod extract;
pub mod file_range;
pub mod in_place;
pub mod instruction;
pub mod layout;
pub mod list;
pub mod manifest;
pub mod owners;
pub mod platform;
pub mod policy;
pub mod pull;
pub mod push;
pub mod pushed_image;
pub mod reference;
pub mod registries_conf;
pub mod registry_client;
pub mod sif;
pub mod source;
pub mod spread;
pub mod squashfs;
pub mod store;
pub mod transport;

pub use reference::Reference;
