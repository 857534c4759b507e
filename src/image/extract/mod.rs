//! Layers unpacked: the tar stream of an OCI or docker layer becomes a folder that overlayfs can stack.
//!
//! ```text
//!  packed --> [thread: inflate, hash, limits] --chunks--> Entries --> Unpack --> Folders --> the folder
//!             stream                                      entry, pax   unpack     folders
//!                                                         sparse       attributes, remove
//! ```
//!
//! The layer is hostile. No path of its is ever handed to the kernel whole: each entry is one name in a folder that was
//! opened name by name below the root, through no symbolic link. Nothing else may write below the root meanwhile, so
//! what is found there is this layer's. No file is held in memory, and nothing is remembered about what was unpacked: a
//! layer of millions of entries takes as little as one of ten.
//!
//! Framing is as in Go's archive/tar, which docker, podman and containerd read layers with: a tar that two readers read
//! in two ways hides things from one of them. tar-core gives the header's layout and checksum; its parser is not used,
//! since it drops fractions of seconds, refuses times before 1970, takes a PAX size for the content's after a sparse map
//! and lets numbers overflow.

mod acl;
mod attributes;
mod entry;
mod folders;
mod number;
mod path;
mod pax;
pub mod place;
mod sparse;
mod stream;
#[cfg(test)]
mod tests;
mod unpack;

use std::collections::HashMap;
use std::io::Read;
use std::os::fd::BorrowedFd;
use std::thread;

use rustix::io::Errno;

use crate::config::Limits;
use crate::digest::Digest;
use crate::error::{Context, Error, Kind, Result};
use crate::files::MORE_SPACE;
use crate::image::owners::Owners;
use crate::whiteout::Whiteouts;

const ANOTHER_FILESYSTEM: &str = "keep usnea's files on another filesystem: --root or USNEA_ROOT";

/// A failure to make something, with the way out where the place is full.
fn cannot_make(errno: Errno) -> Error {
    let is_full = matches!(errno, Errno::NOSPC | Errno::DQUOT);
    let error = Error::from(errno);
    if is_full { error.of_kind(Kind::Full).hint(MORE_SPACE) } else { error }
}

/// How a layer is unpacked.
#[derive(Clone, Copy, Debug)]
pub struct How<'a> {
    /// How the files' owners are kept.
    pub owners: &'a Owners,
    /// What the layer may hold.
    pub limits: &'a Limits,
    /// How it says what of the layers below is gone.
    pub whiteouts: Whiteouts,
    /// Content of its files.
    pub content: Content,
}

/// Content of the files of an unpacked layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Content {
    /// Their content.
    #[default]
    Whole,
    /// Nothing: the digest of the content is told instead. For a comparison.
    Digests,
}

/// Content that a regular file would have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sketched {
    /// Its length in bytes, holes included.
    pub size: u64,
    /// The SHA-256 of its content.
    pub digest: Digest,
}

/// What was unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpacked {
    /// The SHA-256 of the uncompressed stream, from its first byte to its last.
    pub diff_id: Digest,
    /// Length of the uncompressed stream, bytes.
    pub stream: u64,
    /// Content of the regular files, bytes, holes included.
    pub bytes: u64,
    /// Entries, and folders that no entry made.
    pub entries: u64,
    /// Whiteouts, the opaque folders not counted.
    pub whiteouts: u64,
    /// Whether any whiteout, or opaque folder, is a name.
    pub has_names: bool,
    /// What the regular files would hold, by their inode numbers ([`Content::Digests`]).
    pub digests: HashMap<u64, Sketched>,
    /// The root folder is opaque: nothing of the layers below is to be seen. overlayfs does not ask its roots for that,
    /// so whoever stacks the layers has to stop here.
    pub opaque_root: bool,
}

/// Unpacks a layer: `packed` as it comes from a registry (plain or compressed, told by its first bytes), `size` bytes of
/// it, into the empty folder `into`, which is open for reading. All of `packed` is read, in a thread that is gone at the
/// end.
///
/// Real owners (`Owners::Mapped`) take a process that is root of the base user namespace. A umask of 0 saves a system
/// call for many files. Errors: the entry, by name, and why; `into` is then half full and good for nothing.
pub fn layer<R: Read + Send>(
    packed: R,
    size: u64,
    into: BorrowedFd<'_>,
    how: &How<'_>,
) -> Result<Unpacked> {
    unpack_in_two_threads(packed, size, into, how).context(|| "layer")
}

fn unpack_in_two_threads<R: Read + Send>(
    packed: R,
    size: u64,
    into: BorrowedFd<'_>,
    how: &How<'_>,
) -> Result<Unpacked> {
    let (stream, inflater) = stream::pair();
    thread::scope(|scope| {
        let inflate = move || inflater.run(packed, size, how.limits);
        let thread = thread::Builder::new()
            .name("inflate".into())
            .spawn_scoped(scope, inflate)
            .context(|| "cannot start a thread")?;
        // The stream goes with the call, and with it what the thread would wait for.
        let counts = unpack::all(stream, into, how);
        let inflated = thread
            .join()
            .unwrap_or_else(|_| Err(Error::new("the thread that inflates it has panicked")))?;
        let (counts, inflated) = (counts?, inflated.ok_or_else(stream::stopped)?);
        Ok(Unpacked {
            diff_id: inflated.digest,
            stream: inflated.length,
            bytes: counts.bytes,
            entries: counts.entries,
            whiteouts: counts.whiteouts,
            has_names: counts.has_names,
            digests: counts.digests,
            opaque_root: counts.opaque_root,
        })
    })
}
