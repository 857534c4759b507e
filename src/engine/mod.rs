//! The OCI runtime: a spec in, a process out. It knows no image.
//!
//! Read in this order: `plan` (spec to steps), `parent` (who makes the processes), `child` (who carries the steps out;
//! the last of them in `command`, `filter` and `last`), `sync` (what they tell each other). `supervise` is the parent's life while the command
//! runs (`streams`, `relay`), `listener` who answers the calls that a filter hands over, `init` process 1 with `--init`, `exec` the launch
//! of another command in a container that runs (`running`), `explain` prints the steps as the commands an administrator would type.
//!
//! ```text
//!   usnea run (parent)                    base                        container
//!      |------ clone3 -------------------->|
//!      |-- newuidmap, newgidmap            | (waits)
//!      |------ Mapped -------------------->| mounts what needs base's IDs, detached
//!      |                                   |-- clone3 (CLONE_PARENT) --->|   when the container's map differs; else base
//!      |<----- Container(pid, pidfd) ------|-- writes its maps           |   goes on as the container itself, or makes it
//!      |                                   |                             |   at once and waits with it for newuidmap
//!      |                                   |------- Mapped ------------->|
//!      |                                   | keeps watch: the parent's   | root, mounts, pivot_root, ids
//!      |                                   | death is the container's    |
//!      |<----- Network --------------------------------------------------|   only with a network's helper: the parent starts
//!      |                                   |                             |   it, and it gets ready meanwhile
//!      |<----- Terminal(fd) ---------------------------------------------|   only with a terminal
//!      |<----- Namespace(fd), Listener(fd) ------------------------------|   only with root emulation: the parent forks a
//!      |------ Heard ---------------------------------------------------->|   supervisor, which enters the container
//!      |<----- Connect --------------------------------------------------|   only with a network's helper: it is ready
//!      |------ Heard ---------------------------------------------------->|
//!      |<----- Running -------------------------------------------------|   from here on signals are the command's
//!      |<----- end of file ----------------------------------------------| exec: the socket is close-on-exec
//!      |<----- Failed(step, what, errno) --------------------------------|   instead, from whoever failed
//! ```

mod accounts;
mod child;
mod command;
mod copyup;
mod exec;
mod explain;
mod files;
mod filter;
mod idmapped;
mod init;
mod keyring;
mod keys;
mod last;
mod layers;
mod listener;
mod lowers;
mod mounted;
mod mounts;
mod parent;
mod places;
mod plan;
mod relay;
mod running;
mod streams;
mod supervise;
mod sync;
mod target;
mod trouble;

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use crate::cgroup;
use crate::ids::{IdMap, IdMaps, outside_of};
use crate::net::{self, Network};
use crate::security::emulation::{Emulation, Supervisor};
use crate::security::seccomp::Filter;
use crate::sys::namespace::Namespaces;
use crate::userns::Levels;

pub use exec::{Entry, Finish, exec};
pub use explain::explain;
pub use idmapped::Idmapped;
pub use init::SERVER_DIED;
pub use keys::{DetachKeys, Watch};
pub use layers::{has_whiteout_names, is_copied};
pub use mounted::{Mounted, Use, can_be_read_alone, mounted};
pub use mounts::{Mount, Source};
pub use parent::{HELPER_DIED, KILLED_FOR_MEMORY, Launched, end_children, launch, run};
pub use plan::{entry, plan};
pub use running::Running;
pub use streams::{open_ours_to_all, pipe_for_container};
pub use supervise::{Requests, forwarded};

/// What the command's standard input is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stdin {
    /// `/dev/null`.
    #[default]
    Null,
    /// Ours (`--interactive`).
    Ours,
}

/// The command's standard streams, where they are not ours; without a terminal.
#[derive(Debug)]
pub struct Streams {
    /// Standard input; `None`: as [`Options::stdin`] says.
    pub input: Option<OwnedFd>,
    /// Standard output.
    pub output: OwnedFd,
    /// Standard error.
    pub error: OwnedFd,
    /// Where processes of ours beside the command report to.
    pub reports: Reports,
}

/// Where a process of ours beside the command reports to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reports {
    /// The command's standard error.
    ToCommands,
    /// Ours.
    ToOurs,
}

/// Layers that are kept in memory: a tmpfs that goes with the container's mount namespace, whatever dies when.
#[derive(Clone, Debug)]
pub struct MemoryLayers {
    /// The folder that the tmpfs lies on, seen by the container's processes alone.
    pub on: PathBuf,
    /// Upper and work folders below it.
    pub folders: Vec<PathBuf>,
}

/// What a runtime is told beside the spec.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The overlays' writable layers; `None`: their folders are there already.
    pub layers: Option<MemoryLayers>,
    /// The command's standard input.
    pub stdin: Stdin,
    /// How many descriptors after 2 the command keeps (`--preserve-fds`).
    pub preserve_fds: u32,
    /// The way out, and the files that go with it.
    pub network: Network,
}

