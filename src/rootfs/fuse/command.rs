//! The overlay as a command: mounts by itself where the caller may mount, else by fusermount3. In the foreground
//! SIGINT, SIGTERM and SIGHUP unmount the overlay: no mount without a server remains.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::mount::{self, Life, Served};
use super::options::OverlayOptions;
use super::tree::OverlayLayers;
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

/// Mounts an overlay on `target` with the options in `texts`; returns the exit status. Errors: invalid options, a
/// folder, the mount.
pub fn run(texts: &[String], target: &Path, ground: Ground) -> Result<u8> {
    let options = OverlayOptions::parse(texts).context(|| "cannot mount an overlay")?;
    let layers = open_layers(&options)?;
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
    let options_of_server = mount::ServerOptions {
        rules: options.rules.clone(),
        attributes: options.attributes,
        source: options.source.clone().unwrap_or_else(|| "overlay".into()),
        flags: options.flags.clone(),
        idmap,
        life,
        log,
    };
    let (server, by) = match namespace::can_mount() {
        true => {
            let Served { mount, server } = mount::start(layers, options_of_server)?;
            sys_mount::attach(&mount, &place)
                .context(|| format!("cannot mount on {}", target.display()))?;
            (server, Mounter::Ourselves)
        }
        false if options_of_server.idmap.is_some() => {
            fail!(Refused: "IDs can be mapped only where we may mount")
        }
        false => {
            outside(&target, &options)?;
            let device = by_fusermount(&target, &options, &options_of_server.source)?;
            let server = mount::serve(device, layers, options_of_server).inspect_err(|_| {
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
            log::warn!("the overlay is in use: it ends with its last user, or at the next signal");
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

/// Opens a layer, which must be readable.
fn layer(path: &Path) -> Result<OwnedFd> {
    open_folder(path, OFlags::RDONLY)
}

fn open_folder(path: &Path, access: OFlags) -> Result<OwnedFd> {
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

fn open_layers(options: &OverlayOptions) -> Result<OverlayLayers> {
    let lowers = options.lowers.iter().map(|path| layer(path)).collect::<Result<Vec<_>>>()?;
    let upper = match (&options.upper, &options.work) {
        (Some(upper), Some(work)) => {
            let opened = (layer(upper)?, layer(work)?);
            apart(upper, work, &options.lowers)?;
            Some(opened)
        }
        _ => None,
    };
    Ok(OverlayLayers { lowers, upper })
}

fn real(path: &Path) -> Result<PathBuf> {
    path.canonicalize().context(|| format!("cannot open {}", path.display()))
}

/// Refuses overlaps of upper and work with each other or with a lower layer: writes would change lower files.
fn apart(upper: &Path, work: &Path, lowers: &[PathBuf]) -> Result<()> {
    let written = [real(upper)?, real(work)?];
    let overlap = |a: &Path, b: &Path| a.starts_with(b) || b.starts_with(a);
    if overlap(&written[0], &written[1]) {
        fail!(Invalid: "upperdir {} and workdir {} overlap", upper.display(), work.display());
    }
    for lower in lowers {
        let lower = real(lower)?;
        if let Some(other) = written.iter().find(|other| overlap(other, &lower)) {
            fail!(Invalid: "lowerdir {} and {} overlap", lower.display(), other.display());
        }
    }
    Ok(())
}

/// Refuses a target inside a layer where the layers are not in the server's own mounts: the server would wait for its
/// own answers.
fn outside(target: &Path, options: &OverlayOptions) -> Result<()> {
    for layer in options.lowers.iter().chain(&options.upper).chain(&options.work) {
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
fn by_fusermount(target: &Path, options: &OverlayOptions, source: &str) -> Result<OwnedFd> {
    let (near, far) =
        socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .context(|| "cannot make a socket")?;
    fd::set_at_exec(far.as_raw_fd(), fd::AtExec::Keep)?;
    // fusermount3 takes a `\` before a comma in a name, as the options of this overlay do.
    let source = format!("fsname={}", source.replace('\\', r"\\").replace(',', r"\,"));
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
