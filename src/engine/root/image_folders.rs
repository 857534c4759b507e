//! Images of a stack as folders: each is mounted at a path of this process's mount namespace while the layers are
//! stacked. The stack keeps its own references to the mounts.
//!
//! Kernels before 6.15 stack no detached mount, and those before 6.5 need a path that leads to a mount.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::mount::UnmountFlags;

use crate::engine::root::image_mount::{self, LaunchServers};
use crate::engine::step_error::{OnObject, StepResult};
use crate::error::{Context, Error, Result};
use crate::layer::LowerLayer;
use crate::sys::mount::{self, Attributes};
use crate::sys::namespace;

/// Mount point of the folders. Nothing else uses the path meanwhile. Not "/": the process would then count as one in a
/// chroot, which may not make user namespaces (user_namespaces(7)).
const PLACE: &str = "/sys";

/// Mounted images, until this value is dropped.
pub struct ImageFolders {
    /// File system with the mount points.
    top: OwnedFd,
}

impl ImageFolders {
    /// Mounts the images among `lowers`; `None`: there are none. Adds their servers to `servers`. Errors: an image that
    /// is missing, damaged or replaced; no FUSE.
    pub fn mount(lowers: &[LowerLayer], servers: &mut LaunchServers) -> StepResult<Option<Self>> {
        if lowers.iter().all(|lower| lower.image().is_none()) {
            return Ok(None);
        }
        let options = [("mode".to_owned(), Some("700".to_owned()))];
        let top = mount::make("tmpfs", "images", &options, Attributes::NO_SUID)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = |path: &Path| {
            rustix::fs::open(path, flags, Mode::empty()).on(|| path.to_string_lossy())
        };
        mount::attach(&top, open(Path::new(PLACE))?).on(|| PLACE)?;
        let folders = Self { top };
        for (index, lower) in lowers.iter().enumerate() {
            let Some(image) = lower.image() else { continue };
            let path = Self::path(index);
            std::fs::create_dir(&path).on(|| path.to_string_lossy())?;
            let tree = image_mount::mounted(image, servers)?;
            mount::attach(tree, open(&path)?).on(|| path.to_string_lossy())?;
        }
        Ok(Some(folders))
    }

    /// Returns the path of the image that is the lower layer `index`.
    pub fn path(index: usize) -> PathBuf {
        Path::new(PLACE).join(index.to_string())
    }
}

/// Calls `read` with the folders of the layers, in this order; images are mounted meanwhile. Runs in a process in base of
/// the caller's own, whose mount namespace becomes another one.
pub fn with_lower_folders<T>(
    lowers: &[LowerLayer],
    read: impl FnOnce(&[PathBuf]) -> Result<T>,
) -> Result<T> {
    namespace::unshare_mounts().context(|| "cannot make a mount namespace")?;
    let mut servers = LaunchServers::default();
    let held = ImageFolders::mount(lowers, &mut servers).map_err(Error::from)?;
    let path = |(index, lower): (usize, &LowerLayer)| match lower {
        LowerLayer::Folder(path) => path.clone(),
        LowerLayer::Image(_) => ImageFolders::path(index),
    };
    let folders: Vec<PathBuf> = lowers.iter().enumerate().map(path).collect();
    let answer = read(&folders);
    drop(held);
    for server in &servers.own {
        server.wait().context(|| "cannot wait for a server of files")?;
    }
    answer
}

impl Drop for ImageFolders {
    fn drop(&mut self) {
        let place = format!("/proc/self/fd/{}", self.top.as_raw_fd());
        if let Err(error) = rustix::mount::unmount(place, UnmountFlags::DETACH) {
            log::debug!("cannot unmount the images: {error}");
        }
    }
}
