//! Steps in the container's root, one method each: attach mounts, mask paths, open the terminal. The content of the
//! root is not trusted: every path is resolved inside that root (`inroot`).

use std::ffi::OsString;
use std::fmt::Write;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::engine::command::prepare;
use crate::engine::launch::child::SetupProcess;
use crate::engine::messages::ChildMessage;
use crate::engine::plan::mount::{MountSource, PlannedMount};
use crate::engine::plan::process::TerminalSize;
use crate::engine::root::{copyup, mount_target};
use crate::engine::step_error::{OnObject, StepError, StepResult};
use crate::hook_point::HookPoint;
use crate::sys::inode::PROC_SUPER_MAGIC;
use crate::sys::inroot::{self, MountPointKind, Symlinks};
use crate::sys::mount::{self, Attributes, MountReach};
use crate::sys::pty;

impl SetupProcess<'_> {
    /// Attaches the root onto "/" of this mount namespace: pivot_root(2) takes it from there.
    pub(super) fn enter_root(&mut self, mount: &PlannedMount) -> StepResult {
        let tree = self.trees[self.step].take().ok_or(io::Error::from_raw_os_error(libc::EBADF))?;
        let open =
            |path: &Path| rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        // createContainer hooks find the container's files at a path of the host, as with other runtimes.
        let hooks = &self.input.plan.hooks;
        let own_path = match hooks.has(HookPoint::CreateContainer) {
            true => open(hooks.root()).ok(),
            false => None,
        };
        let here = own_path.map_or_else(|| open(Path::new("/")), Ok)?;
        mount::attach(&tree, &here)?;
        if mount.attributes != Attributes::NONE {
            mount::set_attributes(&tree, mount.attributes, MountReach::Recursive)?;
        }
        rustix::process::fchdir(&tree)?;
        self.fds.root = Some(tree);
        Ok(())
    }

    pub(super) fn mount(&mut self, mount: &PlannedMount) -> StepResult {
        let target = self.target_of(mount)?;
        let tree = match self.trees[self.step].take() {
            Some(tree) => tree,
            None => self.make_tree(mount)?,
        };
        if mount.copy_up && mount.is_new("tmpfs") {
            copyup::fill_new(&target, &tree)?;
        }
        mount::attach(&tree, &target)?;
        if mount.cleared != Attributes::NONE {
            let name = || format!("clear {}", mount.cleared.options());
            mount::clear_attributes(&tree, mount.cleared).on(name)?;
        }
        // After the attaching: kernels before 5.12 change only mounts that are attached.
        let reach = match mount.source {
            MountSource::Bind(_, reach) => Some(reach),
            MountSource::Image(_) => Some(MountReach::Alone),
            _ => None,
        };
        if let Some(reach) = reach.filter(|_| mount.attributes != Attributes::NONE) {
            mount::set_attributes(&tree, mount.attributes, reach)
                .on(|| format!("set {}", mount.attributes.options()))?;
        }
        if let Some((propagation, reach)) = mount.propagation {
            mount::set_propagation(&tree, propagation, reach).on(|| "set the propagation")?;
        }
        match mount.target.to_str() {
            Some("/proc") => self.fds.proc = Some(tree),
            Some("/sys") => self.fds.sys = Some(tree),
            Some("/dev") => self.fds.dev = Some(tree),
            Some("/dev/null") => self.fds.null = Some(tree),
            Some("/dev/pts") => self.fds.devpts = Some(tree),
            _ => {}
        }
        Ok(())
    }

    /// Opens the mount point of a mount, and makes it where it is missing. Most are new names directly in the
    /// container's own /dev: those need no path resolution from the root.
    fn target_of(&self, mount: &PlannedMount) -> StepResult<OwnedFd> {
        if let (Some(dev), Some(parent), Some(name)) =
            (&self.fds.dev, mount.target.parent(), mount.target.file_name())
            && parent == Path::new("/dev")
        {
            let made = match mount.kind {
                MountPointKind::File => inroot::make_file(dev, name),
                MountPointKind::Directory => inroot::make_directory(dev, name),
            };
            if let Ok(made) = made {
                return Ok(made);
            }
        }
        let root = self.fds.root()?;
        let place = inroot::mount_point(root.as_fd(), &mount.target, mount.kind, mount.symlinks)
            .map_err(|error| explain_target(error, mount))?;
        if mount.symlinks == Symlinks::Follow {
            mount_target::check(&place, &mount.target, root, self.fds.dev.as_ref())?;
        }
        Ok(place)
    }

    /// Opens a path that will be masked or made read-only (O_PATH). Paths below /proc and /sys are opened in the mounts
    /// that this process made, even where another mount covers them. `None`: the path does not exist.
    fn open_protected(&self, path: &Path) -> StepResult<Option<OwnedFd>> {
        let below =
            |mount: &str| path.strip_prefix(mount).ok().filter(|rest| *rest != Path::new(""));
        let opened = match (below("/proc"), below("/sys"), &self.fds.proc, &self.fds.sys) {
            (Some(rest), _, Some(proc), _) => {
                inroot::open(proc, rest, OFlags::PATH, Symlinks::Refuse)
            }
            (_, Some(rest), _, Some(sys)) => {
                inroot::open(sys, rest, OFlags::PATH, Symlinks::Refuse)
            }
            _ => inroot::open(self.fds.root()?, path, OFlags::PATH, Symlinks::Refuse),
        };
        match opened {
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => {
                Ok(None)
            }
            answer => Ok(Some(answer?)),
        }
    }

    pub(super) fn link(&self, target: &str, name: &str) -> StepResult {
        let dev = self.fds.dev.as_ref().ok_or(io::Error::from_raw_os_error(libc::ENOENT))?;
        Ok(rustix::fs::symlinkat(target, dev, name)?)
    }

    /// Writes a kernel parameter through the procfs that this process mounted, after a check that it is a procfs
    /// (CVE-2025-52881).
    pub(super) fn write_parameter(&self, path: &Path, value: &str) -> StepResult {
        let proc = self.fds.proc.as_ref().ok_or(io::Error::from_raw_os_error(libc::ENOENT))?;
        let path = Path::new("sys").join(path);
        let file = inroot::open(proc, &path, OFlags::WRONLY, Symlinks::Refuse).on(|| "open")?;
        if rustix::fs::fstatfs(&file)?.f_type != PROC_SUPER_MAGIC {
            return Err(io::Error::from_raw_os_error(libc::EXDEV).into());
        }
        rustix::io::write(&file, value.as_bytes()).on(|| format!("write '{value}'"))?;
        Ok(())
    }

    pub(super) fn mask(&mut self, path: &Path) -> StepResult {
        let Some(target) = self.open_protected(path)? else { return Ok(()) };
        let is_folder =
            rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&target)?.st_mode).is_dir();
        if !is_folder {
            let null = self.null_device()?;
            return Ok(mount::attach(
                mount::copy(null, Path::new(""), MountReach::Alone)?,
                target,
            )?);
        }
        // A single empty folder serves all masks: the first mask attaches it, the others attach copies of it.
        match &self.fds.empty {
            Some(empty) => {
                mount::attach(mount::copy(empty, Path::new(""), MountReach::Alone)?, target)?
            }
            None => {
                let attributes = Attributes::READ_ONLY
                    .with(Attributes::NO_SUID)
                    .with(Attributes::NO_DEV)
                    .with(Attributes::NO_EXEC);
                let empty = mount::make(
                    "tmpfs",
                    "masked",
                    &[("size".into(), Some("0".into()))],
                    attributes,
                )?;
                mount::attach(&empty, target)?;
                self.fds.empty = Some(empty);
            }
        }
        Ok(())
    }

    /// Returns the container's /dev/null after a check of its device number: no other file may be mounted as a mask
    /// (CVE-2025-31133).
    fn null_device(&mut self) -> StepResult<&OwnedFd> {
        let null = match self.fds.null.take() {
            Some(null) => null,
            None => inroot::open(
                self.fds.root()?,
                Path::new("/dev/null"),
                OFlags::PATH,
                Symlinks::Refuse,
            )
            .on(|| "/dev/null")?,
        };
        if rustix::fs::fstat(&null)?.st_rdev != rustix::fs::makedev(1, 3) {
            return Err(io::Error::from_raw_os_error(libc::ENODEV))
                .on(|| "/dev/null is not the null device");
        }
        Ok(self.fds.null.insert(null))
    }

    pub(super) fn make_read_only(&self, path: &Path) -> StepResult {
        let Some(target) = self.open_protected(path)? else { return Ok(()) };
        let tree = mount::copy(&target, Path::new(""), MountReach::Recursive)?;
        mount::attach(&tree, target)?;
        Ok(mount::set_attributes(&tree, Attributes::READ_ONLY, MountReach::Recursive)?)
    }

    /// Makes a FIFO, or accepts an existing one.
    pub(super) fn make_fifo(&self, path: &Path, mode: u32) -> StepResult {
        let (folder, name) = self.folder_of(path)?;
        let kind = FileType::Fifo;
        match rustix::fs::mknodat(&folder, &name, kind, Mode::from_raw_mode(mode), 0) {
            Ok(()) => Ok(inroot::change_mode(&folder, &name, mode)?),
            Err(Errno::EXIST) => {
                let stat = rustix::fs::statat(&folder, &name, AtFlags::SYMLINK_NOFOLLOW)?;
                match FileType::from_raw_mode(stat.st_mode) == kind {
                    true => Ok(()),
                    false => Err(io::Error::from(Errno::EXIST)).on(|| "no FIFO is there"),
                }
            }
            Err(errno) => Err(errno.into()),
        }
    }

    /// Makes a symbolic link, or accepts an existing one with the same target.
    pub(super) fn make_link(&self, path: &Path, target: &Path) -> StepResult {
        let (folder, name) = self.folder_of(path)?;
        match rustix::fs::symlinkat(target, &folder, &name) {
            Err(Errno::EXIST) => {
                let there = rustix::fs::readlinkat(&folder, &name, Vec::new());
                let is_same =
                    there.is_ok_and(|there| there.as_bytes() == target.as_os_str().as_bytes());
                match is_same {
                    true => Ok(()),
                    false => Err(io::Error::from(Errno::EXIST).into()),
                }
            }
            answer => Ok(answer?),
        }
    }

    /// Opens the folder of a new file, and makes it where it is missing.
    fn folder_of(&self, path: &Path) -> StepResult<(OwnedFd, OsString)> {
        let missing = || io::Error::from_raw_os_error(libc::EINVAL);
        let name = path.file_name().ok_or_else(missing)?.to_owned();
        let folder = path.parent().ok_or_else(missing)?;
        let kind = MountPointKind::Directory;
        let root = self.fds.root()?.as_fd();
        Ok((inroot::mount_point(root, folder, kind, Symlinks::Follow)?, name))
    }

    pub(super) fn open_terminal(&mut self, size: Option<TerminalSize>) -> StepResult {
        let devpts = self.fds.devpts.as_ref().ok_or(io::Error::from_raw_os_error(libc::ENXIO))?;
        let (master, terminal) = pty::open_pair(devpts.as_fd())?;
        if let Some(TerminalSize { rows, columns }) = size {
            pty::set_window_size(&master, rows, columns)?;
        }
        // Before the command can read the size. Without a terminal on either stream the size stays unset.
        if let Some(caller) = &self.input.streams.caller {
            caller.copy_window_size(&master);
        }
        let console = inroot::mount_point(
            self.fds.root()?.as_fd(),
            Path::new("/dev/console"),
            MountPointKind::File,
            Symlinks::Refuse,
        )
        .on(|| "/dev/console")?;
        mount::attach(mount::copy(&terminal, Path::new(""), MountReach::Alone)?, console)
            .on(|| "/dev/console")?;
        prepare::give_terminal(&terminal, &self.input.plan.steps)?;
        self.input.channel.send(&ChildMessage::Terminal(master))?;
        self.fds.terminal = Some(terminal);
        Ok(())
    }
}

fn explain_target(error: io::Error, mount: &PlannedMount) -> StepError {
    let what = match error.raw_os_error() {
        Some(libc::ELOOP) => "the image has a symbolic link on the way to it",
        Some(libc::ENOENT) => "the target is a symbolic link that leads to nothing inside the root",
        Some(libc::ENOTDIR) => "a part of the target's path is a file",
        Some(libc::EROFS | libc::EACCES) => "the target does not exist and cannot be made",
        _ => "",
    };
    let mut text = what.to_owned();
    if let (MountSource::Bind(path, _), false) = (&mount.source, what.is_empty()) {
        let _ = write!(text, " (source {})", path.display());
    }
    StepError { what: text, ..error.into() }
}
