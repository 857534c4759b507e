//! Holder: the process that owns the base and the mounts of shared images. It starts no thread, reads no image, and has
//! no file but its socket and the images.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::mount::UnmountFlags;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};

use super::address::{HolderAddress, is_ours};
use super::requests::{self, ImageRequest, MOST};
use crate::engine::keeper;
use crate::engine::root::image_mount;
use crate::error::{Context, Error, Result};
use crate::files;
use crate::layer::squashfs::{FileIdentity, OpenImage};
use crate::rootfs::fuse::confine;
use crate::sys::mount::{self, MountReach};
use crate::sys::namespace::Namespaces;
use crate::sys::process::{self, Child, Forked, Parentage};
use crate::sys::{fd, schedule, signal, title};
use crate::userns::{self, Base, Writer};

const READY: &str = "ready";

/// Starts a holder with the maps of `base`; returns a connection to it. The caller has the lock of `address`. Errors: no
/// user namespace can be made; its IDs cannot be mapped.
pub fn start(address: &HolderAddress, base: &Base) -> Result<OwnedFd> {
    let listener = address.listen().context(|| "cannot listen for clients of image servers")?;
    let started = start_with(address, base, &listener);
    started.inspect_err(|_| address.remove())
}

fn start_with(address: &HolderAddress, base: &Base, listener: &OwnedFd) -> Result<OwnedFd> {
    let (near, far) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .context(|| "cannot make a socket pair")?;
    let (answer, answering) = pipe()?;
    // The holder must not become a child of this process, which ends its children with the container.
    let adopts = process::adopts_orphans().context(|| "cannot look for orphans")?;
    process::leave_orphans().context(|| "cannot leave orphans")?;
    let ended = match process::fork().context(|| "cannot make a process") {
        Ok(Forked::Child) => {
            drop((near, answer));
            let holder = HolderStart { address, base, listener, first: far, answering };
            holder.make_and_leave()
        }
        Ok(Forked::Parent(maker)) => {
            drop((far, answering));
            let mut text = String::new();
            let read = std::fs::File::from(answer).read_to_string(&mut text);
            let waited = maker.wait();
            read.context(|| "cannot read of the holder").map(|_| (text, waited))
        }
        Err(error) => Err(error),
    };
    if adopts {
        process::adopt_orphans().context(|| "cannot adopt orphans")?;
    }
    let (text, waited) = ended?;
    waited.context(|| "cannot wait for a process")?;
    match text.as_str() {
        READY => Ok(near),
        text => Err(serde_json::from_str(text)
            .unwrap_or_else(|_| Error::new("the holder of images died as it began"))),
    }
}

/// Input of a new holder.
struct HolderStart<'a> {
    address: &'a HolderAddress,
    base: &'a Base,
    listener: &'a OwnedFd,
    first: OwnedFd,
    answering: OwnedFd,
}

impl HolderStart<'_> {
    /// Makes the holder, maps its IDs, and exits: the holder is then an orphan.
    fn make_and_leave(self) -> ! {
        let made = pipe().and_then(|pipe| {
            let made = process::clone(Namespaces::USER, Parentage::Ours);
            made.map(|made| (made, pipe)).map_err(userns::forbidden)
        });
        let mapped = match made {
            Ok((Forked::Child, (mapped, mapping))) => {
                drop(mapping);
                self.become_holder(&mapped)
            }
            Ok((Forked::Parent(holder), (_mapped, mapping))) => {
                let mapped = userns::write_maps(self.base, holder.pid);
                mapped.and_then(|()| {
                    let told = rustix::io::write(&mapping, &[1]);
                    told.map(drop).context(|| "cannot start the holder of images")
                })
            }
            Err(error) => Err(error),
        };
        if let Err(error) = mapped {
            fail(self.address, self.answering, &error)
        }
        process::exit_now(0)
    }

    fn become_holder(self, mapped: &OwnedFd) -> ! {
        let Self { address, base, listener, first, answering } = self;
        let prepared = prepare(
            base,
            mapped,
            &[listener.as_fd(), first.as_fd(), answering.as_fd(), address.folder().as_fd()],
        );
        match prepared.and_then(|()| Holder::new(address, listener, first)) {
            Ok(mut holder) => {
                // The launch that made it may be dead: others may be waiting at the socket.
                let _ = rustix::io::write(&answering, READY.as_bytes());
                drop(answering);
                holder.serve();
                process::exit_now(0)
            }
            Err(error) => fail(address, answering, &error),
        }
    }
}

