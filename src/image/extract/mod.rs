//! Unpacking of layers: the tar stream of an OCI or docker layer becomes a folder that overlayfs can stack.
//!
//! ```text
//!  packed --> [thread: inflate, hash, limits] --chunks--> Entries --> Unpack --> Folders --> the folder
//!             stream                                      entry, pax   unpack     folders
//!                                                         sparse       attributes, remove
//! ```
//!
//! The layer is hostile. None of its paths is passed to the kernel whole: each entry is a single name in an open
//! folder. That folder was opened name by name below the root, without following symbolic links. No other process may
//! write below the root meanwhile, so every file there belongs to this layer. Neither files nor records of them are
//! held in memory: a layer of millions of entries needs as little as one of ten.
//!
//! Framing is as in Go's archive/tar, with which docker, podman and containerd read layers. A tar that two readers read
//! differently hides files from one of them. tar-core provides the header's layout and checksum. Its parser is not
//! used: it drops fractions of seconds, refuses times before 1970, and lets numbers overflow. The parser also takes a
//! PAX size for the content's after a sparse map.

mod attributes;
pub mod destination;
mod entry;
mod folders;
mod number;
mod path;
mod pax;
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

use crate::config::LayerLimits;
use crate::digest::Digest;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::hint::MORE_SPACE;
use crate::image::owners::Owners;
use crate::layer::whiteout::Whiteouts;

/// Hint for a file system that cannot hold layers.
pub const ANOTHER_FILESYSTEM: &str =
    "keep usnea's files on another filesystem: --root or USNEA_ROOT";

/// Makes the error for a failed creation, with a hint if the file system is full.
fn cannot_make(errno: Errno) -> Error {
    let is_full = matches!(errno, Errno::NOSPC | Errno::DQUOT);
    let error = Error::from(errno);
    if is_full { error.of_kind(ErrorKind::Full).hint(MORE_SPACE) } else { error }
}

/// Settings for unpacking a layer.
#[derive(Clone, Copy, Debug)]
pub struct UnpackRules<'a> {
    /// Form in which the files' owners are stored.
    pub owners: &'a Owners,
    /// Limits for the layer's content.
    pub limits: &'a LayerLimits,
    /// Form of whiteouts on disk.
    pub whiteouts: Whiteouts,
    /// Treatment of the files' content.
    pub content: UnpackContent,
}

/// Treatment of the content of files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnpackContent {
    /// Write the content.
    #[default]
    Whole,
    /// Write empty files and return digests of the content, for a comparison.
    Digests,
}

/// Size and digest of the content that a regular file would have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentSummary {
    /// Length in bytes, holes included.
    pub size: u64,
    /// SHA-256 of the content.
    pub digest: Digest,
}

/// Result of unpacking a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpacked {
    /// SHA-256 of the uncompressed stream, from its first byte to its last.
    pub diff_id: Digest,
    /// Length of the uncompressed stream, bytes.
    pub stream: u64,
    /// Content of the regular files, bytes, holes included.
    pub bytes: u64,
    /// Number of entries, and of folders made without an entry.
    pub entries: u64,
    /// Number of whiteouts, without opaque folders.
    pub whiteouts: u64,
    /// Form of the layer's whiteouts and opaque folders; `Overlay` if the layer has none.
    pub whiteouts_form: Whiteouts,
    /// Sizes and digests of the regular files, by inode number ([`UnpackContent::Digests`]).
    pub digests: HashMap<u64, ContentSummary>,
    /// True if the root folder is opaque: it hides all layers below. overlayfs does not check this attribute of its
    /// roots, so a stack of layers must end here.
    pub opaque_root: bool,
}

/// Unpacks a layer into the empty folder `into`, which is open for reading. `packed` is the blob from a registry (plain
/// or compressed, detected by its first bytes), `size` bytes long. Reads all of `packed`, in a thread that ends before
/// the return.
///
/// Real owners (`Owners::Mapped`) need a process that is root of the base user namespace. A umask of 0 saves a system
/// call for many files. Errors: name the entry and the cause; `into` is then incomplete and unusable.
pub fn layer<R: Read + Send>(
    packed: R,
    size: u64,
    into: BorrowedFd<'_>,
    rules: &UnpackRules<'_>,
) -> Result<Unpacked> {
    unpack_in_two_threads(packed, size, into, rules).context(|| "layer")
}

fn unpack_in_two_threads<R: Read + Send>(
    packed: R,
    size: u64,
    into: BorrowedFd<'_>,
    rules: &UnpackRules<'_>,
) -> Result<Unpacked> {
    let (stream, inflater) = stream::pair();
    thread::scope(|scope| {
        let inflate = move || inflater.run(packed, size, rules.limits);
        let thread = thread::Builder::new()
            .name("inflate".into())
            .spawn_scoped(scope, inflate)
            .context(|| "cannot start a thread")?;
        // The call consumes the stream; dropping it also releases a waiting thread.
        let counts = unpack::all(stream, into, rules);
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
            whiteouts_form: if counts.has_marks { rules.whiteouts } else { Whiteouts::Overlay },
            digests: counts.digests,
            opaque_root: counts.opaque_root,
        })
    })
}