impl Plan {
    /// The cgroup that is to be made.
    fn cgroup(&self) -> Option<&cgroup::Wanted> {
        self.steps.iter().find_map(|step| match step {
            Step::Cgroup(wanted, _) => Some(wanted),
            _ => None,
        })
    }

    /// The namespaces of the first process.
    fn first_namespaces(&self) -> Option<Namespaces> {
        self.steps.iter().find_map(|step| match step {
            Step::Namespaces(namespaces) => Some(*namespaces),
            _ => None,
        })
    }

    /// Whether the command has a terminal of its own.
    fn has_terminal(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Terminal))
    }

    /// Whether the container's process is a child of the first one.
    fn has_keeper(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Container(..)))
    }

    /// The container's root, as base has it. `None`: it has none.
    fn root_in_base(&self) -> Option<(u32, u32)> {
        match &self.levels.container {
            None => Some((0, 0)),
            Some(maps) => outside_of(&maps.uids, 0).zip(outside_of(&maps.gids, 0)),
        }
    }

    /// Who can make files in a root whose layers are mapped to the container's IDs (`idmapped`), as base has them: the first
    /// of these. `None`: base's root can.
    fn owner_of_layers(&self, idmapped: bool) -> Option<(u32, u32)> {
        let first = |map: &[IdMap]| map.first().map(|line| line.outside);
        let maps = self.levels.container.as_ref().filter(|_| idmapped)?;
        first(&maps.uids).zip(first(&maps.gids))
    }

    /// The user and group of the command, as base has them.
    pub fn user_in_base(&self) -> Option<(u32, u32)> {
        let who = self.steps.iter().find_map(|step| match step {
            Step::Credentials(who) => Some((who.uid, who.gid)),
            _ => None,
        })?;
        match &self.levels.container {
            None => Some(who),
            Some(maps) => outside_of(&maps.uids, who.0).zip(outside_of(&maps.gids, who.1)),
        }
    }
}

/// Everything decided before the first process is made.
#[derive(Debug)]
pub struct Plan {
    /// The user namespaces.
    pub levels: Levels,
    /// The steps, in the order of their doing.
    pub steps: Vec<Step>,
    /// What a runtime is told beside the spec.
    pub options: Options,
}

/// One step of a launch. The parent does `Cgroup`, `Namespaces` and `Maps`; the other steps are the child's.
#[derive(Debug)]
pub enum Step {
    /// Enter the namespaces of a container that runs, in a process of its own.
    Join(Running),
    /// Make the container's cgroup. Its process is made in it, and then makes these namespaces: what a cgroup namespace
    /// shows as its root is the cgroup of whoever makes it.
    Cgroup(cgroup::Wanted, Namespaces),
    /// Make the base user namespace, and the other namespaces with it when one level serves for both.
    Namespaces(Namespaces),
    /// Write base's maps.
    Maps(IdMaps),
    /// Make the container's process in these namespaces. With maps: a user namespace of its own, below base. Without:
    /// base's serves, and the process is made while newuidmap is at work on it.
    Container(Namespaces, Option<IdMaps>),
    /// Become root of the namespace (or who the user is in it), and lead a session of our own.
    BecomeRoot {
        /// User ID inside.
        uid: u32,
        /// Group ID inside.
        gid: u32,
    },
    /// Set who is killed first for want of memory (proc_pid_oom_score_adj(5)).
    OomScore(i32),
    /// Make the writable layers, in memory.
    Layers(MemoryLayers),
    /// Mount the root file system.
    Root(Mount),
    /// Mount something below it.
    Mount(Mount),
    /// Make a symbolic link in /dev.
    Link {
        /// What it says.
        target: &'static str,
        /// Its name in /dev.
        name: &'static str,
    },
    /// Hand the network namespace to the parent, which starts a helper for it.
    Network,
    /// Wait until the helper is ready.
    Connect,
    /// Mount files that are made in memory.
    Files(Vec<net::File>),
    /// Name the user who runs the container in its accounts.
    Accounts(Vec<accounts::Entry>),
    /// Set the loopback interface up.
    Loopback,
    /// Set a kernel parameter of one of the new namespaces.
    Sysctl {
        /// Its name, as sysctl(8) takes it.
        name: String,
        /// Path below /proc/sys.
        path: PathBuf,
        /// Its value.
        value: String,
    },
    /// Hide a path: a file behind /dev/null, a folder behind an empty one.
    Mask(PathBuf),
    /// Make a path read-only.
    ReadOnly(PathBuf),
    /// Open a terminal in the container's own devpts and hand its master to the parent.
    Terminal,
    /// Make the root the root, and let go of the old one.
    PivotRoot,
    /// Make the root file system read-only.
    ReadOnlyRoot,
    /// sethostname(2)
    Hostname(String),
    /// setdomainname(2)
    Domainname(String),
    /// setrlimit(2)
    Limit(Limit),
    /// Enter the working folder, made where it is missing.
    WorkingFolder(PathBuf),
    /// Set the mask of the modes of new files; without it the mask is 022.
    Umask(u32),
    /// Reduce the capabilities and become the user of the command.
    Credentials(Credentials),
    /// exec gives no new powers.
    NoNewPrivileges,
    /// Filter system calls. Done at the last moment before exec, for our own calls are none of the filter's business.
    Seccomp(Box<Filter>, Option<Supervised>),
    /// Become the command.
    Exec(Command),
}

