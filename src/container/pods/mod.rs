//! Pods: containers that share namespaces, and are started, stopped and removed together (see `monitor::pod`).

mod create;
mod filter;
mod host_names;
mod inspect;
mod join;
mod known;
mod launch;
mod lifecycle;
mod list;
mod observe;
mod remove;
mod rename;

pub use create::{CreatePod, PodNetwork, create};
pub use filter::PodFilter;
pub(super) use host_names::tell_members;
pub use inspect::inspect;
pub use join::{NewPod, PodChoice, join};
pub use known::{Pod, PodState, all, find, find_id, members, name_of};
pub(super) use known::{all_in, check, find_id_in, hold};
pub(super) use launch::{TRIES, plan, stopped};
pub use lifecycle::{PodOutcome, kill, pause, restart, start, stop, unpause};
pub use list::{ListedPod, PodOrder, list};
pub use observe::{logs, top};
pub use remove::{PodRemoval, prune, remove};
pub(super) use rename::rename_member;
