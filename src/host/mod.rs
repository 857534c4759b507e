//! What this machine can do: cheap probes, and the one table of hints. `usnea doctor` lists them, and the launch makes
//! its choices by the same functions, so what the doctor says is what happens.
//!
//! Where it stops: probes look and say; which way to go is decided above. Nothing here needs root, and nothing is left
//! behind.

pub mod account;
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
pub mod program;
pub mod scratch;
pub mod subid;
pub mod trial;
pub mod userns;

/// Whether systemd is this machine's init (sd_booted(3)).
pub fn systemd_runs() -> bool {
    std::path::Path::new("/run/systemd/system").exists()
}

/// Whether a unit of systemd started this process, or one above it (systemd.exec(5)).
pub fn is_in_unit() -> bool {
    std::env::var_os("INVOCATION_ID").is_some()
}

/// Whether this is a login by ssh of which systemd does not know (pam_systemd(8) names the session).
pub fn is_foreign_login() -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some();
    systemd_runs() && is_set("SSH_CONNECTION") && !is_set("XDG_SESSION_ID")
}

/// The ID of this boot of the machine; empty where the kernel does not say.
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}
