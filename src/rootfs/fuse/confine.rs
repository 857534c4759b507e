//! What the server can reach: its layers, by descriptors that it was given, and nothing else.

use std::path::Path;

use crate::error::{Context, Result};
use crate::sys::inroot::{self, Kind, Symlinks};
use crate::sys::mount::{self, Attributes, Propagation, Reach};
use crate::sys::namespace;
use rustix::fs::{Mode, OFlags};

/// Moves to a mount namespace of our own with nothing in it but `/proc`, through which descriptors are named, and
/// `/dev/fuse`, of which each thread opens one.
pub fn enter_empty_root() -> Result<()> {
    namespace::unshare_mounts().context(|| "a mount namespace")?;
    let folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let old = rustix::fs::open("/", folder, Mode::empty())?;
    // What is mounted from here on is not seen outside, and the other way round.
    mount::set_propagation(&old, Propagation::Private, Reach::Recursive)
        .context(|| "private mounts")?;
    let options = [("mode".to_owned(), Some("0755".to_owned()))];
    let root = mount::make("tmpfs", "usnea", &options, Attributes::NONE)
        .context(|| "an empty file system")?;
    let proc =
        mount::copy(rustix::fs::CWD, Path::new("/proc"), Reach::Recursive).context(|| "/proc")?;
    let fuse = mount::copy(rustix::fs::CWD, Path::new("/dev/fuse"), Reach::Alone)
        .context(|| "/dev/fuse")?;
    mount::attach(&root, &old).context(|| "the root")?;
    for (source, place, kind) in [(proc, "/proc", Kind::Directory), (fuse, "/dev/fuse", Kind::File)]
    {
        use std::os::fd::AsFd;
        let place = inroot::mount_point(root.as_fd(), Path::new(place), kind, Symlinks::Refuse)?;
        mount::attach(&source, &place)?;
    }
    rustix::process::fchdir(&root)?;
    mount::pivot_root_here().context(|| "pivot_root")?;
    Ok(())
}
