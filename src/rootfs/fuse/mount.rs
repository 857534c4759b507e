//! FUSE mount of a content, and the process that serves it.
//!
//! ```text
//!  caller (one thread)                       server (a process of its own)
//!    open /dev/fuse, fsopen, fsconfig, fsmount
//!    fork ------------------------------------> own session, own mount namespace, empty root
//!                                              opens the content, answers FUSE_INIT
//!    <------------------------------- "ready" or why not: a caller of `start` waits for it
//!    the mount, detached                       threads; leaves when the mount is no more
//! ```
//!
//! The device is opened inside the user namespace of the mount: the kernel refuses a device from another namespace. The
//! server's own mount namespace never holds the mount: otherwise the server would keep it alive for ever.

use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use fuser::{Config, Filesystem, Session, SessionACL};
use rustix::fs::{Mode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};

use super::confine;
use super::content::{FuseContent, Mover, OpenContent, ServerLimits};
use super::reply::panic_is_caught;
use crate::error::{Context, Error, Result};
use crate::files;
use crate::host;
use crate::layer::squashfs::AHEAD_THREAD;
use crate::sys::mount::{self, Attributes};
use crate::sys::namespace;
use crate::sys::process::{self, Child, Forked};
use crate::sys::{fd, title};

/// Options of a FUSE mount.
#[derive(Debug, Default)]
pub struct ServerOptions {
    /// Attributes of the mount.
    pub attributes: Attributes,
    /// Source of the mount, as shown in /proc/self/mounts.
    pub source: String,
    /// Flags of the file system as a whole (`sync`, `ro`).
    pub flags: Vec<String>,
    /// User namespace whose map moves the shown IDs (kernel 6.12).
    pub idmap: Option<OwnedFd>,
    /// Lifetime of the server, besides the end of the mount.
    pub life: Life,
    /// Mount namespace for a server of open files; `None`: the server makes one.
    pub namespace: Option<OwnedFd>,
    /// Destination of the server's log; `None`: /dev/null.
    pub log: Option<OwnedFd>,
}

/// Lifetime of a server, besides the end of the mount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Life {
    /// Independent: the process that started the server may end.
    #[default]
    Own,
    /// Ends with the process that started the server.
    Parents,
}

/// Running server of a mount.
#[derive(Debug)]
pub struct Served {
    /// Mount, detached.
    pub mount: OwnedFd,
    /// Server, a child of the caller. The server exits with status 0 when the last mount of its file system is gone.
    pub server: Child,
}

/// Mount whose server may still be opening its content: until it serves, users of the mount wait.
#[derive(Debug)]
pub struct Begun {
    /// Mount, detached.
    pub mount: OwnedFd,
    /// Server, a child of the caller.
    pub server: Child,
    /// Report of the server.
    pub report: ServerReport,
}

/// Report of a new server, which is sent once: the server serves, or has failed.
#[derive(Debug)]
pub struct ServerReport(OwnedFd);

impl ServerReport {
    /// Pipe that is readable once the report is there.
    pub fn fd(&self) -> &OwnedFd {
        &self.0
    }

    /// Waits for the report. Errors: the server's own, which then ends by itself; its death.
    pub fn receive(self) -> Result<()> {
        let mut answer = String::new();
        let read = std::fs::File::from(self.0).read_to_string(&mut answer);
        match read.is_ok() && answer == READY {
            true => Ok(()),
            false => Err(serde_json::from_str(&answer).unwrap_or_else(|_| server_died())),
        }
    }
}

/// Starts a server in the current user namespace, and waits until it serves. The caller needs CAP_SYS_ADMIN there, and a
/// single thread. Errors: no /dev/fuse, the kernel refuses the mount, the content cannot be read.
pub fn start(content: impl FuseContent, mut options: ServerOptions) -> Result<Served> {
    let idmap = options.idmap.take();
    let mover = if idmap.is_some() { Mover::Kernel } else { Mover::Server };
    let Begun { mount, server, report } = begin_with(content, options, mover)?;
    let server = serving(server, report)?;
    if let Some(namespace) = idmap {
        mount::idmap(&mount, namespace)
            .context(|| "cannot map the IDs of a FUSE mount")
            .hint(|| "kernels from 6.12 on can; uidmapping= and gidmapping= do without")?;
    }
    Ok(Served { mount, server })
}