/// Reports the failure of a start. The launch removes the socket; if it is dead, its lock is free.
fn fail(address: &HolderAddress, answering: OwnedFd, error: &Error) -> ! {
    let _ = files::write_json(answering, error);
    address.try_remove();
    process::exit_now(1)
}

/// Prepares the new process: IDs, session, descriptors, mount namespace.
fn prepare(base: &Base, mapped: &OwnedFd, needed: &[std::os::fd::BorrowedFd<'_>]) -> Result<()> {
    match base.writer {
        Writer::Itself => userns::write_own_maps(&base.maps).map_err(userns::forbidden)?,
        // End of file: the maps could not be written, which the maker reports.
        _ => match rustix::io::read(mapped, &mut [0]) {
            Ok(1) => {}
            _ => process::exit_now(1),
        },
    }
    userns::become_root(base).context(|| "cannot become root of base")?;
    let _ = rustix::process::setsid(); // no signal of the terminal ends the holder
    signal::reset();
    title::set_without_caller("image holder");
    // The caller may be one rank of many, tied to its processor: the servers serve all of them.
    let _ = schedule::set_affinity(0..schedule::MOST_PROCESSORS);
    rustix::process::umask(Mode::from_raw_mode(0o077));
    fd::close_all_but(needed);
    keeper::replace_standard_streams_by_null(2);
    confine::enter_root_of_servers().context(|| "cannot leave the caller's file systems")
}

/// Image with a server.
struct HeldImage {
    identity: FileIdentity,
    offset: u64,
    /// Folder in the holder's root on which the image is mounted.
    place: String,
    mount: OwnedFd,
    server: Child,
}

impl HeldImage {
    /// Unmounts the image: its server ends with the last copy of the mount.
    fn end(self) -> Child {
        let _ = rustix::mount::unmount(&*self.place, UnmountFlags::DETACH);
        drop(self.mount);
        let _ = std::fs::remove_dir(&self.place);
        self.server
    }
}

/// Connected launch or keeper.
struct HolderClient {
    socket: OwnedFd,
    /// Places of its images.
    images: Vec<String>,
}

/// State of the holder.
struct Holder<'a> {
    address: &'a HolderAddress,
    listener: &'a OwnedFd,
    base: OwnedFd,
    clients: Vec<HolderClient>,
    images: Vec<HeldImage>,
    /// Servers of unmounted images.
    ending: Vec<Child>,
    count: u64,
}

/// Pause between two attempts to end, while a client connects.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

