//! A FUSE mount as a command: mounts by itself where the caller may mount, else by fusermount3. In the foreground SIGINT,
//! SIGTERM and SIGHUP unmount the file system: no mount without a server remains.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::content::FuseContent;
use super::mount::{self, Life, Served};
use super::mount_options::GenericOptions;
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::hint;
use crate::sys::mount as sys_mount;
use crate::sys::process::Child;
use crate::sys::signal::Signals;
use crate::sys::{fd, namespace};

/// Time that the command stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// Until the mount is gone.
    Fore,
    /// Until the mount is ready.
    Back,
}

/// Wishes for a mount, beside its content.
pub struct MountRequest<'a> {
    /// Mount point.
    pub target: &'a Path,
    /// Time that the command stays.
    pub ground: Ground,
    /// Options of any mount.
    pub options: GenericOptions,
    /// Source of the mount in /proc/self/mounts, where the options name none.
    pub source: &'a str,
    /// Folders that the server reads by their names in the caller's mount namespace, where it has no other.
    pub folders: Vec<&'a Path>,
}

/// Mounts `content`; returns the exit status. Errors: the mount point, the content, the mount.
pub fn run(content: impl FuseContent, request: MountRequest<'_>) -> Result<u8> {
    let MountRequest { target, ground, options, source, folders } = request;
    let place = open_folder(target, OFlags::PATH)?;
    let target = real(target)?;
    let idmap = options.idmap.as_deref().map(namespace_at).transpose()?;
    // Before the mount: from its first moment on a signal unmounts it.
    let signals = match ground {
        Ground::Fore => Some(
            Signals::block(&[libc::SIGINT, libc::SIGTERM, libc::SIGHUP])
                .context(|| "cannot wait for signals")?,
        ),
        Ground::Back => None,
    };
    let (log, life) = match ground {
        Ground::Fore => (Some(std::io::stderr().as_fd().try_clone_to_owned()?), Life::Parents),
        Ground::Back => (None, Life::Own),
    };
    let GenericOptions { attributes, flags, source: named, .. } = options;
    let source = named.unwrap_or_else(|| source.to_owned());
    let options =
        mount::ServerOptions { attributes, source, flags, idmap, life, log, namespace: None };
    let (server, by) = match namespace::can_mount() {
        true => {
            let Served { mount, server } = mount::start(content, options)?;
            sys_mount::attach(&mount, &place)
                .context(|| format!("cannot mount on {}", target.display()))?;
            (server, Mounter::Ourselves)
        }
        false if options.idmap.is_some() => {
            fail!(Refused: "IDs can be mapped only where we may mount")
        }
        false => {
            outside(&target, &folders)?;
            let device = by_fusermount(&target, &options)?;
            let server = mount::serve(device, content, options).inspect_err(|_| {
                // A mount without a server answers no caller.
                let _ = unmount(&target, Mounter::Fusermount, UnmountMode::Later);
            });
            (server?, Mounter::Fusermount)
        }
    };
    drop(place);
    match signals {
        Some(signals) => stay(&server, &signals, |manner| unmount(&target, by, manner)),
        None => Ok(0),
    }
}

/// Mounter, which also unmounts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mounter {
    Ourselves,
    Fusermount,
}

/// Manner of unmounting.
#[derive(Clone, Copy, PartialEq, Eq)]
enum UnmountMode {
    /// Unmount; fails while a process uses the mount.
    Now,
    /// Detach the name at once, and the mount when its last user has gone.
    Later,
}

/// Waits for the end of the mount. The first signal unmounts, a second one ends the server in spite of its users.
fn stay(
    server: &Child,
    signals: &Signals,
    unmount: impl Fn(UnmountMode) -> std::io::Result<()>,
) -> Result<u8> {
    let mut unmounted = false;
    loop {
        let mut fds = [server.pidfd.as_fd(), signals.as_fd()]
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        match poll(&mut fds, None) {
            Err(Errno::INTR) => continue,
            answer => answer.context(|| "cannot wait for the FUSE server")?,
        };
        if !fds[0].revents().is_empty() {
            break;
        }
        let Some(signal) = signals.next().context(|| "cannot read signals")? else { continue };
        if unmounted {
            let _ = server.signal(libc::SIGKILL);
            let _ = server.wait();
            return Ok(128 + signal as u8);
        }
        if unmount(UnmountMode::Now).is_err() {
            unmount(UnmountMode::Later).context(|| "cannot unmount")?;
            log::warn!(
                "the file system is in use: it ends with its last user, or at the next signal"
            );
        }
        unmounted = true;
    }
    match server.wait().context(|| "cannot wait for the FUSE server")?.status() {
        0 => Ok(0),
        status => fail!("the FUSE server ended with status {status}"),
    }
}