/// Starts a server as [`start`] does, without waiting for its report. Errors: no /dev/fuse, the kernel refuses the mount.
pub fn begin(content: impl FuseContent, options: ServerOptions) -> Result<Begun> {
    begin_with(content, options, Mover::Server)
}

fn begin_with(content: impl FuseContent, options: ServerOptions, mover: Mover) -> Result<Begun> {
    let device = open_device()?;
    let mount = detached(&device, &options).context(|| "cannot make a FUSE mount")?;
    let ServerOptions { life, namespace, log, .. } = options;
    let home = namespace.map_or(Home::Own, Home::Prepared);
    let (server, report) = fork_server(ServerStart { device, content, log, life, home, mover })?;
    Ok(Begun { mount, server, report })
}

/// Returns a server that serves. Reaps one that has failed.
fn serving(server: Child, report: ServerReport) -> Result<Child> {
    report.receive().inspect_err(|_| drop(server.wait()))?;
    Ok(server)
}

/// Serves a mount that another program made (fusermount3), through its device.
pub fn serve(device: OwnedFd, content: impl FuseContent, options: ServerOptions) -> Result<Child> {
    let ServerOptions { life, log, .. } = options;
    let (home, mover) = (Home::Callers, Mover::Server);
    let (server, report) = fork_server(ServerStart { device, content, log, life, home, mover })?;
    serving(server, report)
}

fn open_device() -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    rustix::fs::open("/dev/fuse", flags, Mode::empty())
        .map_err(|error| {
            Error::from(error).hint("the administrator loads the kernel's module 'fuse'")
        })
        .context(|| "cannot open /dev/fuse")
}

fn detached(device: &OwnedFd, options: &ServerOptions) -> Result<OwnedFd> {
    let text = |name: &str, value: &str| (name.to_owned(), Some(value.to_owned()));
    let flag = |name: &str| (name.to_owned(), None);
    let mut options_of_fuse = vec![
        // A string: fsconfig(2) takes a descriptor as such for other parameters only.
        text("fd", &device.as_raw_fd().to_string()),
        text("rootmode", "40000"),
        // IDs that are mapped here: root is not, where a single ID is shown as the user's own.
        text("user_id", &rustix::process::geteuid().as_raw().to_string()),
        text("group_id", &rustix::process::getegid().as_raw().to_string()),
        text("subtype", "usnea"),
        flag("allow_other"),
        // The kernel checks permissions, as it does for its own file systems.
        flag("default_permissions"),
    ];
    options_of_fuse.extend(options.flags.iter().map(|name| flag(name)));
    Ok(mount::make("fuse", &options.source, &options_of_fuse, options.attributes)?)
}

/// Mount namespace of the server.
enum Home {
    /// New mount namespace, with an empty root.
    Own,
    /// Mount namespace that the caller has prepared for servers of open files.
    Prepared(OwnedFd),
    /// The caller's: a caller without powers has no other.
    Callers,
}

/// Input of a new server.
struct ServerStart<C> {
    device: OwnedFd,
    content: C,
    log: Option<OwnedFd>,
    life: Life,
    home: Home,
    mover: Mover,
}

fn fork_server<C: FuseContent>(start: ServerStart<C>) -> Result<(Child, ServerReport)> {
    let (near, far) = pipe_with(PipeFlags::CLOEXEC).context(|| "cannot make a pipe")?;
    match process::fork().context(|| "cannot make a process for the FUSE server")? {
        Forked::Parent(server) => Ok((server, ServerReport(near))),
        Forked::Child => {
            drop(near);
            let status = match become_server(start, &far) {
                Ok(session) => {
                    let announced = (&std::fs::File::from(far)).write_all(READY.as_bytes());
                    announced.and_then(|()| serve_to_end(session)).map_or(1, |()| 0)
                }
                Err(error) => {
                    let _ = files::write_json(far, &error);
                    1
                }
            };
            process::exit_now(status)
        }
    }
}

const READY: &str = "ready";

