//! Squashfs image as the content of a FUSE mount.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::owners::ImageOwners;
use super::serve::ImageServer;
use crate::error::Result;
use crate::layer::squashfs::{CacheLimits, SquashfsImage};
use crate::rootfs::fuse::confine::ServerReach;
use crate::rootfs::fuse::content::{FuseContent, OpenContent, ServerLimits};
use crate::rootfs::fuse::tree::ShownIds;

/// Open file that holds an image.
#[derive(Debug)]
pub struct ImageContent {
    file: OwnedFd,
    base: u64,
    limits: CacheLimits,
    owners: ImageOwners,
}

impl ImageContent {
    /// Takes an open file with an image at `base`, in bytes. `ids`: map of stored IDs to the shown ones.
    pub fn new(file: OwnedFd, base: u64, ids: ShownIds) -> Self {
        Self { file, base, limits: CacheLimits::default(), owners: ImageOwners::new(ids) }
    }
}

impl FuseContent for ImageContent {
    type Server = ImageServer;

    fn prepare(&mut self) {
        self.owners.look_at_namespace();
    }

    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.file.as_fd()]
    }

    fn reach(&self) -> ServerReach<'_> {
        ServerReach::OpenFiles
    }

    fn open(self, limits: ServerLimits) -> Result<OpenContent<ImageServer>> {
        let image = SquashfsImage::open(self.file, self.base, self.limits)?;
        let server = ImageServer::new(image, self.owners, limits.mover);
        Ok(OpenContent { server, connect: Box::new(drop) })
    }
}
