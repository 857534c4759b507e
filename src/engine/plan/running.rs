//! Running container that commands enter: a process in it, and those of its namespaces that differ from usnea's.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;
use rustix::fs::{Mode, OFlags};
use serde::{Serialize, de::DeserializeOwned};

use crate::cgroup::{self, SupervisorsCgroup};
use crate::engine::plan::process::Reaper;
use crate::error::{Context, Error, Result};
use crate::files;
use crate::sys::namespace::{self, Namespaces};
use crate::sys::process::{self, Forked, Parentage};
use crate::userns::Setgroups;

/// Process of a running container, through which its namespaces are entered.
#[derive(Debug)]
pub struct RunningContainer {
    pid: i32,
    process: OwnedFd,
    namespaces: Namespaces,
    /// Open namespaces of a process that is hidden: the kernel refuses them by its pidfd. Empty: the process is not.
    opened: Vec<OwnedFd>,
    /// Folder of the container's cgroup.
    cgroup: Option<PathBuf>,
}

fn errno_of<T>(answer: &io::Result<T>) -> Option<i32> {
    answer.as_ref().err().and_then(io::Error::raw_os_error)
}

impl RunningContainer {
    /// Returns the container that was launched from `spec`. `process` and `pid`: pidfd and PID of its first process.
    /// Errors: the container has ended; its namespaces cannot be read.
    pub fn of(process: OwnedFd, pid: i32, spec: &Spec, cgroup: Option<PathBuf>) -> Result<Self> {
        let (pid, process) = match Reaper::of_config(spec) {
            // usnea's init is hidden, so its namespaces cannot be opened; its first child is the command.
            Reaper::Usnea => first_child(pid, process.as_fd())?,
            Reaper::None => (pid, process),
        };
        let mut namespaces = Namespaces::default();
        for (one, name, _) in Namespaces::ALL {
            let inode = |whose: &str| rustix::fs::stat(format!("/proc/{whose}/ns/{name}"));
            let Ok(ours) = inode("self") else { continue }; // not in this kernel
            let its = inode(&pid.to_string());
            let its = its
                .context(|| format!("cannot look at the {name} namespace of process {pid}"))
                .map_err(or_ended)?;
            if (its.st_dev, its.st_ino) != (ours.st_dev, ours.st_ino) {
                namespaces = namespaces.with(one);
            }
        }
        Ok(Self { pid, process, namespaces, opened: Vec::new(), cgroup })
    }

    /// Returns the container with these open namespaces, of which the user namespace is the first. Errors: one is no
    /// namespace.
    pub fn of_namespaces(
        process: OwnedFd,
        pid: i32,
        opened: Vec<OwnedFd>,
        cgroup: Option<PathBuf>,
    ) -> Result<Self> {
        let mut namespaces = Namespaces::default();
        for namespace in &opened {
            let kind = namespace::kind(namespace.as_fd());
            namespaces = namespaces.with(kind.context(|| "cannot look at a namespace")?);
        }
        Ok(Self { pid, process, namespaces, opened, cgroup })
    }

    /// Open namespaces, where the process's cannot be opened.
    pub fn opened(&self) -> &[OwnedFd] {
        &self.opened
    }