impl<'a> Holder<'a> {
    fn new(address: &'a HolderAddress, listener: &'a OwnedFd, first: OwnedFd) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let base = rustix::fs::open("/proc/self/ns/user", flags, Mode::empty());
        let base = base.context(|| "/proc/self/ns/user")?;
        let (clients, images, ending) = (Vec::new(), Vec::new(), Vec::new());
        let mut holder = Self { address, listener, base, clients, images, ending, count: 0 };
        fd::set_nonblocking(&first).context(|| "a socket of the holder")?;
        holder.greet(first);
        Ok(holder)
    }

    /// Serves until the last client has gone.
    fn serve(&mut self) {
        loop {
            if self.clients.is_empty() && self.address.try_remove() {
                return;
            }
            let Some((clients, servers)) = self.wait() else { continue };
            // From the last one on: a removal moves those behind it.
            for index in clients.into_iter().rev() {
                if self.hear(index).is_none() {
                    self.clients.swap_remove(index);
                }
            }
            if servers {
                self.reap();
            }
            self.end_unused();
            if let Ok(socket) = rustix::net::accept_with(
                self.listener,
                SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            ) && is_ours(&socket)
            {
                self.greet(socket);
            }
        }
    }

    /// Waits for an event. Returns the indices of the clients that have one, and whether a server has ended.
    fn wait(&self) -> Option<(Vec<usize>, bool)> {
        let servers = self.images.iter().map(|image| &image.server).chain(&self.ending);
        let all = [self.listener].into_iter().chain(self.clients.iter().map(|one| &one.socket));
        let all = all.chain(servers.map(|server| &server.pidfd));
        let mut fds: Vec<_> = all.map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        let limit = self.clients.is_empty().then_some(&PAUSE);
        poll(&mut fds, limit).ok()?;
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        let (clients, servers) = ready.get(1..)?.split_at_checked(self.clients.len())?;
        let clients = clients.iter().enumerate().filter(|(_, ready)| **ready);
        Some((clients.map(|(index, _)| index).collect(), servers.contains(&true)))
    }

    fn greet(&mut self, socket: OwnedFd) {
        if requests::send_descriptor(&socket, &self.base).is_ok() {
            self.clients.push(HolderClient { socket, images: Vec::new() });
        }
    }

    /// Answers a request of a client. `None`: the client has gone.
    fn hear(&mut self, index: usize) -> Option<()> {
        let client = &self.clients.get(index)?.socket;
        let mut room = vec![0; MOST];
        let (count, file) = fd::receive(client, &mut room).ok()?;
        let request = room.get(..count).filter(|bytes| !bytes.is_empty())?;
        let request = serde_json::from_slice::<ImageRequest>(request).ok()?;
        let held = self.hold(file?, request).and_then(|(place, mount)| {
            let copy = mount::copy(mount, std::path::Path::new(""), MountReach::Alone);
            Ok((place, copy.context(|| "cannot copy the mount of an image")?))
        });
        let client = self.clients.get_mut(index)?;
        match held {
            Ok((place, mount)) => {
                requests::send_descriptor(&client.socket, &mount).ok()?;
                client.images.push(place);
            }
            Err(error) => requests::send_failure(&client.socket, &error).ok()?,
        }
        Some(())
    }

    /// Returns the place and the mount of an image, whose server is started if there is none.
    fn hold(&mut self, file: OwnedFd, request: ImageRequest) -> Result<(String, &OwnedFd)> {
        let ImageRequest { offset, source } = request;
        let identity = FileIdentity::of(&file).context(|| "an image file")?;
        let is_same = |image: &HeldImage| (image.identity, image.offset) == (identity, offset);
        let index = match self.images.iter().position(is_same) {
            Some(index) => index,
            None => {
                let served = image_mount::serve(OpenImage { file, identity }, offset, source)?;
                let place = format!("/{}", self.count);
                self.count += 1;
                let attach = || -> std::io::Result<()> {
                    std::fs::create_dir(&place)?;
                    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                    let target = rustix::fs::open(&*place, flags, Mode::empty())?;
                    mount::attach(&served.mount, target)
                };
                attach().context(|| "cannot attach the mount of an image")?;
                let (mount, server) = (served.mount, served.server);
                self.images.push(HeldImage { identity, offset, place, mount, server });
                self.images.len() - 1
            }
        };
        let image = self.images.get(index).ok_or_else(|| Error::new("no image"))?;
        Ok((image.place.clone(), &image.mount))
    }

    /// Reaps servers that have ended. An image whose server died gets a new one at its next request.
    fn reap(&mut self) {
        let ended = |server: &Child| {
            let has_ended = server.has_ended();
            if has_ended {
                let _ = server.wait();
            }
            has_ended
        };
        self.ending.retain(|server| !ended(server));
        for image in self.images.extract_if(.., |image| ended(&image.server)) {
            let users = self.clients.iter().filter(|client| client.images.contains(&image.place));
            users.for_each(|client| requests::report_death(&client.socket));
            image.end();
        }
    }

    /// Unmounts the images without clients.
    fn end_unused(&mut self) {
        let clients = &self.clients;
        let is_used =
            |image: &HeldImage| clients.iter().any(|client| client.images.contains(&image.place));
        let unused = self.images.extract_if(.., |image| !is_used(image));
        self.ending.extend(unused.map(HeldImage::end));
    }
}

fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    pipe_with(PipeFlags::CLOEXEC).context(|| "cannot make a pipe")
}
