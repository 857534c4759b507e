//! Files of a container that are made in memory and mounted, `/etc/hosts` for one: they are in no layer, can be written to,
//! and are gone with the container.

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, Timespec, Timestamps};

use super::target;
use super::trouble::{Done, On, Trouble};
use crate::error::Error;
use crate::net::{File, Need};
use crate::sys::inroot::{self, Kind, Symlinks};
use crate::sys::mount::{self, Attributes, Reach};

/// Mounts them in `root`, which is the current folder. A kernel before 6.15 copies no mount that has no place (open_tree(2)):
/// so the file system that they are in lies over the root meanwhile, which nobody else sees.
pub fn mount(files: &[File], root: &OwnedFd, dev: Option<&OwnedFd>) -> Done {
    let attributes = Attributes::NO_SUID.with(Attributes::NO_DEV).with(Attributes::NO_EXEC);
    let options = [("mode".into(), Some("755".into())), ("size".into(), Some("1m".into()))];
    let memory = mount::make("tmpfs", "tmpfs", &options, attributes)?;
    mount::attach(&memory, root)?;
    let copies = files.iter().enumerate().map(|(number, file)| {
        let name = number.to_string();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let made = rustix::fs::openat(&memory, &name, flags, Mode::from_raw_mode(0o644));
        let written =
            std::fs::File::from(made.on(|| file.path)?).write_all(file.content.as_bytes());
        written.on(|| file.path)?;
        mount::copy(&memory, Path::new(&name), Reach::Alone).on(|| file.path)
    });
    let copies = copies.collect::<Done<Vec<OwnedFd>>>();
    rustix::process::fchdir(&memory)?;
    mount::detach_here()?;
    rustix::process::fchdir(root)?;
    for (file, copy) in files.iter().zip(copies?) {
        match place_of(file, root, dev) {
            Err(trouble) if file.need == Need::Customary => {
                log::debug!("{} is the root's own: {}", file.path, Error::from(trouble));
            }
            target => mount::attach(&copy, target?).on(|| file.path)?,
        }
    }
    Ok(())
}

fn place_of(file: &File, root: &OwnedFd, dev: Option<&OwnedFd>) -> Done<OwnedFd> {
    let path = Path::new(file.path);
    let target = place(root, path).on(|| file.path)?;
    target::check(&target, path, root, dev).map_err(|trouble| match trouble.what.is_empty() {
        true => Trouble { what: file.path.to_owned(), ..trouble },
        false => Trouble { what: format!("{}: {}", file.path, trouble.what), ..trouble },
    })?;
    Ok(target)
}

/// The place of a file in the root, made where it is missing. Its folder keeps its time: a container that changed nothing is
/// to have no changes.
fn place(root: &OwnedFd, path: &Path) -> io::Result<OwnedFd> {
    let folder = path.parent().unwrap_or(path);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let missing = inroot::open(root, path, OFlags::PATH, Symlinks::Follow).is_err();
    let folder =
        missing.then(|| inroot::open(root, folder, flags, Symlinks::Follow).ok()).flatten();
    let before = folder.as_ref().map(rustix::fs::fstat).transpose()?;
    let place = inroot::mount_point(root.as_fd(), path, Kind::File, Symlinks::Follow)?;
    if let (Some(folder), Some(stat)) = (folder, before) {
        let time = |tv_sec, tv_nsec: u64| Timespec { tv_sec, tv_nsec: tv_nsec as _ };
        let times = Timestamps {
            last_access: time(stat.st_atime, stat.st_atime_nsec),
            last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
        };
        // A folder of somebody else keeps the new time.
        let _ = rustix::fs::futimens(folder, &times);
    }
    Ok(place)
}
