//! Steps of a launch, and their descriptions for the log, `--explain` and error messages.

use std::path::PathBuf;

use crate::cgroup;
use crate::engine::plan::mount::PlannedMount;
use crate::engine::plan::namespace::NamespacesToJoin;
use crate::engine::plan::process::{
    ExecCommand, Limit, ProcessCredentials, SecurityLabel, TerminalSize,
};
use crate::engine::plan::running::RunningContainer;
use crate::engine::plan::scheduling::{IoPriority, MemoryPolicy, NumberRanges};
use crate::engine::plan::secrets::SecretFile;
use crate::hook_point::HookPoint;
use crate::ids::{BaseIds, ContainerIds, HostIds, IdMaps};
use crate::net;
use crate::security::emulation::{Emulation, Supervisor};
use crate::security::landlock::LandlockDomain;
use crate::security::seccomp::Filter;
use crate::sys::mount::{MountReach, Propagation};
use crate::sys::namespace::Namespaces;
use crate::sys::process;
use crate::sys::schedule::SchedulerAttributes;

/// Step of a launch. The parent does `Cgroup`, `Namespaces` and `Maps`; the child does the other steps.
#[derive(Debug)]
pub enum Step {
    /// Enter the namespaces of a running container, in a new process.
    Join(RunningContainer),
    /// Make the container's cgroup. The container's process starts in that cgroup, and only then makes these
    /// namespaces. The root of a new cgroup namespace is the cgroup of the process that makes it.
    Cgroup(cgroup::CgroupRequest, Namespaces),
    /// Make the base user namespace, and the other namespaces too if base is also the container's user namespace.
    Namespaces(Namespaces),
    /// Enter the base of another container, and namespaces of that container.
    JoinNamespaces(NamespacesToJoin),
    /// Write base's maps.
    Maps(IdMaps<BaseIds, HostIds>),
    /// Make the container's process in these namespaces. With maps: in a user namespace of its own, below base.
    /// Without: in base's user namespace, while newuidmap writes base's maps.
    Container(Namespaces, Option<IdMaps<ContainerIds, BaseIds>>),
    /// Become root of the namespace (or the ID that the user has in it), and lead a new session.
    BecomeRoot {
        /// User ID in the namespace.
        uid: u32,
        /// Group ID in the namespace.
        gid: u32,
    },
    /// Set the priority for the out-of-memory killer (proc_pid_oom_score_adj(5)).
    OomScore(i32),
    /// Make the writable layers in a tmpfs.
    Layers(MemoryLayers),
    /// Mount the root file system.
    Root(PlannedMount),
    /// Mount a file system below the root.
    Mount(PlannedMount),
    /// Make a time namespace with these lines of timens_offsets, for the container's process (time_namespaces(7)).
    TimeOffsets(String),
    /// Set the propagation of the root file system.
    RootPropagation(Propagation, MountReach),
    /// Make a FIFO.
    Fifo {
        /// Path in the container.
        path: PathBuf,
        /// Permissions.
        mode: u32,
    },
    /// Make a symbolic link, in place of a bind mount of one (`copy-symlink`).
    SymbolicLink {
        /// Path in the container.
        path: PathBuf,
        /// Target of the link.
        target: PathBuf,
    },
    /// Make a symbolic link in /dev.
    Link {
        /// Target of the link.
        target: &'static str,
        /// Name of the link in /dev.
        name: &'static str,
    },
    /// Announce the network namespace to the parent, which starts a helper for it.
    Network,
    /// Wait until the helper is ready.
    Connect,
    /// Mount files that are made in memory.
    Files(Vec<net::GeneratedFile>),
    /// Mount secrets from memory.
    Secrets(Vec<SecretFile>),
    /// Add the user who runs the container to its account files.
    Accounts(Vec<AccountEntry>),
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
    /// Mask a path: mount /dev/null over a file, an empty folder over a folder.
    Mask(PathBuf),
    /// Make a path read-only.
    ReadOnly(PathBuf),
    /// Open a pseudo-terminal in the container's own devpts, and send its master to the parent.
    Terminal(Option<TerminalSize>),
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
    /// sched_setattr(2)
    Scheduler(SchedulerAttributes),
    /// ioprio_set(2)
    IoPriority(IoPriority),
    /// sched_setaffinity(2)
    CpuAffinity(NumberRanges),
    /// set_mempolicy(2)
    MemoryPolicy(MemoryPolicy),
    /// Set the label that a security module gives the command.
    SecurityLabel(SecurityLabel),
    /// Enter the working folder, and make it where it is missing.
    WorkingFolder(PathBuf),
    /// Run the hooks of a point: the parent runs those of the runtime, the child those of the container.
    Hooks(HookPoint),
    /// Wait until the caller starts the command of the created container.
    Hold,
    /// Let the launch return, and wait for a byte in the FIFO.
    HoldAtFifo,
    /// Set the mask of the modes of new files; without this step the mask is 022.
    Umask(u32),
    /// Enter a landlock domain.
    Landlock(LandlockDomain),
    /// Reduce the capabilities and become the user of the command.
    Credentials(ProcessCredentials),
    /// Set no_new_privs: exec gives no new privileges.
    NoNewPrivileges,
    /// Install the system call filter. Done as late as possible before exec, since the filter applies to usnea's own
    /// calls too.
    Seccomp(Box<Filter>, Option<Supervised>),
    /// Become the command.
    Exec(ExecCommand),
}

