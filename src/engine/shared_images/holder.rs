//! Holder: the process that owns the base and the mounts of shared images. It starts no thread, reads no image, and has
//! no file but its socket and the images.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::mount::UnmountFlags;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};

use super::requests::{self, ImageRequest, MOST};
use crate::engine::holder_address::{HolderAddress, is_ours};
use crate::engine::keeper;
use crate::engine::orphan::{self, OrphanReport, StartingOrphan};
use crate::engine::root::image_mount;
use crate::error::{Context, Error, Result};
use crate::layer::squashfs::{FileIdentity, OpenImage};
use crate::rootfs::fuse::confine;
use crate::rootfs::fuse::mount::{Begun, ServerReport};
use crate::sys::mount::{self, MountReach};
use crate::sys::namespace::Namespaces;
use crate::sys::process::{self, Child, Forked, Parentage};
use crate::sys::{fd, schedule, signal, title};
use crate::userns::{self, Base, Writer};

/// New holder whose IDs may not be mapped yet.
#[derive(Debug)]
pub struct StartingHolder {
    address: HolderAddress,
    /// Keeps other launches from the socket until the holder serves or has failed.
    _lock: File,
    orphan: StartingOrphan,
}

impl StartingHolder {
    /// Waits until the holder has its IDs and serves. Errors: the IDs cannot be mapped; the holder cannot leave the
    /// caller's file systems.
    pub fn finish(self) -> Result<()> {
        self.orphan.finish().inspect_err(|_| self.address.remove())
    }
}

/// Starts a holder with the maps of `base`; returns a connection to it, over which its base comes at once. `lock`: that of
/// `address`. Errors: no process can be made.
pub fn start(address: HolderAddress, lock: File, base: &Base) -> Result<(OwnedFd, StartingHolder)> {
    let listener = address.listen().context(|| "cannot listen for clients of image servers")?;
    match begin(&address, base, &listener) {
        Ok((near, orphan)) => Ok((near, StartingHolder { address, _lock: lock, orphan })),
        Err(error) => {
            address.remove();
            Err(error)
        }
    }
}

fn begin(
    address: &HolderAddress,
    base: &Base,
    listener: &OwnedFd,
) -> Result<(OwnedFd, StartingOrphan)> {
    let (near, far) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .context(|| "cannot make a socket pair")?;
    let orphan = orphan::begin("the holder of images", |answering| {
        HolderStart { address, base, listener, first: far, answering }.make_and_leave()
    })?;
    Ok((near, orphan))
}

/// Input of a new holder.
struct HolderStart<'a> {
    address: &'a HolderAddress,
    base: &'a Base,
    listener: &'a OwnedFd,
    first: OwnedFd,
    answering: OrphanReport,
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
        let base = greet_first(&self.first).and_then(|base| {
            self.leave_caller(&[mapped.as_fd(), base.as_fd()]);
            enter_base(self.base, mapped)?;
            let servers = confine::enter_root_of_servers()
                .context(|| "cannot leave the caller's file systems")?;
            Ok((base, servers))
        });
        let Self { address, listener, first, answering, .. } = self;
        match base {
            Ok((base, servers)) => {
                let client = HolderClient { socket: first, images: Vec::new() };
                let mut holder = Holder::new(address, listener, HolderNamespaces { base, servers });
                holder.clients.push(client);
                // The launch that made it may be dead: others may be waiting at the socket.
                answering.ready();
                holder.serve();
                process::exit_now(0)
            }
            Err(error) => fail(address, answering, &error),
        }
    }

    /// Leaves session, signals, title, processors and descriptors of the caller: what needs no mapped ID.
    fn leave_caller(&self, needed: &[BorrowedFd<'_>]) {
        let _ = rustix::process::setsid(); // no signal of the terminal ends the holder
        signal::reset();
        title::set_without_caller("image holder");
        // The caller may be one rank of many, tied to its processor: the servers serve all of them.
        let _ = schedule::set_affinity(0..schedule::MOST_PROCESSORS);
        rustix::process::umask(Mode::from_raw_mode(0o077));
        let Self { address, listener, first, answering, .. } = self;
        let own = [listener.as_fd(), first.as_fd(), answering.as_fd(), address.folder().as_fd()];
        fd::close_all_but(&[needed, &own].concat());
        keeper::replace_standard_streams_by_null(2);
    }
}

