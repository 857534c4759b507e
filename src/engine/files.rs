//! Files of a container that are made in memory and mounted, `/etc/hosts` for one: they are in no layer, can be written to,
//! and are gone with the container.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::trouble::{Done, On};
use crate::net::{File, Need};
use crate::sys::inroot::{self, Kind, Symlinks};
use crate::sys::mount::{self, Attributes, Reach};

/// Mounts them in `root`, which is the current folder. A kernel before 6.15 copies no mount that has no place (open_tree(2)):
/// so the file system that they are in lies over the root meanwhile, which nobody else sees.
pub fn mount(files: &[File], root: &OwnedFd) -> Done {
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
        let path = Path::new(file.path);
        match inroot::mount_point(root.as_fd(), path, Kind::File, Symlinks::Follow) {
            Err(error) if file.need == Need::Customary => {
                log::debug!("{} is the root's own: {error}", file.path);
            }
            target => mount::attach(&copy, target.on(|| file.path)?).on(|| file.path)?,
        }
    }
    Ok(())
}
