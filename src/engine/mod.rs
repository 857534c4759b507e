//! OCI runtime: a spec in, a process out. Knows nothing of images.
//!
//! Reading order: `plan` turns a spec into steps. `launch` makes the processes: `parent` hears how it goes, `child`
//! carries the steps out. `root` has the steps of the root file system, `command` the last steps before exec.
//! `messages` are those between the processes. `session` is the parent's life while the command runs (`streams`).
//! `supervisor` starts the process that answers the calls which a filter hands over; `init` is process 1 with
//! `--init`. `enter` launches another command in a container that runs. `explain` prints the steps as the commands
//! that an administrator would type.
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

mod command;
mod enter;
mod explain;
mod launch;
mod messages;
mod plan;
mod root;
mod session;
mod step_error;
mod streams;

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use crate::cgroup;
use crate::ids::{IdMap, IdMaps, outside_of};
use crate::net::{self, Network};
use crate::security::emulation::{Emulation, Supervisor};
use crate::security::seccomp::Filter;
use crate::sys::namespace::Namespaces;
use crate::sys::process;
use crate::userns::Levels;

pub use command::init::SERVER_DIED;
pub use enter::{Entry, Finish, exec};
pub use explain::explain;
pub use launch::parent::{HELPER_DIED, KILLED_FOR_MEMORY, Launched, end_children, launch, run};
pub use plan::from_spec::{entry, plan};
pub use plan::mount::{Mount, Source};
pub use plan::running::Running;
pub use root::idmapped::Idmapped;
pub use root::layers::{has_whiteout_names, is_copied};
pub use root::mounted::{Mounted, Use, can_be_read_alone, mounted};
pub use session::detach_keys::{DetachKeys, Watch};
pub use session::supervise::{Requests, forwarded};
pub use streams::{open_ours_to_all, pipe_for_container};

/// Source of the command's standard input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stdin {
    /// `/dev/null`.
    #[default]
    Null,
    /// The standard input of this process (`--interactive`).
    Ours,
}

/// Standard streams of a command without a terminal, where they differ from those of this process.
#[derive(Debug)]
pub struct Streams {
    /// Standard input; `None`: as [`Options::stdin`] says.
    pub input: Option<OwnedFd>,
    /// Standard output.
    pub output: OwnedFd,
    /// Standard error.
    pub error: OwnedFd,
    /// Stream on which usnea's processes beside the command report.
    pub reports: Reports,
}

/// Destination of the reports of usnea's processes beside the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reports {
    /// The command's standard error.
    ToCommands,
    /// The standard error of this process.
    ToOurs,
}

/// Writable layers in memory: a tmpfs that goes with the container's mount namespace, in whatever order processes die.
#[derive(Clone, Debug)]
pub struct MemoryLayers {
    /// Folder that the tmpfs covers, for the container's processes alone.
    pub on: PathBuf,
    /// Upper and work folders below `on`.
    pub folders: Vec<PathBuf>,
}

/// Runtime options that config.json cannot express.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Writable layers of the overlays, in memory; `None`: their folders exist already.
    pub layers: Option<MemoryLayers>,
    /// Source of the command's standard input.
    pub stdin: Stdin,
    /// Number of descriptors after 2 that the command keeps (`--preserve-fds`).
    pub preserve_fds: u32,
    /// Numbers of further descriptors that it keeps.
    pub preserve_fd: Vec<u32>,
    /// Network helpers, and files such as `/etc/resolv.conf`.
    pub network: Network,
}

impl Plan {
    /// Returns the cgroup to make.
    fn cgroup(&self) -> Option<&cgroup::Wanted> {
        self.steps.iter().find_map(|step| match step {
            Step::Cgroup(wanted, _) => Some(wanted),
            _ => None,
        })
    }

    /// Returns the namespaces of the first process.
    fn first_namespaces(&self) -> Option<Namespaces> {
        self.steps.iter().find_map(|step| match step {
            Step::Namespaces(namespaces) => Some(*namespaces),
            _ => None,
        })
    }

    /// True if the command has a terminal of its own.
    fn has_terminal(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Terminal))
    }

    /// True if the container's process is a child of the first one.
    fn has_keeper(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Container(..)))
    }

    /// Returns the IDs in base of the container's root. `None`: the container has no root.
    fn root_in_base(&self) -> Option<(u32, u32)> {
        match &self.levels.container {
            None => Some((0, 0)),
            Some(maps) => outside_of(&maps.uids, 0).zip(outside_of(&maps.gids, 0)),
        }
    }

    /// Returns the first IDs of the container's map, as base has them: they can make files in a root whose layers are
    /// ID-mapped (`idmapped`). `None`: base's root can.
    fn owner_of_layers(&self, idmapped: bool) -> Option<(u32, u32)> {
        let first = |map: &[IdMap]| map.first().map(|line| line.outside);
        let maps = self.levels.container.as_ref().filter(|_| idmapped)?;
        first(&maps.uids).zip(first(&maps.gids))
    }

    /// Returns the user and group of the command, as IDs in base.
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

/// Launch of a container: all decisions made before the first process.
#[derive(Debug)]
pub struct Plan {
    /// User namespaces: base's, and the container's own, if any.
    pub levels: Levels,
    /// Steps, in the order in which they are carried out.
    pub steps: Vec<Step>,
    /// Options that the runtime got beside the spec.
    pub options: Options,
}