/// Sends this process's user namespace, which has no IDs yet, to the launch that made the holder. Returns it.
fn greet_first(first: &OwnedFd) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let base = rustix::fs::open("/proc/self/ns/user", flags, Mode::empty());
    let base = base.context(|| "/proc/self/ns/user")?;
    fd::set_nonblocking(first).context(|| "a socket of the holder")?;
    // The launch may be dead already.
    let _ = requests::send_descriptor(first, &base);
    Ok(base)
}

/// Reports the failure of a start. The launch removes the socket; if it is dead, its lock is free.
fn fail(address: &HolderAddress, answering: OrphanReport, error: &Error) -> ! {
    answering.failed(error);
    address.try_remove(None);
    process::exit_now(1)
}

/// Gets the IDs of base, and becomes its first user.
fn enter_base(base: &Base, mapped: &OwnedFd) -> Result<()> {
    match base.writer {
        Writer::Itself => userns::write_own_maps(&base.maps).map_err(userns::forbidden)?,
        // End of file: the maps could not be written, which the maker reports.
        _ => match rustix::io::read(mapped, &mut [0]) {
            Ok(1) => {}
            _ => process::exit_now(1),
        },
    }
    userns::become_root(base).context(|| "cannot become root of base")
}

/// Image with a server.
struct HeldImage {
    identity: FileIdentity,
    offset: u64,
    /// Source of the mount.
    source: String,
    /// Folder in the holder's root on which the image is mounted.
    place: String,
    mount: OwnedFd,
    server: Child,
    /// Report of the server; `None`: the server serves.
    report: Option<ServerReport>,
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

/// Namespaces that outlive the launch which made the holder.
struct HolderNamespaces {
    base: OwnedFd,
    /// Mount namespace of the servers.
    servers: OwnedFd,
}

/// State of the holder.
struct Holder<'a> {
    address: &'a HolderAddress,
    listener: &'a OwnedFd,
    namespaces: HolderNamespaces,
    clients: Vec<HolderClient>,
    images: Vec<HeldImage>,
    /// Servers of unmounted images.
    ending: Vec<Child>,
    count: u64,
}

/// Events since the last wait.
struct HolderEvents {
    /// Indices of the clients that have sent a request or have ended.
    clients: Vec<usize>,
    /// Indices of the images whose servers have reported.
    reports: Vec<usize>,
    /// True if a server has ended.
    ended: bool,
}

/// Pause between two attempts to end, while a client connects.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

impl<'a> Holder<'a> {
    fn new(
        address: &'a HolderAddress,
        listener: &'a OwnedFd,
        namespaces: HolderNamespaces,
    ) -> Self {
        let (clients, images, ending) = (Vec::new(), Vec::new(), Vec::new());
        Self { address, listener, namespaces, clients, images, ending, count: 0 }
    }

