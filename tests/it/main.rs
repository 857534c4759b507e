//! The integration tests: one program, one file for each part of the behaviour. `support` is what they stand on.
//!
//! They run as an ordinary user, with subordinate IDs and without: `tests/run` sees to both. `house` and `man` read the
//! source tree; all others run the built program.

mod composed;
mod fault_registry;
mod layout_registry;
mod real_registry;
mod small_root;
mod stocked;
mod support;

mod attach;
mod cves;
mod debian;
mod doctor;
mod drivers;
mod errors;
mod exec;
mod explain;
mod fuse_oracle;
mod fuse_overlay;
mod fuse_sequence;
mod fuse_work;
mod health;
mod host_image;
mod house;
mod images;
mod in_use;
mod isolation;
mod kills;
mod kills_of_pull;
mod layers;
mod lifecycle;
mod login;
mod man;
mod move_images;
mod peers;
mod pull;
mod pull_at_once;
mod pull_places;
mod registry_faults;
mod root_emulation;
mod run;
mod run_image;
mod signals;
mod signature_policy;
mod spec;
mod start_broken_off;
mod store;
mod terminal;
mod transports;
mod users;
mod volumes;
