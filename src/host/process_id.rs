//! Identifies a process beyond its PID, which the kernel reuses (after a reboot at once). PID, start time and boot ID
//! together name exactly one process.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::OnceLock;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Context, Result};
use crate::sys::process;

/// A process of the current boot, identified by PID and start time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// Process ID.
    pub pid: i32,
    /// Start time in ticks since the boot (proc_pid_stat(5), field 22).
    pub start: u64,
}

impl ProcessId {
    /// Identifies the process that has this PID now. `None`: no such process.
    pub fn of(pid: i32) -> Option<Self> {
        let (start, _) = stat(pid)?;
        Some(Self { pid, start })
    }

    /// Identifies the process of a pidfd by its PID here. `None`: the process has ended, or has no PID here.
    pub fn of_pidfd(pidfd: BorrowedFd<'_>) -> Option<Self> {
        let path = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
        let text = std::fs::read_to_string(path).ok()?;
        let pid = text.lines().find_map(|line| line.strip_prefix("Pid:"))?.trim().parse().ok()?;
        Self::of(pid).filter(|_| pid > 0)
    }

    /// Identifies this process.
    pub fn ourselves() -> Result<Self> {
        let pid = std::process::id() as i32;
        Self::of(pid)
            .ok_or_else(|| std::io::Error::from_raw_os_error(libc::ESRCH))
            .context(|| "/proc/self/stat")
    }

    /// True if the process has not ended. A zombie, waiting to be reaped, counts as ended.
    pub fn lives(&self) -> bool {
        stat(self.pid)
            .is_some_and(|(start, state)| start == self.start && !matches!(state, b'Z' | b'X'))
    }

    /// Time since the start of the process, by the boot clock: the wall clock may jump.
    pub fn age(&self) -> Duration {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let now = Duration::new(now.tv_sec as u64, now.tv_nsec as u32);
        let ticks = rustix::param::clock_ticks_per_second();
        let start = Duration::from_millis(self.start.saturating_mul(1000) / ticks);
        now.saturating_sub(start)
    }

    /// Opens a pidfd of the process, which cannot come to mean another one. `None`: the process has ended.
    pub fn open(&self) -> Option<std::os::fd::OwnedFd> {
        let pidfd = process::open_pidfd(self.pid).ok()?;
        // Checked after the open: the pidfd refers to the process that had the PID at that moment.
        self.lives().then_some(pidfd)
    }
}

/// Start time and state of a process. The name, in parentheses, may contain any byte.
fn stat(pid: i32) -> Option<(u64, u8)> {
    let text = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse(&text)
}

fn parse(text: &[u8]) -> Option<(u64, u8)> {
    let end = text.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(text.get(end + 2..)?).ok()?;
    let state = *rest.as_bytes().first()?;
    // The state is field 3.
    Some((rest.split(' ').nth(22 - 3)?.parse().ok()?, state))
}

/// The boot ID of this boot (random(4)), read once in a process: a list of containers compares it for each.
pub fn boot_id() -> Result<String> {
    static BOOT_ID: OnceLock<String> = OnceLock::new();
    if let Some(id) = BOOT_ID.get() {
        return Ok(id.clone());
    }
    let path = "/proc/sys/kernel/random/boot_id";
    let id = std::fs::read_to_string(path).context(|| path)?;
    Ok(BOOT_ID.get_or_init(|| id.trim().to_owned()).clone())
}

/// Inode of this process's PID namespace. PIDs have a meaning within that namespace alone.
pub fn pid_namespace() -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    Some(std::fs::metadata("/proc/self/ns/pid").ok()?.ino())
}

/// This machine's host name: several machines may share the disk of a store.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_parentheses_may_hold_anything() {
        let tail = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20";
        for name in ["a", "a) R 1 2", ")", "a b ("] {
            assert_eq!(
                parse(format!("7 ({name}) {tail}").as_bytes()),
                Some((4242, b'S')),
                "{name}"
            );
        }
        assert_eq!(parse(b""), None);
        assert_eq!(parse(b"7 (a)"), None);
    }

    #[test]
    fn ages_are_measured_by_the_clock_of_the_boot() {
        let child = std::process::Command::new("sleep").arg("100").spawn();
        let mut child = child.expect("sleep");
        let process_id = ProcessId::of(child.id() as i32).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        let age = process_id.age();
        child.kill().unwrap();
        child.wait().unwrap();
        // A tick is 10 ms; a machine may be busy, but not for an hour.
        assert!(age >= Duration::from_millis(40) && age < Duration::from_secs(3600), "{age:?}");
        assert!(process_id.age() >= age, "it goes on when the process has ended");
        assert_eq!(ProcessId { start: u64::MAX, ..process_id }.age(), Duration::ZERO);
    }

    #[test]
    fn a_pidfd_names_its_process() {
        use std::os::fd::AsFd;
        let own = ProcessId::ourselves().unwrap();
        assert_eq!(ProcessId::of_pidfd(own.open().unwrap().as_fd()), Some(own));
        assert_eq!(ProcessId::of_pidfd(std::fs::File::open("/").unwrap().as_fd()), None);
    }

    #[test]
    fn we_live_and_another_start_is_another_process() {
        let own = ProcessId::ourselves().unwrap();
        assert!(own.lives() && own.open().is_some());
        let other = ProcessId { start: own.start + 1, ..own };
        assert!(!other.lives() && other.open().is_none());
    }
}