/// Serves until the mount is gone. A thread that is about to read its next request then gets ECONNABORTED, not the
/// ENODEV that fuser expects.
fn serve_to_end(session: Session<impl Filesystem>) -> std::io::Result<()> {
    match session.run() {
        Err(error) if error.raw_os_error() == Some(libc::ECONNABORTED) => Ok(()),
        answer => answer,
    }
}

/// Sets up the new process, up to its first thread. The session has answered FUSE_INIT.
fn become_server<C: FuseContent>(
    start: ServerStart<C>,
    answer: &OwnedFd,
) -> Result<Session<C::Server>> {
    let ServerStart { device, mut content, log, life, home, mover } = start;
    content.prepare(); // while /proc is visible
    if life == Life::Parents {
        process::set_parent_death_signal(libc::SIGTERM)
            .context(|| "cannot ask for the parent's death")?;
        // The parent has blocked signals to wait for them; in the server they must have their usual effect.
        let _ = nix::sys::signal::SigSet::empty().thread_set_mask();
    }
    title::set("file server");
    let _ = rustix::process::setsid(); // no signal of the terminal ends the server
    let threads = threads();
    match home {
        Home::Own => {
            let mounts = content.take_mounts();
            let mut open = content.descriptors();
            open.extend(mounts.iter().map(AsFd::as_fd));
            close_others(&device, open, answer, log)?;
            confine::enter_empty_root(&mounts, content.reach())
                .context(|| "cannot leave the caller's file systems")?;
        }
        Home::Prepared(namespace) => {
            let mut open = content.descriptors();
            open.push(namespace.as_fd());
            close_others(&device, open, answer, log)?;
            namespace::enter(namespace.as_fd())
                .context(|| "cannot leave the caller's file systems")?;
        }
        Home::Callers => close_others(&device, content.descriptors(), answer, log)?,
    }
    let open_files = raise_file_limit();
    rustix::process::umask(Mode::empty()); // modes arrive complete from the kernel
    end_at_panics_that_nobody_answers();
    confine::restrict(content.reach()).context(|| "cannot confine the FUSE server")?;
    let OpenContent { server, connect } = content.open(ServerLimits { open_files, mover })?;
    let mut config = Config::default();
    config.acl = SessionACL::All; // the kernel's default_permissions decide
    config.n_threads = Some(threads);
    config.clone_fd = true;
    let session = Session::from_fd(server, device, SessionACL::All, config)
        .context(|| "the kernel's FUSE does not answer")?;
    connect(session.notifier());
    Ok(session)
}

/// Closes the caller's descriptors: an open mount would keep the mount alive, a pipe its reader waiting.
fn close_others<'a>(
    device: &'a OwnedFd,
    mut open: Vec<BorrowedFd<'a>>,
    answer: &'a OwnedFd,
    log: Option<OwnedFd>,
) -> Result<()> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let null =
        rustix::fs::open("/dev/null", flags, Mode::empty()).context(|| "cannot open /dev/null")?;
    fd::install(null.as_fd(), 0)?;
    fd::install(null.as_fd(), 1)?;
    fd::install(log.as_ref().unwrap_or(&null).as_fd(), 2)?;
    open.extend([device.as_fd(), answer.as_fd()]);
    // `close_all_but` closes these descriptors by number: their owners must not close a later file of the same number.
    std::mem::forget((null, log));
    fd::close_all_but(&open);
    Ok(())
}

/// Returns the number of serving threads: enough for readers beside a slow copy-up.
fn threads() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    processors.clamp(2, 8)
}

fn raise_file_limit() -> u64 {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 256 };
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    }
}

/// Ends the process at a panic outside an operation. Such a panic in a thread of fuser's would leave its request
/// unanswered for ever. The end of the process is an answer: ENOTCONN. No request waits for a thread that reads ahead.
fn end_at_panics_that_nobody_answers() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        default(panic);
        let reads_ahead = std::thread::current().name() == Some(AHEAD_THREAD);
        if !panic_is_caught() && !reads_ahead {
            process::exit_now(70)
        }
    }));
}

fn server_died() -> Error {
    let error = Error::new("the FUSE server died as it began");
    match host::limits::of_memory() {
        Some(hint) => error.hint(hint),
        None => error,
    }
}
