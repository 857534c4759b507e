//! Mounts of squashfs images, each served by a FUSE server of usnea. Runs in base.

use std::os::fd::OwnedFd;

use crate::engine::step_error::{StepError, StepResult};
use crate::error::{Context, Result};
use crate::layer::squashfs::{ImageFile, OpenImage};
use crate::rootfs::fuse::image::content::ImageContent;
use crate::rootfs::fuse::mount::{self as fuse, Begun, Served, ServerOptions};
use crate::rootfs::fuse::tree::ShownIds;
use crate::sys::mount::Attributes;
use crate::sys::process;

/// Attributes of every mount of an image.
pub const ATTRIBUTES: Attributes =
    Attributes::READ_ONLY.with(Attributes::NO_DEV).with(Attributes::NO_SUID);

/// Servers of a launch's file systems.
#[derive(Debug, Default)]
pub struct LaunchServers {
    /// Servers of this launch alone, children of this process.
    pub own: Vec<process::Child>,
    /// Mounts whose servers are shared with other launches, each to be taken once.
    pub shared: Vec<SharedMount>,
}

/// Mount of an image, detached, whose server is shared.
#[derive(Debug)]
pub struct SharedMount {
    /// The image.
    pub image: ImageFile,
    /// Its mount.
    pub mount: OwnedFd,
}

/// Returns a mount of the image: detached, read-only, without device files and set-user-ID programs. Starts a server,
/// unless a shared one has the image. That server exits when no process uses the mount any more. Errors: no image at
/// that path, another file than the recorded one, no FUSE.
pub fn mounted(image: &ImageFile, servers: &mut LaunchServers) -> StepResult<OwnedFd> {
    if let Some(index) = servers.shared.iter().position(|shared| shared.image == *image) {
        return Ok(servers.shared.swap_remove(index).mount);
    }
    let served = || -> Result<Served> {
        let source = image.path.to_string_lossy().into_owned();
        let open = image.open()?;
        fuse::start(content(open, image.offset), options(source))
    };
    let served = served().context(|| cannot_mount(image.path.display()));
    let Served { mount, server } = served.map_err(|error| StepError::of(&error))?;
    servers.own.push(server);
    Ok(mount)
}

/// Phrase of an error of an image's mount. `source`: path of its file.
pub fn cannot_mount(source: impl std::fmt::Display) -> String {
    format!("cannot mount {source}")
}

/// Starts a server of the image that begins at byte `offset` of an open file, in the mount namespace `namespace`, without
/// waiting until it serves. `source`: source of the mount, as /proc/self/mounts shows it.
pub fn begin(image: OpenImage, offset: u64, source: String, namespace: OwnedFd) -> Result<Begun> {
    let options = ServerOptions { namespace: Some(namespace), ..options(source) };
    fuse::begin(content(image, offset), options)
}

fn content(image: OpenImage, offset: u64) -> ImageContent {
    ImageContent::new(image.file, offset, ShownIds::default())
}

fn options(source: String) -> ServerOptions {
    let flags = vec!["ro".to_owned()];
    ServerOptions { attributes: ATTRIBUTES, source, flags, ..ServerOptions::default() }
}