fn unmount(target: &Path, by: Mounter, manner: UnmountMode) -> std::io::Result<()> {
    if by == Mounter::Ourselves {
        let flags = match manner {
            UnmountMode::Now => UnmountFlags::NOFOLLOW,
            UnmountMode::Later => UnmountFlags::NOFOLLOW | UnmountFlags::DETACH,
        };
        return Ok(rustix::mount::unmount(target, flags)?);
    }
    let flag = if manner == UnmountMode::Now { "-u" } else { "-uz" };
    let output = Command::new(FUSERMOUNT).args([flag, "--"]).arg(target).output()?;
    let message = || String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
    if output.status.success() { Ok(()) } else { Err(std::io::Error::other(message())) }
}

/// Opens a folder. Errors, in addition: a FUSE mount whose server has died.
pub fn open_folder(path: &Path, access: OFlags) -> Result<OwnedFd> {
    let flags = access | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // A folder in the kernel's cache opens without the server; statfs(2) needs the server.
    let opened = rustix::fs::open(path, flags, Mode::empty())
        .and_then(|fd| rustix::fs::fstatfs(&fd).map(|_| fd));
    match opened {
        // ECONNABORTED: the request was on its way to the server as the server died.
        Err(Errno::NOTCONN | Errno::CONNABORTED) => {
            Err(Error::new(format!("{} is a FUSE mount whose server has died", path.display()))
                .hint(match namespace::can_mount() {
                    true => format!("take it away: umount -l {}", path.display()),
                    false => format!("take it away: fusermount3 -uz {}", path.display()),
                }))
        }
        answer => answer.context(|| format!("cannot open {}", path.display())),
    }
}

fn namespace_at(path: &Path) -> Result<OwnedFd> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .context(|| format!("cannot open {}", path.display()))
}

/// Returns the path without links. Errors: realpath(3).
pub fn real(path: &Path) -> Result<PathBuf> {
    path.canonicalize().context(|| format!("cannot open {}", path.display()))
}

/// Refuses a target inside a layer where the layers are not in the server's own mounts: the server would wait for its
/// own answers.
fn outside(target: &Path, layers: &[&Path]) -> Result<()> {
    for layer in layers {
        let layer = real(layer)?;
        if target != layer && target.starts_with(&layer) {
            let error = format!("{} lies in the layer {}", target.display(), layer.display());
            return Err(Error::new(error).hint(hint::ANOTHER_MOUNT_POINT));
        }
    }
    Ok(())
}

const FUSERMOUNT: &str = "fusermount3";

/// Returns the device of a mount that fusermount3, which is setuid root, makes for an ordinary user (fusermount3(1)).
fn by_fusermount(target: &Path, options: &mount::ServerOptions) -> Result<OwnedFd> {
    let (near, far) =
        socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .context(|| "cannot make a socket")?;
    fd::set_at_exec(far.as_raw_fd(), fd::AtExec::Keep)?;
    // fusermount3 takes a `\` before a comma in a name, as our own options do.
    let source = format!("fsname={}", options.source.replace('\\', r"\\").replace(',', r"\,"));
    let mut words = vec![&*source, "subtype=usnea", "default_permissions"];
    words.extend(options.flags.iter().map(String::as_str));
    let attributes = options.attributes.options();
    words.extend(attributes.split(',').filter(|word| !word.is_empty()));
    let output = Command::new(FUSERMOUNT)
        .args(["-o", &words.join(","), "--"])
        .arg(target)
        .env("_FUSE_COMMFD", far.as_raw_fd().to_string())
        .stdin(Stdio::null())
        .output();
    drop(far);
    let output = output.map_err(|error| Error::from(error).hint(hint::MOUNT_IN_NAMESPACE));
    let output = output.context(|| "we may not mount here, and cannot run fusermount3")?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        let message = message.lines().next().unwrap_or("it said nothing");
        let message = message.strip_prefix("fusermount3: ").unwrap_or(message);
        fail!("cannot mount on {}: fusermount3: {message}", target.display());
    }
    match fd::receive(&near, &mut [0]).context(|| "cannot hear fusermount3")? {
        (_, Some(device)) => Ok(device),
        _ => fail!("fusermount3 gave no device"),
    }
}
