//! Verbs of an OCI runtime's command line, over the engine: podman, buildah and containerd start containers by them.
//!
//! ```text
//! runtime    the folder with the states of all containers
//! state      state.json of one container, and its status, computed from its process
//! bundle     config.json, as the engine takes it
//! create     create and run          start kill delete    the rest of a life
//! report     states of containers    processes            those of a container
//! exec       another command
//! resources  pause, resume, update, statistics: what takes a cgroup
//! features   abilities of this runtime
//! ```
//!
//! Between create and start the container's process waits at a FIFO in its state folder (`exec.fifo`), a child of
//! whoever adopts orphans (conmon, containerd's shim). No process of usnea stays.

mod bundle;
mod console;
mod create;
mod delete;
mod exec;
mod features;
mod kill;
mod pid_file;
mod processes;
mod report;
mod resources;
mod runtime;
mod start;
mod state;

pub use bundle::{parse, template};
pub use create::{CreateRequest, OciCaller, RunEnd, create, run};
pub use delete::{Deletion, delete};
pub use exec::{OciExecRequest, exec};
pub use features::features;
pub use kill::{KillScope, kill};
pub use processes::processes;
pub use report::{list, state};
pub use resources::{Statistics, StatisticsEvent, pause, resume, statistics, update};
pub use runtime::{CgroupManager, Rootless, Runtime};
pub use start::start;
pub use state::{ContainerStatus, OciState};

/// Greatest version of the OCI runtime specification whose configurations are understood.
pub const SPEC_VERSION: &str = "1.2.0";
