//! The per-container monitor process. The monitor launches the container; owns its streams, its log, the record of its
//! end and the attached clients; and restarts the container. A single thread with a single loop, asleep while nothing
//! happens. No other process of ours runs beside a detached container (but the keeper, which is part of the container).
//!
//! ```text
//!  usnea start, run -d                         monitor                                  container
//!     |-- fork ------------------------------->| (launch) setsid, engine::launch ------->|
//!     |<-- it runs, or why not ----------------| state.json                              |
//!     | prints the ID and leaves               | exec of ourselves (handover)            |
//!                                              | (serve) <-- pipes or terminal --------- |
//!  usnea attach, wait <=== socket (talk) ====> | ---> log, clients                       |
//!                                              | <-- SIGCHLD --------------------------- x
//!                                              | exit.json, then those who wait are told
//!                                              | ends; or waits (policy) and launches again; or removes it
//! ```
//!
//! The launch takes the memory of a whole command. The monitor then executes this program anew with a word for its
//! role: the small loop needs a few hundred kB. For the next start, the monitor becomes the whole program again. PID,
//! children and locks stay the same.
//!
//! When the monitor is killed, the engine kills the container too: no container runs unwatched. The current state is
//! computed by each reader (`status`), from the files (`record`) and from live processes (`process_id`). The monitor holds
//! the lock on the container's folder from launch to end: nobody removes or starts a running container.

pub mod clients;
pub mod events;
mod handover;
pub mod health;
pub mod journal;
mod launch;
pub mod log;
mod oom;
mod output;
pub mod pod;
pub mod policy;
pub mod protocol;
pub mod record;
mod serve;
pub mod status;
mod streams;

pub use handover::{CHECK, Handover, MONITOR, RELAUNCH, REMOVE, take};
pub use launch::{Job, PodJob, start, start_again, state};
pub use serve::watch;
pub use status::Status;