/// A line of passwd(5) or group(5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountEntry {
    /// Path of the account file in the container.
    pub path: &'static str,
    /// Line to append; its third field is the ID.
    pub line: String,
}

/// Writable layers in a tmpfs. The kernel removes it with the container's mount namespace, in whatever order processes
/// die.
#[derive(Clone, Debug)]
pub struct MemoryLayers {
    /// Folder on which the tmpfs is mounted, in the container's mount namespace alone.
    pub on: PathBuf,
    /// Upper and work folders below `on`.
    pub folders: Vec<PathBuf>,
}

/// Root emulation: the system calls that the filter passes to the supervisor, and the answers.
#[derive(Debug)]
pub struct Supervised {
    /// Kind of emulation.
    pub emulation: Emulation,
    /// User, group and capabilities of the command, for the supervisor.
    pub supervisor: Supervisor,
    /// Lifetime of the supervisor.
    pub until: SupervisorLifetime,
}

/// Lifetime of the supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SupervisorLifetime {
    /// Until the process that launched the container dies; the container dies with that process.
    OnParentDeath,
    /// Until no process with the filter is left.
    LastCaller,
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
            Self::JoinNamespaces(join) => {
                let paths = join.namespaces.iter().map(|joined| joined.path.to_string_lossy());
                format!("join {}", paths.collect::<Vec<_>>().join(" and "))
            }
            Self::Maps(_) => "map the IDs".into(),
            Self::Container(_, Some(_)) => {
                "make the container's own user namespace, and the others in it".into()
            }
            Self::Container(_, None) => "make the other namespaces".into(),
            Self::BecomeRoot { .. } => "become root inside".into(),
            Self::Layers(_) => "make the disposable layers, in memory".into(),
            Self::Root(_) => "mount the root filesystem".into(),
            Self::Mount(mount) => format!("mount {}", mount.target.display()),
            Self::TimeOffsets(_) => "make the time namespace with its offsets".into(),
            Self::RootPropagation(..) => "set the propagation of the root filesystem".into(),
            Self::Fifo { path, .. } => format!("make the FIFO {}", path.display()),
            Self::SymbolicLink { path, .. } => format!("make the link {}", path.display()),
            Self::Link { name, .. } => format!("make the link /dev/{name}"),
            Self::Network => "start the network helper".into(),
            Self::Connect => "connect the network".into(),
            Self::Files(files) => {
                let paths: Vec<_> = files.iter().map(|file| file.path).collect();
                format!("mount {}", paths.join(" and "))
            }
            Self::Secrets(_) => "mount the secrets".into(),
            Self::Accounts(_) => "add the user to the container's accounts".into(),
            Self::Loopback => "set the loopback interface up".into(),
            Self::Sysctl { name, .. } => format!("set the kernel parameter {name}"),
            Self::Mask(path) => format!("mask {}", path.display()),
            Self::ReadOnly(path) => format!("make {} read-only", path.display()),
            Self::Terminal(_) => "open a terminal".into(),
            Self::PivotRoot => "pivot_root: enter the new root, detach the old one".into(),
            Self::ReadOnlyRoot => "make the root filesystem read-only".into(),
            Self::Hostname(name) => format!("set the hostname {name}"),
            Self::Domainname(name) => format!("set the domain name {name}"),
            Self::Personality(_) => "set the personality".into(),
            Self::Scheduler(_) => "set the scheduler".into(),
            Self::IoPriority(_) => "set the priority for input and output".into(),
            Self::CpuAffinity(list) if list.text.is_empty() => "use all processors".into(),
            Self::CpuAffinity(list) => format!("use only the processors {}", list.text),
            Self::MemoryPolicy(_) => "set the memory policy".into(),
            Self::SecurityLabel(label) => format!("set the label {}", label.value),
            Self::Limit(limit) => format!("set the limit {}", limit.name),
            Self::WorkingFolder(path) => format!("enter the working directory {}", path.display()),
            Self::Hold => "wait for the start".into(),
            Self::Hooks(point) => format!("run the {} hooks", point.name()),
            Self::HoldAtFifo => "wait for a byte in the FIFO".into(),
            Self::Umask(mask) => format!("umask {mask:04o}"),
            Self::Credentials(who) => {
                format!("become user {}:{} with reduced capabilities", who.uid, who.gid)
            }
            Self::Landlock(_) => "restrict file access by landlock".into(),
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
