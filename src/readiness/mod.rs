//! Readiness: tells the service manager when a container has started (sd_notify(3)), as podman's `--sdnotify` does.
//!
//! ```text
//! service_manager    the manager's socket, NOTIFY_SOCKET
//! proxy              the socket that a container has in its place
//! notifier           who says READY, and what else is passed on
//! ```
//!
//! The manager takes messages from processes of the service's cgroup alone. A container may have a cgroup elsewhere,
//! and has its own PIDs. So its messages go to a socket of the monitor or parent process, which passes them on.

mod notifier;
mod proxy;
mod service_manager;

pub use notifier::{Notifier, NotifierHandover, NotifyMode, NotifyRequest};
pub use proxy::{PROXY_FOLDER, PROXY_SOCKET, folder_name, remove_left};
pub use service_manager::NOTIFY_SOCKET;
