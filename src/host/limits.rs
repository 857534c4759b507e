//! Limits of this user and this process that stop containers: numbers of namespaces, memory of a process.

use nix::sys::resource::{Resource, getrlimit};

use super::hint::Hint;

/// Kinds of namespaces, as in `/proc/sys/user/max_*_namespaces`.
pub const KINDS: [&str; 8] = ["user", "mnt", "pid", "uts", "ipc", "net", "cgroup", "time"];

/// Memory that a server of usnea's with its threads needs, in KiB.
const ENOUGH: u64 = 256 * 1024;

/// Returns the hint where a process may have too little memory for usnea's servers (setrlimit(2)). `None`: the memory
/// suffices.
pub fn of_memory() -> Option<Hint> {
    let limits = [(Resource::RLIMIT_AS, "-v"), (Resource::RLIMIT_DATA, "-d")];
    limits.into_iter().find_map(|(resource, option)| {
        let (soft, _) = getrlimit(resource).ok()?;
        too_low(soft).then_some(Hint::MemoryOfProcesses(option, soft / 1024))
    })
}

/// Returns the first port at which an ordinary user may listen (`net.ipv4.ip_unprivileged_port_start` in ip(7)).
pub fn first_unprivileged_port() -> u32 {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(1024)
}

fn too_low(bytes: u64) -> bool {
    bytes / 1024 < ENOUGH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_too_low_below_what_a_server_needs() {
        assert!(too_low(50_000 * 1024));
        assert!(!too_low(ENOUGH * 1024) && !too_low(nix::sys::resource::RLIM_INFINITY));
    }
}
