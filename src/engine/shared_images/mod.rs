//! Images that several containers share: one FUSE server for each image, with one file system and one page cache.
//!
//! ```text
//!  launch (parent)                     holder (one for each base)             server (one for each image)
//!    lock, connect; else start it ------> base, a mount namespace, a socket
//!    <------------------------------- base
//!    image file --------------------->  a mount, if it has none -------------> confined, as every FUSE server
//!    <-------------------------- copy of the mount, detached
//!  base process
//!    enters base, attaches the mount
//!  keeper
//!    has the connection open ----------> counts the connections of each image
//!    <---------------- "server died"     end of the last one: unmounts the image -> ends with the last mount
//!                                        no connection at all: ends
//! ```
//!
//! FUSE admits the processes of the mount's user namespace and of those below (fuse_allow_current_process in the
//! kernel). So the containers of one image have one base, that of the holder, and each its own user namespace below.
//! The mount namespace of a launch is still a copy of the caller's, since the mount arrives as a descriptor.
//!
//! The holder unlinks its socket and ends under the lock under which clients connect: no client connects to a holder that
//! is about to end. After a SIGKILL of the holder the socket refuses; the next launch replaces it. The mounts of running
//! containers stay, and so do their servers.
//!
//! A launch that cannot share has servers of its own ([`super::root::image_mount`]): one that joins the namespaces of a
//! container in another base, and one of a bundle.

mod address;
mod holder;
mod requests;

use std::os::fd::{AsFd, OwnedFd};

use rustix::net::sockopt::{Timeout, set_socket_timeout};

use crate::engine::plan::Plan;
use crate::engine::plan::namespace::{JoinOrder, NamespacesToJoin};
use crate::engine::root::image_mount::SharedMount;
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::layer::squashfs::ImageFile;
use crate::sys::fd;
use crate::sys::namespace::{self, Namespaces};
use crate::userns::{Base, Writer};
use address::HolderAddress;
use requests::{HolderAnswer, ImageRequest};

/// Mounts of a launch's images, and the user namespace in which they can be used.
#[derive(Debug)]
pub struct SharedImages {
    base: OwnedFd,
    /// Connection to the holder, which keeps the servers as long as it is open.
    pub connection: OwnedFd,
    /// Mounts of the images.
    pub mounts: Vec<SharedMount>,
}

impl SharedImages {
    /// Returns the shared mounts of the images in `plan`. `None`: there is no image, or they cannot be shared, for a
    /// reason that is logged.
    pub fn of_plan(plan: &Plan) -> Option<Self> {
        let folder = plan.options.image_servers.as_deref()?;
        let images: Vec<&ImageFile> = plan.images().collect();
        let base = &plan.levels.base;
        // Only a container with a user namespace of its own can have it below another base.
        if images.is_empty() || plan.levels.container.is_none() || base.writer == Writer::Nobody {
            return None;
        }
        let shared = HolderAddress::of(folder, base).and_then(|address| {
            let connection = match plan.joined() {
                None => connect_or_start(&address, base)?,
                Some(_) => {
                    let _lock = address.lock()?;
                    address.connect().context(|| "no holder of images")?
                }
            };
            Self::of_holder(connection, plan.joined(), &images)
        });
        match shared {
            Ok(shared) => Some(shared),
            Err(error) => {
                log::info!("the container gets image servers of its own: {error}");
                None
            }
        }
    }

    fn of_holder(
        connection: OwnedFd,
        joined: Option<&NamespacesToJoin>,
        images: &[&ImageFile],
    ) -> Result<Self> {
        // A holder that was stopped must not stop all launches.
        set_socket_timeout(&connection, Timeout::Recv, Some(requests::PATIENCE))
            .context(|| "cannot limit the wait for the holder of images")?;
        let base = requests::greeting(&connection)?;
        if let Some(other) = joined.and_then(|join| join.base.as_ref())
            && !namespace::is_same(&base, other).context(|| "cannot stat a user namespace")?
        {
            fail!("it joins the namespaces of a container that has none of the shared images");
        }
        let mounts = images.iter().map(|image| {
            Ok(SharedMount { image: (*image).clone(), mount: ask(&connection, image)? })
        });
        let mounts = mounts.collect::<Result<Vec<_>>>()?;
        Ok(Self { base, connection, mounts })
    }

    /// Returns the base to enter. `base`: that of the plan, which has the same maps. Errors: dup(2).
    pub fn to_join(&self, base: &Base) -> std::io::Result<NamespacesToJoin> {
        Ok(NamespacesToJoin {
            base: Some(self.base.try_clone()?),
            maps: base.maps.clone(),
            order: JoinOrder::BaseFirst,
            namespaces: Vec::new(),
            made_in_base: Namespaces::default(),
        })
    }
}

/// Connects to the holder, which is started if there is none.
fn connect_or_start(address: &HolderAddress, base: &Base) -> Result<OwnedFd> {
    let _lock = address.lock()?;
    address.connect().or_else(|error| {
        log::debug!("a new holder of images: {error}");
        address.remove_stale();
        holder::start(address, base)
    })
}

/// Requests the mount of an image.
fn ask(connection: &OwnedFd, image: &ImageFile) -> Result<OwnedFd> {
    let open = image.open()?;
    let request =
        ImageRequest { offset: image.offset, source: image.path.to_string_lossy().into_owned() };
    let bytes = serde_json::to_vec(&request).map_err(Error::new)?;
    fd::send(connection, &bytes, Some(open.file.as_fd()))
        .context(|| "cannot ask the holder of images")?;
    match HolderAnswer::receive(connection)? {
        HolderAnswer::Descriptor(mount) => Ok(mount),
        HolderAnswer::Failed(error) => Err(error),
        HolderAnswer::End => fail!("the holder of images has ended"),
    }
}
