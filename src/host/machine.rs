//! Facts about this machine, for `usnea info` alone: no decision depends on them.

use std::time::Duration;

/// Memory and swap space, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Total memory.
    pub total: u64,
    /// Unused memory (`MemFree`).
    pub free: u64,
    /// Total swap space.
    pub swap_total: u64,
    /// Unused swap space.
    pub swap_free: u64,
}

/// Returns the memory of the machine (proc_meminfo(5)).
pub fn memory() -> Memory {
    memory_in(&std::fs::read_to_string("/proc/meminfo").unwrap_or_default())
}

fn memory_in(meminfo: &str) -> Memory {
    let bytes = |key: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kibibytes.unwrap_or(0) * 1024
    };
    Memory {
        total: bytes("MemTotal"),
        free: bytes("MemFree"),
        swap_total: bytes("SwapTotal"),
        swap_free: bytes("SwapFree"),
    }
}

/// Returns the time since the machine was started.
pub fn uptime() -> Duration {
    let text = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds = text.split_whitespace().next().and_then(|word| word.parse::<f64>().ok());
    Duration::from_secs(seconds.unwrap_or(0.0) as u64)
}

/// Returns the number of processors that this process may use.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// True if AppArmor is enabled.
pub fn has_apparmor() -> bool {
    std::fs::read_to_string("/sys/module/apparmor/parameters/enabled")
        .is_ok_and(|text| text.starts_with('Y'))
}

/// True if SELinux is enabled.
pub fn has_selinux() -> bool {
    std::path::Path::new("/sys/fs/selinux/enforce").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_in_bytes() {
        let text = "MemTotal:       16384 kB\nMemFree:  1 kB\nSwapTotal: 0 kB\n";
        let expected = Memory { total: 16 << 20, free: 1024, ..Memory::default() };
        assert_eq!(memory_in(text), expected);
        assert!(memory().total > memory().free && uptime() > Duration::ZERO && processors() > 0);
    }
}