    /// Serves until the last client has gone.
    fn serve(&mut self) {
        loop {
            if self.clients.is_empty() && self.address.try_remove(Some(self.listener)) {
                return;
            }
            let Some(events) = self.wait() else { continue };
            // From the last one on: a removal moves those behind it.
            for index in events.reports.into_iter().rev() {
                self.hear_server(index);
            }
            for index in events.clients.into_iter().rev() {
                if self.hear(index).is_none() {
                    self.clients.swap_remove(index);
                }
            }
            if events.ended {
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

    /// Waits for events.
    fn wait(&self) -> Option<HolderEvents> {
        let clients = self.clients.iter().map(|one| &one.socket);
        let reporting = self.images.iter().enumerate();
        let reporting: Vec<_> =
            reporting.filter_map(|(index, image)| Some((index, image.report.as_ref()?))).collect();
        let servers = self.images.iter().map(|image| &image.server).chain(&self.ending);
        let all = [self.listener].into_iter().chain(clients);
        let all = all.chain(reporting.iter().map(|(_, report)| report.fd()));
        let all = all.chain(servers.map(|server| &server.pidfd));
        let mut fds: Vec<_> = all.map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        let limit = self.clients.is_empty().then_some(&PAUSE);
        poll(&mut fds, limit).ok()?;
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        let (clients, rest) = ready.get(1..)?.split_at_checked(self.clients.len())?;
        let (reports, servers) = rest.split_at_checked(reporting.len())?;
        let clients = clients.iter().enumerate().filter(|(_, ready)| **ready);
        let reports = reporting.iter().zip(reports).filter(|(_, ready)| **ready);
        Some(HolderEvents {
            clients: clients.map(|(index, _)| index).collect(),
            reports: reports.map(|((index, _), _)| *index).collect(),
            ended: servers.contains(&true),
        })
    }

    fn greet(&mut self, socket: OwnedFd) {
        if requests::send_descriptor(&socket, &self.namespaces.base).is_ok() {
            self.clients.push(HolderClient { socket, images: Vec::new() });
        }
    }

    /// Passes the report of a new server on to the clients that have its mount. An image whose server has failed gets a
    /// new one at its next request.
    fn hear_server(&mut self, index: usize) {
        let Some(image) = self.images.get_mut(index) else { return };
        let Some(report) = image.report.take() else { return };
        let answer = report.receive().context(|| image_mount::cannot_mount(&image.source));
        for client in &self.clients {
            for _ in client.images.iter().filter(|place| **place == image.place) {
                let _ = match &answer {
                    Ok(()) => requests::report_service(&client.socket),
                    Err(error) => requests::send_failure(&client.socket, error),
                };
            }
        }
        if answer.is_err() {
            self.ending.push(self.images.remove(index).end());
        }
    }

    /// Answers a request of a client. `None`: the client has gone.
    fn hear(&mut self, index: usize) -> Option<()> {
        let client = &self.clients.get(index)?.socket;
        let mut room = vec![0; MOST];
        let (count, file) = fd::receive(client, &mut room).ok()?;
        let request = room.get(..count).filter(|bytes| !bytes.is_empty())?;
        let request = serde_json::from_slice::<ImageRequest>(request).ok()?;
        let held = self.hold(file?, request).and_then(|image| {
            let copy = mount::copy(&image.mount, std::path::Path::new(""), MountReach::Alone);
            let copy = copy.context(|| "cannot copy the mount of an image")?;
            Ok((image.place.clone(), copy, image.report.is_none()))
        });
        let client = self.clients.get_mut(index)?;
        match held {
            Ok((place, mount, serves)) => {
                requests::send_descriptor(&client.socket, &mount).ok()?;
                if serves {
                    requests::report_service(&client.socket).ok()?;
                }
                client.images.push(place);
            }
            Err(error) => requests::send_failure(&client.socket, &error).ok()?,
        }
        Some(())
    }

    /// Returns an image with a mount, whose server is started if there is none.
    fn hold(&mut self, file: OwnedFd, request: ImageRequest) -> Result<&HeldImage> {
        let ImageRequest { offset, source } = request;
        let identity = FileIdentity::of(&file).context(|| "an image file")?;
        let is_same = |image: &HeldImage| (image.identity, image.offset) == (identity, offset);
        let index = match self.images.iter().position(is_same) {
            Some(index) => index,
            None => {
                let held = self.begin(OpenImage { file, identity }, offset, &source);
                self.images.push(held.context(|| image_mount::cannot_mount(&source))?);
                self.images.len() - 1
            }
        };
        self.images.get(index).ok_or_else(|| Error::new("no image"))
    }

    /// Mounts an image, and starts its server.
    fn begin(&mut self, image: OpenImage, offset: u64, source: &str) -> Result<HeldImage> {
        let identity = image.identity;
        let namespace = self.namespaces.servers.try_clone()?;
        let begun = image_mount::begin(image, offset, source.to_owned(), namespace)?;
        let Begun { mount, server, report } = begun;
        let place = format!("/{}", self.count);
        self.count += 1;
        let attach = || -> std::io::Result<()> {
            std::fs::create_dir(&place)?;
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let target = rustix::fs::open(&*place, flags, Mode::empty())?;
            mount::attach(&mount, target)
        };
        attach().context(|| "cannot attach the mount of an image")?;
        let (source, report) = (source.to_owned(), Some(report));
        Ok(HeldImage { identity, offset, source, place, mount, server, report })
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
