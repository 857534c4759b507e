//! Abilities of this machine: cheap probes, and the one table of hints. `usnea doctor` lists the probes. A launch
//! chooses by the same functions: the doctor's report matches the behaviour of a run.
//!
//! Limits of this module: probes report, and callers decide. No probe needs root, and none leaves anything behind.

pub mod account;
pub mod addresses;
pub mod cgroup;
pub mod checks;
pub mod distribution;
pub mod filesystem;
pub mod finding;
pub mod fuse;
pub mod hint;
pub mod idmap;
pub mod idmap_helpers;
pub mod kernel;
pub mod lifetime;
pub mod limits;
pub mod machine;
pub mod network_helper;
pub mod overlay;
pub mod pmi;
pub mod process_id;
pub mod program;
pub mod routes;
pub mod scratch;
pub mod subid;
pub mod systemctl;
pub mod trial;
pub mod userns;

/// True if systemd is this machine's init (sd_booted(3)).
pub fn systemd_runs() -> bool {
    std::path::Path::new("/run/systemd/system").exists()
}

/// True if a systemd unit started this process or an ancestor of it (systemd.exec(5)).
pub fn is_in_unit() -> bool {
    std::env::var_os("INVOCATION_ID").is_some()
}

/// True for a login by ssh that is unknown to systemd (pam_systemd(8) names the session).
pub fn is_foreign_login() -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some();
    systemd_runs() && is_set("SSH_CONNECTION") && !is_set("XDG_SESSION_ID")
}

/// Returns the ID of this boot of the machine; empty where the kernel has none.
pub fn boot_id() -> String {
    process_id::boot_id().unwrap_or_default()
}
