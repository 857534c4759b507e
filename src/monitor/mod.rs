//! The per-container process: it launches the container, owns its streams, its log, the record of its end, those who are
//! attached and the next start. One thread, one loop, asleep while nothing happens; the only process of ours beside a
//! detached container (and the keeper, which is part of it).
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
//! It launches with the memory of a whole command, and then becomes our program anew, with a word for the role: the
//! small loop needs a few hundred kB. For the next start it becomes the whole program again. Its number, children and
//! locks stay what they were.
//!
//! When it is killed, the container dies with it (the engine sees to that): there is no container that nobody watches.
//! What is so is computed by whoever asks (`status`), from the files (`record`) and from what lives (`being`). The lock
//! on the container's folder is held from the launch to the end: nobody removes or starts what runs.

pub mod being;
mod clients;
pub mod events;
mod handover;
pub mod health;
mod journal;
mod launch;
pub mod log;
mod oom;
mod output;
pub mod policy;
pub mod record;
mod serve;
pub mod status;
mod streams;
pub mod talk;

pub use handover::{CHECK, Handover, MONITOR, RELAUNCH, REMOVE, take};
pub use journal::SOCKET as JOURNAL;
pub use launch::{Job, start, start_again, state};
pub use serve::watch;
pub use status::Status;
