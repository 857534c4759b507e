//! Images that several containers share: one FUSE server for each image, with one file system and one page cache.
//!
//! ```text
//!  launch (parent)                     holder (one for each base)             server (one for each image)
//!    lock, connect; else start it ------> base, without IDs
//!    <------------------------------- base
//!    image file --------------------->
//!    maps the IDs of base ------------->  a mount namespace, a socket
//!                                         a mount, if the image has none --------> confined, as every FUSE server
//!  base process
//!    enters base, before its IDs are mapped
//!    <-------------------------- copy of the mount, detached
//!    <-------------------------- "serves" <--------------------------------------- has opened the image
//!    attaches the mount
//!  keeper
//!    has the connection open ----------> counts the connections of each image
//!    <---------------- "server died"     end of the last one: unmounts the image -> ends with the last mount
//!                                        no connection at all: ends
//! ```
//!
//! The parent maps the IDs of a new holder while the base process prepares what needs none, as in any launch.
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

use crate::engine::holder_address::HolderAddress;
use crate::engine::plan::Plan;
use crate::engine::plan::namespace::NamespacesToJoin;
use crate::engine::root::image_mount::SharedMount;
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::layer::squashfs::ImageFile;
use crate::sys::fd;
use crate::sys::namespace;
use crate::userns::{Base, Writer};
pub use address::sweep_image_sockets;
pub use holder::StartingHolder;
use requests::ImageRequest;

/// Requested mounts of a launch's images, and the user namespace in which they can be used.
#[derive(Debug)]
pub struct SharedImages {
    base: OwnedFd,
    /// Connection to the holder, which keeps the servers as long as it is open.
    pub connection: OwnedFd,
    /// Images whose mounts are requested and not received yet.
    requested: Vec<ImageFile>,
}

/// Connection to a holder, which may be a new one.
struct Connection {
    socket: OwnedFd,
    starting: Option<StartingHolder>,
}

impl SharedImages {
    /// Requests the shared mounts of the images in `plan`. Returns the holder too if it is a new one, whose start
    /// [`StartingHolder::finish`] must end. `None`: there is no image, or they cannot be shared, for a reason that is
    /// logged.
    pub fn of_plan(plan: &Plan) -> Option<(Self, Option<StartingHolder>)> {
        let folder = plan.options.image_servers.as_deref()?;
        let images: Vec<&ImageFile> = plan.images().collect();
        let base = &plan.levels.base;
        // Only a container with a user namespace of its own can have it below another base.
        if images.is_empty() || plan.levels.container.is_none() || base.writer == Writer::Nobody {
            return None;
        }
        let connection = address::of_base(folder, base).and_then(|address| match plan.joined() {
            None => connect_or_start(address, base),
            Some(_) => {
                let _lock = address.lock()?;
                let socket = address.connect().context(|| "no holder of images")?;
                Ok(Connection { socket, starting: None })
            }
        });
        let shared = connection.and_then(|Connection { socket, starting }| {
            match Self::of_holder(socket, plan.joined(), &images) {
                Ok(shared) => Ok((shared, starting)),
                Err(error) => {
                    // The reason for the silence of a holder that could not begin.
                    starting.map_or(Ok(()), StartingHolder::finish)?;
                    Err(error)
                }
            }
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
        images.iter().try_for_each(|image| ask(&connection, image))?;
        let requested = images.iter().map(|image| (*image).clone()).collect();
        Ok(Self { base, connection, requested })
    }

    /// Receives the requested mounts, once their servers serve; none if they were received before. Errors: those of the
    /// servers.
    pub fn receive(&mut self) -> Result<Vec<SharedMount>> {
        let images = std::mem::take(&mut self.requested);
        let mounts = requests::mounts(&self.connection, images.len())?;
        let mounts = images.into_iter().zip(mounts);
        Ok(mounts.map(|(image, mount)| SharedMount { image, mount }).collect())
    }

    /// Base in which the mounts can be used.
    pub fn base(&self) -> &OwnedFd {
        &self.base
    }
}

/// State of the base of shared images, for the process that enters it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BaseState {
    /// Base has its IDs.
    Mapped,
    /// The parent reports when base has its IDs.
    Unmapped,
}

impl BaseState {
    /// State at the start of a launch, in a process that the launch has cloned: only the launch itself finishes the start
    /// of the holder.
    pub fn of(holder: Option<StartingHolder>) -> Self {
        match holder {
            Some(_) => Self::Unmapped,
            None => Self::Mapped,
        }
    }
}

/// Connects to the holder, which is started if there is none.
fn connect_or_start(address: HolderAddress, base: &Base) -> Result<Connection> {
    let lock = address.lock()?;
    match address.connect() {
        Ok(socket) => Ok(Connection { socket, starting: None }),
        Err(error) => {
            log::debug!("a new holder of images: {error}");
            address.remove_stale();
            let (socket, starting) = holder::start(address, lock, base)?;
            Ok(Connection { socket, starting: Some(starting) })
        }
    }
}

/// Requests the mount of an image.
fn ask(connection: &OwnedFd, image: &ImageFile) -> Result<()> {
    let open = image.open()?;
    let request =
        ImageRequest { offset: image.offset, source: image.path.to_string_lossy().into_owned() };
    let bytes = serde_json::to_vec(&request).map_err(Error::new)?;
    fd::send(connection, &bytes, Some(open.file.as_fd()))
        .context(|| "cannot ask the holder of images")
}
