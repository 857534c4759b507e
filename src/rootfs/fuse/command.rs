//! The overlay as a command by itself: by a mount of our own where we may mount, else by fusermount3.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::mount::{self, Life, Served};
use super::options::Options;
use super::tree::Layers;
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::sys::mount as sys_mount;
use crate::sys::process::Child;
use crate::sys::{fd, namespace};

/// Whether the command stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// Until the mount is gone.
    Fore,
    /// Only until it is ready.
    Back,
}

/// Mounts an overlay on `target` as the options say; the exit status. Errors: the options, a folder, the mount.
pub fn run(texts: &[String], target: &Path, ground: Ground) -> Result<u8> {
    let options = Options::parse(texts).context(|| "cannot mount an overlay")?;
    let layers = open_layers(&options)?;
    let place = folder(target)?;
    let idmap = options.idmap.as_deref().map(namespace_at).transpose()?;
    let (log, life) = match ground {
        Ground::Fore => (Some(std::io::stderr().as_fd().try_clone_to_owned()?), Life::Parents),
        Ground::Back => (None, Life::Own),
    };
    let how = mount::Options {
        reading: options.reading,
        attributes: options.attributes,
        source: "overlay".into(),
        idmap,
        life,
        log,
    };
    let server = match namespace::can_mount() {
        true => {
            let Served { mount, server } = mount::start(layers, how)?;
            sys_mount::attach(&mount, &place)
                .context(|| format!("cannot mount on {}", target.display()))?;
            server
        }
        false if how.idmap.is_some() => fail!("IDs can be mapped only where we may mount"),
        false => mount::serve(by_fusermount(target, options.attributes)?, layers, how)?,
    };
    drop(place);
    match ground {
        Ground::Fore => stay(&server),
        Ground::Back => Ok(0),
    }
}

fn stay(server: &Child) -> Result<u8> {
    match server.wait().context(|| "cannot wait for the FUSE server")?.status() {
        0 => Ok(0),
        status => fail!("the FUSE server ended with status {status}"),
    }
}

fn folder(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
        .context(|| format!("cannot open {}", path.display()))
}

fn namespace_at(path: &Path) -> Result<OwnedFd> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .context(|| format!("cannot open {}", path.display()))
}

fn open_layers(options: &Options) -> Result<Layers> {
    let lowers = options.lowers.iter().map(|path| folder(path)).collect::<Result<Vec<_>>>()?;
    let upper = match (&options.upper, &options.work) {
        (Some(upper), Some(work)) => {
            apart(upper, work, &options.lowers)?;
            Some((folder(upper)?, folder(work)?))
        }
        _ => None,
    };
    Ok(Layers { lowers, upper })
}

/// Upper and work must not hold each other or a lower layer, or be held: what is written would change what is read.
fn apart(upper: &Path, work: &Path, lowers: &[std::path::PathBuf]) -> Result<()> {
    let real =
        |path: &Path| path.canonicalize().context(|| format!("cannot open {}", path.display()));
    let written = [real(upper)?, real(work)?];
    let overlap = |a: &Path, b: &Path| a.starts_with(b) || b.starts_with(a);
    if overlap(&written[0], &written[1]) {
        fail!("upperdir {} and workdir {} overlap", upper.display(), work.display());
    }
    for lower in lowers {
        let lower = real(lower)?;
        if let Some(other) = written.iter().find(|other| overlap(other, &lower)) {
            fail!("lowerdir {} and {} overlap", lower.display(), other.display());
        }
    }
    Ok(())
}

/// The device of a mount that fusermount3, which is setuid root, makes for an ordinary user (fusermount3(1)).
fn by_fusermount(target: &Path, attributes: sys_mount::Attributes) -> Result<OwnedFd> {
    let (near, far) =
        socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .context(|| "cannot make a socket")?;
    fd::set_close_at_exec(far.as_raw_fd(), false)?;
    let mut words = vec!["fsname=overlay", "subtype=usnea", "default_permissions"];
    let attributes = attributes.options();
    words.extend(attributes.split(',').filter(|word| !word.is_empty()));
    let output = Command::new("fusermount3")
        .args(["-o", &words.join(","), "--"])
        .arg(target)
        .env("_FUSE_COMMFD", far.as_raw_fd().to_string())
        .stdin(Stdio::null())
        .output();
    drop(far);
    let output = output.map_err(|error| {
        Error::from(error).hint(
            "run it inside of a user namespace (unshare --user --map-root-user --mount), or install fuse3",
        )
    });
    let output = output.context(|| "we may not mount here, and cannot run fusermount3")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().next().unwrap_or("it said nothing");
        let said = said.strip_prefix("fusermount3: ").unwrap_or(said);
        fail!("cannot mount on {}: fusermount3: {said}", target.display());
    }
    match fd::receive(&near, &mut [0]).context(|| "cannot hear fusermount3")? {
        (_, Some(device)) => Ok(device),
        _ => fail!("fusermount3 gave no device"),
    }
}