/// Step of a launch. The parent does `Cgroup`, `Namespaces` and `Maps`; the child does the other steps.
#[derive(Debug)]
pub enum Step {
    /// Enter the namespaces of a container that runs, in a new process.
    Join(Running),
    /// Make the container's cgroup. The container's process starts in that cgroup, and then makes these namespaces: the
    /// root that a cgroup namespace shows is the cgroup of its maker.
    Cgroup(cgroup::Wanted, Namespaces),
    /// Make the base user namespace, and the other namespaces with it when one level serves for both.
    Namespaces(Namespaces),
    /// Write base's maps.
    Maps(IdMaps),
    /// Make the container's process in these namespaces. With maps: in a user namespace of its own, below base.
    /// Without: in base's user namespace, while newuidmap writes base's maps.
    Container(Namespaces, Option<IdMaps>),
    /// Become root of the namespace (or the ID that the user has in it), and lead a new session.
    BecomeRoot {
        /// User ID inside.
        uid: u32,
        /// Group ID inside.
        gid: u32,
    },
    /// Set the priority for the out-of-memory killer (proc_pid_oom_score_adj(5)).
    OomScore(i32),
    /// Make the writable layers, in memory.
    Layers(MemoryLayers),
    /// Mount the root file system.
    Root(Mount),
    /// Mount a file system below the root.
    Mount(Mount),
    /// Make a symbolic link in /dev.
    Link {
        /// Target of the link.
        target: &'static str,
        /// Name of the link in /dev.
        name: &'static str,
    },
    /// Hand the network namespace to the parent, which starts a helper for it.
    Network,
    /// Wait until the helper is ready.
    Connect,
    /// Mount files that are made in memory.
    Files(Vec<net::File>),
    /// Add the user who runs the container to its account files.
    Accounts(Vec<root::accounts::Entry>),
    /// Set the loopback interface up.
    Loopback,
    /// Set a kernel parameter of one of the new namespaces.
    Sysctl {
        /// Name of the parameter, as sysctl(8) takes it.
        name: String,
        /// Path below /proc/sys.
        path: PathBuf,
        /// Value to write.
        value: String,
    },
    /// Hide a path: mount /dev/null over a file, an empty folder over a folder.
    Mask(PathBuf),
    /// Make a path read-only.
    ReadOnly(PathBuf),
    /// Open a terminal in the container's own devpts and hand its master to the parent.
    Terminal,
    /// pivot_root(2): enter the container's root, and detach the old one.
    PivotRoot,
    /// Make the root file system read-only.
    ReadOnlyRoot,
    /// sethostname(2)
    Hostname(String),
    /// setdomainname(2)
    Domainname(String),
    /// personality(2): a word of setarch(8).
    Personality(process::Personality),
    /// setrlimit(2)
    Limit(Limit),
    /// Enter the working folder, and make it where it is missing.
    WorkingFolder(PathBuf),
    /// Set the mask of the modes of new files; without this step the mask is 022.
    Umask(u32),
    /// Reduce the capabilities and become the user of the command.
    Credentials(Credentials),
    /// Set no_new_privs: exec gives no new powers.
    NoNewPrivileges,
    /// Filter system calls. Done at the last moment before exec, to keep the filter away from usnea's own calls.
    Seccomp(Box<Filter>, Option<Supervised>),
    /// Become the command.
    Exec(Command),
}

/// A resource limit.
#[derive(Debug)]
pub struct Limit {
    /// Name as in config.json, such as `RLIMIT_NOFILE`.
    pub name: String,
    /// Resource of setrlimit(2).
    pub resource: nix::sys::resource::Resource,
    /// Soft limit.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

/// Supplementary groups of the command.
#[derive(Debug, PartialEq, Eq)]
pub enum Groups {
    /// Listed group IDs.
    Set(Vec<u32>),
    /// Groups of the user who runs usnea (`--group-add keep-groups`, or where setgroups(2) is denied).
    Keep,
}

/// User, groups and capabilities of the command.
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

/// Answers to the calls that a filter hands over.
#[derive(Debug)]
pub struct Supervised {
    /// Kind of emulation.
    pub emulation: Emulation,
    /// User, group and capabilities of the command, for the supervisor.
    pub supervisor: Supervisor,
    /// Lifetime of the supervisor.
    pub until: Until,
}

/// Lifetime of the supervisor that answers calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Until the process that launched the container dies: the container dies with it.
    ParentsDeath,
    /// Until no process with the filter is left.
    LastCaller,
}

/// Command to execute.
#[derive(Debug)]
pub struct Command {
    /// `argv`
    pub arguments: Vec<CString>,
    /// `KEY=value`
    pub environment: Vec<CString>,
    /// True if process 1 is usnea's reaper and the command its child.
    pub init: bool,
    /// True if the command has a terminal of its own.
    pub terminal: bool,
    /// Device and inode of usnea's own program, which the command must not be (CVE-2019-5736).
    pub ourselves: (u64, u64),
}

impl Step {
    /// Returns the step as a phrase, for the log, `--explain` and the error message "cannot ...".
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
            Self::Personality(_) => "set the personality".into(),
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