    /// Forks a process in the container's cgroup. Errors: the kernel refuses that cgroup to this process.
    pub fn fork_beside(&self) -> Result<Forked> {
        let Some(folder) = &self.cgroup else {
            return process::fork().context(|| "cannot fork");
        };
        let open = |folder: &Path| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let cgroup = rustix::fs::open(folder, flags, Mode::empty());
            cgroup.context(|| format!("the container's cgroup {}", folder.display()))
        };
        let into = |cgroup: &OwnedFd| {
            process::clone_into(Some(cgroup.as_fd()), Namespaces::default(), Parentage::Ours)
        };
        let cgroup = open(folder)?;
        let mut forked = into(&cgroup);
        // A process in a session scope may lack permission for the common ancestor of both cgroups (cgroups(7)).
        if errno_of(&forked) == Some(libc::EACCES) {
            cgroup::join_sibling_group(folder)?;
            forked = into(&cgroup);
        }
        // A group that passes controllers on has no processes itself (cgroups(7)): systemd in the container made groups
        // below, and is in one of them.
        if errno_of(&forked) == Some(libc::EBUSY)
            && let Some(below) = crate::host::cgroup::folder_of(self.pid)
        {
            forked = into(&open(&below)?);
        }
        forked.context(|| "cannot make a process in the container's cgroup")
    }

    /// Returns the cgroup of the container's supervisors, if their resources are limited.
    pub fn supervisors(&self) -> Option<SupervisorsCgroup> {
        self.cgroup.as_deref().and_then(SupervisorsCgroup::of)
    }

    /// Returns the PID of the container's process.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Returns the pidfd of the container's process.
    pub fn process(&self) -> &OwnedFd {
        &self.process
    }

    /// True if the container has its own PID namespace: the end of its process 1 kills all processes in it.
    pub fn owns_pid_namespace(&self) -> bool {
        self.namespaces.contains(Namespaces::PID)
    }

    /// Permission for setgroups(2) in the container (user_namespaces(7)).
    pub fn setgroups(&self) -> Setgroups {
        match std::fs::read_to_string(format!("/proc/{}/setgroups", self.pid)) {
            Ok(text) if text.trim() == "deny" => Setgroups::Denied,
            _ => Setgroups::Allowed,
        }
    }

    /// Enters all namespaces but the mount namespace, so that /proc stays the host's. PID and time namespace take
    /// effect in children.
    pub fn enter(&self) -> io::Result<()> {
        self.join(self.namespaces.without(Namespaces::MOUNT))
    }

    /// Enters the mount namespace: from here on "/" is the container's.
    pub fn enter_files(&self) -> io::Result<()> {
        self.join(Namespaces::MOUNT)
    }

    fn join(&self, namespaces: Namespaces) -> io::Result<()> {
        if !self.opened.is_empty() {
            return self.join_opened(namespaces);
        }
        match namespace::join(self.process.as_fd(), namespaces) {
            // Linux before 5.8.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                namespace::join_one_by_one(self.pid, self.process.as_fd(), namespaces)
            }
            answer => answer,
        }
    }

    fn join_opened(&self, namespaces: Namespaces) -> io::Result<()> {
        for opened in &self.opened {
            if namespaces.contains(namespace::kind(opened.as_fd())?) {
                namespace::enter(opened.as_fd())?;
            }
        }
        Ok(())
    }

    /// Opens the container's user and mount namespaces. Errors: the container has ended.
    pub fn user_and_mounts(&self) -> Result<Vec<OwnedFd>> {
        if !self.opened.is_empty() {
            let both = Namespaces::USER.with(Namespaces::MOUNT);
            let opened = self.opened.iter().filter(|opened| {
                namespace::kind(opened.as_fd()).is_ok_and(|kind| both.contains(kind))
            });
            let copies = opened.map(OwnedFd::try_clone).collect::<io::Result<_>>();
            return copies.context(|| "cannot copy a descriptor");
        }
        let open = |name| {
            let path = format!("/proc/{}/ns/{name}", self.pid);
            rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                .context(|| path)
                .map_err(or_ended)
        };
        let namespaces = vec![open("user")?, open("mnt")?];
        // After the opening: the process still lives, thus `pid` named it when its namespaces were opened.
        process::pidfd_signal(self.process.as_fd(), 0).map_err(|_| ended())?;
        Ok(namespaces)
    }

    /// Runs `work` in a forked process in the user and mount namespace of the container, and returns its result.
    pub fn inside<T: Serialize + DeserializeOwned>(
        &self,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let pipe = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
        let (near, far) = pipe.context(|| "cannot make a pipe")?;
        match process::fork().context(|| "cannot fork")? {
            Forked::Child => {
                drop(near);
                let answer = self.see().context(|| "cannot enter the container").map_err(or_ended);
                let answer = answer.and_then(|()| work());
                // The parent may be dead: an error has no receiver then.
                let _ = files::write_json(far, &answer);
                process::exit_now(0)
            }
            Forked::Parent(child) => {
                drop(far);
                let mut answer = String::new();
                let read = std::fs::File::from(near).read_to_string(&mut answer);
                child.wait().context(|| "cannot wait for the process in the container")?;
                read.context(|| "cannot receive from the process in the container")?;
                serde_json::from_str::<Result<T>>(&answer)
                    .unwrap_or_else(|_| Err(Error::new("the process in the container was killed")))
            }
        }
    }

    fn see(&self) -> io::Result<()> {
        process::set_undumpable()?;
        self.join(Namespaces::USER)?;
        process::set_undumpable()?;
        self.enter_files()
    }
}

/// Returns the oldest child of a process. Errors: the process has no child, or has ended.
fn first_child(pid: i32, process: BorrowedFd<'_>) -> Result<(i32, OwnedFd)> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children
        .context(|| "cannot list the children of the container's init")
        .map_err(or_ended)?;
    let child = children.split_ascii_whitespace().next().and_then(|number| number.parse().ok());
    let child: i32 = child.ok_or_else(ended)?;
    let pidfd = process::open_pidfd(child).map_err(|_| ended())?;
    // usnea's init exits when its first child does. If it still runs, the PID belonged to that child when its pidfd was
    // opened.
    process::pidfd_signal(process, 0).map_err(|_| ended())?;
    Ok((child, pidfd))
}

fn ended() -> Error {
    Error::not_running("the container has ended")
}

/// Replaces the error of a missing process. An ending process loses its namespaces first: a reader of its folder in
/// /proc gets ENOENT or ESRCH. Its pidfd reports the end later.
fn or_ended(error: Error) -> Error {
    match error.errno() {
        Some(libc::ENOENT | libc::ESRCH) => ended(),
        _ => error,
    }
}
