//! Mounts of squashfs images, each served by a FUSE server of usnea. Runs in base.

use std::os::fd::OwnedFd;

use crate::engine::step_error::{StepError, StepResult};
use crate::error::{Context, Result};
use crate::layer::squashfs::ImageFile;
use crate::rootfs::fuse::image::content::ImageContent;
use crate::rootfs::fuse::mount::{self as fuse, Served, ServerOptions};
use crate::rootfs::fuse::tree::ShownIds;
use crate::sys::mount::Attributes;
use crate::sys::process;

/// Attributes of every mount of an image.
pub const ATTRIBUTES: Attributes =
    Attributes::READ_ONLY.with(Attributes::NO_DEV).with(Attributes::NO_SUID);

/// Starts a server of the image, and returns its mount: detached, read-only, without device files and set-user-ID
/// programs. Adds the server to `servers`; it exits when no process uses the mount any more. Errors: no image at that
/// path, another file than the recorded one, no FUSE.
pub fn mounted(image: &ImageFile, servers: &mut Vec<process::Child>) -> StepResult<OwnedFd> {
    let Served { mount, server } = serve(image).map_err(|error| StepError::of(&error))?;
    servers.push(server);
    Ok(mount)
}

fn serve(image: &ImageFile) -> Result<Served> {
    let open = image.open()?;
    let content = ImageContent::new(open.file, image.offset, ShownIds::default());
    let options = ServerOptions {
        attributes: ATTRIBUTES,
        source: image.path.to_string_lossy().into_owned(),
        flags: vec!["ro".to_owned()],
        ..ServerOptions::default()
    };
    fuse::start(content, options).context(|| format!("cannot mount {}", image.path.display()))
}