/// A resource limit.
#[derive(Debug)]
pub struct Limit {
    /// Its name as in config.json, `RLIMIT_NOFILE`.
    pub name: String,
    /// Which one.
    pub resource: nix::sys::resource::Resource,
    /// Soft limit.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

/// Whose groups the command has beside its own.
#[derive(Debug, PartialEq, Eq)]
pub enum Groups {
    /// These.
    Set(Vec<u32>),
    /// Those of the user who runs usnea (`--group-add keep-groups`, or where setgroups(2) is denied).
    Keep,
}

/// Who the command is and what it may do.
#[derive(Debug)]
pub struct Credentials {
    /// User ID inside.
    pub uid: u32,
    /// Group ID inside.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Groups,
    /// Bounding set.
    pub bounding: caps::CapsHashSet,
    /// Permitted set.
    pub permitted: caps::CapsHashSet,
    /// Effective set.
    pub effective: caps::CapsHashSet,
    /// Inheritable set.
    pub inheritable: caps::CapsHashSet,
    /// Ambient set.
    pub ambient: caps::CapsHashSet,
}

/// What the calls that a filter hands over are answered with.
#[derive(Debug)]
pub struct Supervised {
    /// What is emulated.
    pub emulation: Emulation,
    /// For whom.
    pub supervisor: Supervisor,
    /// Until when.
    pub until: Until,
}

/// How long calls are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Until the process that launched the container dies: the container dies with it.
    ParentsDeath,
    /// Until nobody is left who has the filter.
    LastCaller,
}

/// The command.
#[derive(Debug)]
pub struct Command {
    /// `argv`
    pub arguments: Vec<CString>,
    /// `KEY=value`
    pub environment: Vec<CString>,
    /// Process 1 is our reaper, the command its child.
    pub init: bool,
    /// The command has a terminal of its own.
    pub terminal: bool,
    /// Device and inode of our own program: the command must not be it (CVE-2019-5736).
    pub ourselves: (u64, u64),
}

impl Step {
    /// What it does, for the log, `--explain` and the error message "cannot ...".
    pub fn doing(&self) -> String {
        match self {
            Self::Join(_) => "enter the container".into(),
            Self::Cgroup(wanted, _) => format!("make the cgroup {}", wanted.name),
            Self::OomScore(score) => format!("set oom_score_adj to {score}"),
            Self::Namespaces(namespaces) if *namespaces == Namespaces::USER => {
                "make the user namespace".into()
            }
            Self::Namespaces(_) => "make the namespaces".into(),
            Self::Maps(_) => "map the IDs".into(),
            Self::Container(_, Some(_)) => {
                "make the container's own user namespace, and the others in it".into()
            }
            Self::Container(_, None) => "make the other namespaces".into(),
            Self::BecomeRoot { .. } => "become root inside".into(),
            Self::Layers(_) => "make the layers that are thrown away, in memory".into(),
            Self::Root(_) => "mount the root filesystem".into(),
            Self::Mount(mount) => format!("mount {}", mount.target.display()),
            Self::Link { name, .. } => format!("make the link /dev/{name}"),
            Self::Network => "start the network's helper".into(),
            Self::Connect => "connect the network".into(),
            Self::Files(files) => {
                let paths: Vec<_> = files.iter().map(|file| file.path).collect();
                format!("mount {}", paths.join(" and "))
            }
            Self::Accounts(_) => "name the user in the container's accounts".into(),
            Self::Loopback => "set the loopback interface up".into(),
            Self::Sysctl { name, .. } => format!("set the kernel parameter {name}"),
            Self::Mask(path) => format!("mask {}", path.display()),
            Self::ReadOnly(path) => format!("make {} read-only", path.display()),
            Self::Terminal => "open a terminal".into(),
            Self::PivotRoot => "pivot_root: enter the root, let go of the old one".into(),
            Self::ReadOnlyRoot => "make the root filesystem read-only".into(),
            Self::Hostname(name) => format!("set the hostname {name}"),
            Self::Domainname(name) => format!("set the domain name {name}"),
            Self::Limit(limit) => format!("set the limit {}", limit.name),
            Self::WorkingFolder(path) => format!("enter the working directory {}", path.display()),
            Self::Umask(mask) => format!("umask {mask:04o}"),
            Self::Credentials(who) => {
                format!("become user {}:{} with reduced capabilities", who.uid, who.gid)
            }
            Self::NoNewPrivileges => "forbid new privileges".into(),
            Self::Seccomp(_, None) => "filter system calls".into(),
            Self::Seccomp(_, Some(_)) => "filter system calls, and emulate root".into(),
            Self::Exec(command) => {
                format!(
                    "run {}",
                    command
                        .arguments
                        .first()
                        .map(|name| name.to_string_lossy())
                        .unwrap_or_default()
                )
            }
        }
    }
}
