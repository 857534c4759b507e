//! OCI runtime: turns a spec into a running process. Does not use images.
//!
//! Reading order: `plan` turns a spec into steps. `launch` makes the processes: its `stages` give the order of a
//! launch, its `conversation` is the parent's side, and its `child` carries out the steps. `root` has the steps of the
//! root file system, `command` the last steps before exec. `messages` go between the processes. `session` is the work
//! of the parent while the command runs; `streams` are the command's standard streams. `hooks` are the programs of a
//! config that run beside the steps. `keeper` is the base process once the container runs. `launch::supervisor` starts
//! the process that answers the system calls of root emulation. `command::init` is process 1 with `--init`. `enter`
//! runs another command in a running container. `shared_images` shares the FUSE servers of image files. `group` shares a whole container
//! among commands that joined each other. Both have a holder: an `orphan` at a `holder_address`. `explain` prints the
//! steps as commands of a shell.
//!
//! A container that joins namespaces of another one (`plan::namespace`) has the base of that container. The first
//! process enters that base instead of making one, and no IDs are mapped.
//!
//! ```text
//!   usnea run (parent)                    base                        container
//!      |------ clone3 -------------------->|
//!      |-- newuidmap, newgidmap            | (waits)
//!      |------ Mapped -------------------->| mounts what needs base's IDs, detached
//!      |                                   |-- clone3 (CLONE_PARENT) --->|   when the container's map differs; else base
//!      |<----- Container(pid, pidfd) ------|-- writes its maps           |   continues as the container, or makes it
//!      |                                   |                             |   at once and waits with it for newuidmap
//!      |                                   |------- Mapped ------------->|
//!      |                                   | keeper: ends the container  | root, mounts, pivot_root, ids
//!      |                                   | when the parent dies        |
//!      |<----- Network --------------------------------------------------|   only with a network's helper: the parent starts
//!      |                                   |                             |   it, and it gets ready meanwhile
//!      |<----- Hooks(point) -------------------------------------------|   only with hooks of the runtime, which the parent
//!      |------ Ready ---------------------------------------------------->|   runs
//!      |<----- Terminal(fd) ---------------------------------------------|   only with a terminal
//!      |<----- Namespace(fd), Listener(fd) ------------------------------|   only with root emulation: the parent forks a
//!      |------ Ready ---------------------------------------------------->|   supervisor, which enters the container
//!      |<----- Connect --------------------------------------------------|   only with a network's helper: it is ready
//!      |------ Ready ---------------------------------------------------->|
//!      |<----- Created --------------------------------------------------|   only with Step::Hold: the container is set
//!      |------ Start ---------------------------------------------------->|   up, and its command waits for the caller
//!      |<----- Running -------------------------------------------------|   from here on signals are the command's
//!      |<----- end of file ----------------------------------------------| exec: the socket is close-on-exec
//!      |<----- Failed(step, what, errno) --------------------------------|   instead, from the process that failed
//! ```

mod command;
mod enter;
mod explain;
mod group;
mod holder_address;
mod hooks;
mod keeper;
mod launch;
pub mod messages;
mod orphan;
mod plan;
mod root;
mod session;
mod shared_images;
mod step_error;
mod streams;

pub use enter::{Entered, ExecPlan, Finish, enter, exec};
pub use explain::explain;
pub use group::{GroupAddress, GroupConnection, GroupHolder, GroupMember, sweep_group_sockets};
pub use hooks::{BundleIdentity, HookInterrupt, HookOutputs, Hooks, HooksEnd};
pub use keeper::SERVER_DIED;
pub use launch::processes::{end_children, end_children_but};
pub use launch::run::{attend, attend_to_end, run};
pub use launch::stages::{Created, Launched, Released};
pub use launch::{HELPER_DIED, KILLED_FOR_MEMORY, create, launch};
pub use plan::from_spec::{plan, plan_bundle, plan_bundle_exec, plan_exec};
pub use plan::mount::{MountSource, PlannedMount};
pub use plan::process::{ExecCommand, Groups, Limit, ProcessCredentials};
pub use plan::running::RunningContainer;
pub use plan::secrets::{LaunchSecrets, SecretContent, SecretFile, SecretVariable};
pub use plan::sockets::{LISTEN_FDS, ListenSockets};
pub use plan::step::{AccountEntry, MemoryLayers, Step, Supervised, SupervisorLifetime};
pub use plan::{LaunchOptions, Lifetime, Plan, RootChange, SessionKeyring, StartTrigger};
pub use root::idmapped::Idmapped;
pub use root::image_folders::with_lower_folders;
pub use root::layers::{has_whiteout_names, is_copied};
pub use root::mounted::{FilesAccess, MountedRoot, can_be_read_alone, mount_files};
pub use session::caller_end::{CallerEnd, InputMode, InputOutcome, write_all};
pub use session::detach_keys::DetachKeys;
pub use session::supervise::{InterruptCounter, NetworkRequests, forwarded};
pub use shared_images::sweep_image_sockets;
pub use streams::{
    CallerStreams, CommandStreams, LaunchStreams, ReportTarget, Stdin, pipe_for_container,
};
