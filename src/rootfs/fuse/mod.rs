//! usnea's own file systems by FUSE, without a helper program: an overlay, where the kernel's cannot serve (old kernels,
//! layers on NFS, shifted owners), and images in one file, which the kernel mounts for real root only.
//!
//! ```text
//!  kernel --request--> serve (one line an operation, one place that replies) --> tree (the overlay; no FUSE in it)
//!                                                                                   --> folders on disk
//!                                                                                   --> layer::squashfs
//!                      image::serve                                           --> layer::squashfs
//!  mount: /dev/fuse, fsopen(2), a detached mount; a server process for any content
//! ```
//!
//! An image below the kernel's overlay is a mount of `image::serve`. The server of the overlay reads the images among
//! its layers by itself: a read passes one server.
//!
//! The server is a process of its own, because it starts threads: the process that launches containers may not.

pub mod command;
pub mod confine;
mod content;
mod filter;
mod handles;
pub mod image;
pub mod mount;
mod mount_options;
mod notices;
pub mod options;
pub mod overlay_command;
pub mod overlay_content;
mod reply;
pub mod serve;
pub mod tree;
