//! A container that runs, seen from outside: a descriptor of a process in it, and which of its namespaces are not ours.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use oci_spec::runtime::Spec;
use rustix::fs::{Mode, OFlags};
use serde::{Serialize, de::DeserializeOwned};

use super::plan;
use crate::cgroup::{self, Supervisors};
use crate::error::{Context, Error, Result};
use crate::sys::namespace::{self, Namespaces};
use crate::sys::process::{self, Forked, Parentage};

/// One of its processes, whose namespaces are the container's.
#[derive(Debug)]
pub struct Running {
    pid: i32,
    process: OwnedFd,
    namespaces: Namespaces,
    /// The folder of its cgroup.
    cgroup: Option<PathBuf>,
}

impl Running {
    /// The container that was launched from `spec`, and whose first process is `process`, with the number `pid`.
    /// Errors: it has ended; its namespaces cannot be seen.
    pub fn of(process: OwnedFd, pid: i32, spec: &Spec, cgroup: Option<PathBuf>) -> Result<Self> {
        let (pid, process) = match plan::has_init(spec) {
            // Our reaper opens itself to nobody who has no power over the host: its first child is the command.
            true => first_child(pid, process.as_fd())?,
            false => (pid, process),
        };
        let mut namespaces = Namespaces::default();
        for (one, name, _) in Namespaces::ALL {
            let inode = |whose: &str| rustix::fs::stat(format!("/proc/{whose}/ns/{name}"));
            let Ok(ours) = inode("self") else { continue }; // this kernel has none of this kind
            let its = inode(&pid.to_string());
            let its =
                its.context(|| format!("cannot look at the {name} namespace of process {pid}"))?;
            if (its.st_dev, its.st_ino) != (ours.st_dev, ours.st_ino) {
                namespaces = namespaces.with(one);
            }
        }
        Ok(Self { pid, process, namespaces, cgroup })
    }

    /// Forks; the new process is in its cgroup. Errors: from here no process can be made in it.
    pub fn fork_beside(&self) -> Result<Forked> {
        let Some(folder) = &self.cgroup else {
            return process::fork().context(|| "cannot fork");
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let cgroup = rustix::fs::open(folder, flags, Mode::empty());
        let cgroup = cgroup.context(|| format!("the container's cgroup {}", folder.display()))?;
        let fork =
            || process::clone_into(Some(cgroup.as_fd()), Namespaces::default(), Parentage::Ours);
        match fork() {
            // Who is in a session has no right over what is above both.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                cgroup::come_near(folder)?;
                fork()
            }
            answer => answer,
        }
        .context(|| "cannot make a process in the container's cgroup")
    }

    /// The cgroup of whoever answers its system calls, where they are limited.
    pub fn supervisors(&self) -> Option<Supervisors> {
        self.cgroup.as_deref().and_then(Supervisors::of)
    }

    /// The number of its process.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Stands for its process.
    pub fn process(&self) -> &OwnedFd {
        &self.process
    }

    /// Whether it has a pid namespace of its own: then its end is the end of all that is in it.
    pub fn ends_all(&self) -> bool {
        self.namespaces.contains(Namespaces::PID)
    }

    /// Whether setgroups(2) is denied in it (user_namespaces(7)).
    pub fn denies_setgroups(&self) -> bool {
        std::fs::read_to_string(format!("/proc/{}/setgroups", self.pid))
            .is_ok_and(|text| text.trim() == "deny")
    }

    /// Enters all but the mount namespace: /proc is still the host's. A pid and a time namespace are for the children.
    pub fn enter(&self) -> io::Result<()> {
        self.join(self.namespaces.without(Namespaces::MOUNT))
    }

    /// Enters the mount namespace too: "/" is the container's from here on.
    pub fn enter_files(&self) -> io::Result<()> {
        self.join(Namespaces::MOUNT)
    }

    fn join(&self, namespaces: Namespaces) -> io::Result<()> {
        match namespace::join(self.process.as_fd(), namespaces) {
            // Linux before 5.8.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                namespace::join_one_by_one(self.pid, self.process.as_fd(), namespaces)
            }
            answer => answer,
        }
    }

    /// Its user and its mount namespace. Errors: it has ended.
    pub fn user_and_mounts(&self) -> Result<Vec<OwnedFd>> {
        let open = |name| {
            let path = format!("/proc/{}/ns/{name}", self.pid);
            rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                .context(|| path)
        };
        let namespaces = vec![open("user")?, open("mnt")?];
        // After the opening: what the number meant then is what the descriptor means.
        process::pidfd_signal(self.process.as_fd(), 0).context(|| "the container has ended")?;
        Ok(namespaces)
    }

    /// Does `work` in a process of its own that sees the container's files as the container's root does.
    pub fn inside<T: Serialize + DeserializeOwned>(
        &self,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let pipe = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
        let (near, far) = pipe.context(|| "cannot make a pipe")?;
        match process::fork().context(|| "cannot fork")? {
            Forked::Child => {
                drop(near);
                let answer =
                    self.see().context(|| "cannot enter the container").and_then(|()| work());
                // The parent gone: nobody to tell.
                let _ = serde_json::to_writer(std::fs::File::from(far), &answer);
                process::exit_now(0)
            }
            Forked::Parent(child) => {
                drop(far);
                let mut answer = String::new();
                let read = std::fs::File::from(near).read_to_string(&mut answer);
                child.wait().context(|| "cannot wait for the process in the container")?;
                read.context(|| "cannot hear the process in the container")?;
                serde_json::from_str::<Result<T>>(&answer)
                    .unwrap_or_else(|_| Err(Error::new("the process in the container was killed")))
            }
        }
    }

    fn see(&self) -> io::Result<()> {
        process::hide_from_others()?;
        self.join(Namespaces::USER)?;
        process::hide_from_others()?;
        self.enter_files()
    }
}

/// The oldest child of a process. Errors: it has none, or has ended.
fn first_child(pid: i32, process: BorrowedFd<'_>) -> Result<(i32, OwnedFd)> {
    let ended = || Error::new("the container has ended");
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.context(|| "cannot list the children of the container's init")?;
    let child = children.split_ascii_whitespace().next().and_then(|number| number.parse().ok());
    let child: i32 = child.ok_or_else(ended)?;
    let pidfd = process::open_pidfd(child).context(|| "the container has ended")?;
    // It ends when its first child does: where it lives, the number meant that child when it was opened.
    process::pidfd_signal(process, 0).context(|| "the container has ended")?;
    Ok((child, pidfd))
}
