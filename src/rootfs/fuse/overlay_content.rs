//! Overlay of folders and images as the content of a FUSE mount.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::io::Errno;

use super::confine::{self, OwnMounts, ServerReach};
use super::content::{FuseContent, OpenContent, ServerLimits};
use super::notices::Notices;
use super::serve::FuseServer;
use super::tree::{OverlayLayers, OverlayRules, OverlayTree};
use crate::error::{Error, Result};
use crate::layer::override_stat::Records;
use crate::layer::squashfs::CacheLimits;
use crate::layer::squashfs::format::LARGEST_BLOCK;
use crate::sys::namespace;

/// Open layers of an overlay, and the rules to read and write them.
#[derive(Debug)]
pub struct OverlayContent {
    /// Open layers.
    pub layers: OverlayLayers,
    /// Rules to read and write layers. The server fills in `has_one_id` and `open_folders`.
    pub rules: OverlayRules,
}

/// Returns the limits of the caches and threads of each of `count` images. All together have those of a server of one
/// image, but at least a block of the largest size and a thread each.
fn limits_of_each(count: usize) -> CacheLimits {
    let (all, count) = (CacheLimits::default(), count.max(1));
    let part = |bytes: u64| (bytes / count as u64).max(LARGEST_BLOCK.into());
    CacheLimits {
        data_bytes: part(all.data_bytes),
        metadata_bytes: part(all.metadata_bytes),
        workers: (all.workers / count).max(1),
    }
}

impl FuseContent for OverlayContent {
    type Server = FuseServer;

    fn prepare(&mut self) {
        let matters = self.rules.records == Records::InLowers || self.layers.count_images() > 0;
        self.rules.has_one_id = matters && namespace::has_one_id();
    }

    fn take_mounts(&mut self) -> Vec<OwnedFd> {
        let OwnMounts { layers, mounts } = confine::own_mounts(std::mem::take(&mut self.layers));
        self.layers = layers;
        mounts
    }

    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.layers.descriptors()
    }

    fn reach(&self) -> ServerReach<'_> {
        ServerReach::Layers(&self.layers)
    }

    fn open(self, limits: ServerLimits) -> Result<OpenContent<FuseServer>> {
        let Self { layers, rules } = self;
        let rules = OverlayRules { open_folders: open_folders(limits.open_files), ..rules };
        let count = layers.count_images();
        let layers = layers.open(|| limits_of_each(count))?;
        let tree = Arc::new(OverlayTree::new(layers, rules).map_err(explained)?);
        let notices = Arc::new(Notices::default());
        let server = FuseServer::new(tree.clone(), notices.clone(), limits.mover);
        let connect = move |notifier| {
            notices.connect(notifier);
            // The end of the process frees the whole tree at once, with the lock of the work folder.
            std::mem::forget(tree);
        };
        Ok(OpenContent { server, connect: Box::new(connect) })
    }
}

fn open_folders(limit: u64) -> usize {
    // The rest is for the files that containers open.
    (limit / 4).clamp(16, 4096) as usize
}

/// Explains why these layers give no overlay.
fn explained(errno: Errno) -> Error {
    let (what, hint) = match errno {
        Errno::XDEV => (
            "the upper layer and its work folder are not in one mount",
            "put workdir beside upperdir: files are moved from one into the other",
        ),
        Errno::BUSY => (
            "the work folder is in use by another overlay",
            "each overlay that is written to needs an upperdir and a workdir of its own",
        ),
        Errno::ROFS => (
            "the upper layer is on a read-only file system",
            "without upperdir and workdir the overlay is one that is only read",
        ),
        errno => return Error::new(format!("cannot read the layers: {}", Error::from(errno))),
    };
    Error::new(what).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_images_share_the_memory_of_one() {
        let (one, four, many) = (limits_of_each(1), limits_of_each(4), limits_of_each(500));
        assert_eq!(one, CacheLimits::default());
        assert_eq!(four.data_bytes * 4, one.data_bytes);
        assert_eq!((many.data_bytes, many.workers), (LARGEST_BLOCK.into(), 1));
    }
}
