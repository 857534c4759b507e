//! Sample of the resources that a container uses. The figures are those of proc(5) for its processes, and those of its
//! cgroup, if it has one.

use std::fs::read_to_string;
use std::path::Path;
use std::time::Instant;

use crate::cgroup;
use crate::monitor::record::State;

/// Resource usage of the processes of a container, at one time.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Time of the sample.
    pub taken: Instant,
    /// Processor time in seconds of all running processes, and of their children that have ended and were waited for.
    pub cpu: f64,
    /// Memory in bytes. Pages that several processes share count once (PSS), if the kernel reports that.
    pub memory: u64,
    /// Bytes received and sent by all interfaces but loopback. `None`: the container has the host's network.
    pub network: Option<(u64, u64)>,
    /// Bytes read from and written to disks.
    pub blocks: (u64, u64),
    /// Number of threads.
    pub tasks: u64,
    /// Pressure on processor, memory and disks: the share of the last 10 seconds, in percent, in which a process waited
    /// for it. `None`: the kernel does not tell.
    pub pressure: [Option<f64>; 3],
    /// Memory limit in bytes; without one, the machine's memory.
    pub memory_limit: u64,
}

impl Sample {
    /// Takes a sample of a container with these processes (see [`super::processes`]); `state` names the first of them.
    pub fn take(state: &State, processes: &[i32]) -> Self {
        let mut sample = Self {
            taken: Instant::now(),
            cpu: 0.0,
            memory: 0,
            network: network(state.process.pid),
            blocks: (0, 0),
            tasks: 0,
            pressure: [None; 3],
            memory_limit: memory_of_machine(),
        };
        for pid in processes {
            // A process that has ended meanwhile is skipped.
            let Some((ticks, threads)) = times(*pid) else { continue };
            sample.cpu += ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
            sample.tasks += threads;
            sample.memory += memory(*pid).unwrap_or_default();
            let (read, written) = blocks(*pid).unwrap_or_default();
            sample.blocks.0 += read;
            sample.blocks.1 += written;
        }
        if let Some(folder) = &state.cgroup {
            sample.correct(folder);
        }
        sample
    }

    /// Replaces the sums over processes by the counters of the cgroup. Those include processes that have ended, and
    /// kernel memory.
    fn correct(&mut self, folder: &Path) {
        if let Some(microseconds) = cgroup::count(folder, "cpu.stat", "usage_usec") {
            self.cpu = microseconds as f64 / 1e6;
        }
        if let Some(used) = cgroup::number(folder, "memory.current") {
            // docker's and podman's rule: memory that the kernel can reclaim at once does not count.
            let idle = cgroup::count(folder, "memory.stat", "inactive_file").unwrap_or(0);
            self.memory = used.saturating_sub(idle);
        }
        if let Some(limit) = cgroup::number(folder, "memory.max") {
            self.memory_limit = limit.min(self.memory_limit);
        }
        if let Some(tasks) = cgroup::number(folder, "pids.current") {
            self.tasks = tasks;
        }
        self.pressure = ["cpu.pressure", "memory.pressure", "io.pressure"]
            .map(|file| parse_pressure(&read_to_string(folder.join(file)).ok()?));
        if let Ok(text) = read_to_string(folder.join("io.stat")) {
            self.blocks = parse_blocks(&text);
        }
    }

    /// Returns the processor usage since `before`, in percent: 200 means two processors.
    pub fn cpu_percent(&self, before: &Self) -> f64 {
        let time = self.taken.duration_since(before.taken).as_secs_f64();
        // The time of a process disappears from the sum if it ends and is not waited for.
        if time > 0.0 { (self.cpu - before.cpu).max(0.0) / time * 100.0 } else { 0.0 }
    }
}

/// Reads `avg10` of the line `some` (Documentation/accounting/psi.rst).
fn parse_pressure(text: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix("some "))?;
    line.split(' ').find_map(|word| word.strip_prefix("avg10="))?.parse().ok()
}

/// Returns the machine's memory, in bytes: the limit of a container without one.
fn memory_of_machine() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram as u64 * u64::from(info.mem_unit)
}

/// Reads fields 14 to 17 and 20 of proc_pid_stat(5): ticks, and threads.
fn times(pid: i32) -> Option<(u64, u64)> {
    parse_times(&std::fs::read(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_times(text: &[u8]) -> Option<(u64, u64)> {
    let end = text.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(text.get(end + 2..)?).ok()?;
    // The state is field 3.
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(((14..=17).map(field).sum::<Option<u64>>()?, field(20)?))
}

/// Returns the PSS of a process, else its RSS, in bytes.
fn memory(pid: i32) -> Option<u64> {
    let rollup = read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    if let Some(kilobytes) = value(&rollup, "Pss:") {
        return Some(kilobytes * 1024);
    }
    let pages = read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = pages.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

fn blocks(pid: i32) -> Option<(u64, u64)> {
    let text = read_to_string(format!("/proc/{pid}/io")).ok()?;
    Some((value(&text, "read_bytes:")?, value(&text, "write_bytes:")?))
}

/// Returns the first number after `key` at the beginning of a line.
fn value(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// Sums the lines `MAJOR:MINOR rbytes=N wbytes=N ...`, a line for each disk. Stacked disks count the same bytes again.
fn parse_blocks(text: &str) -> (u64, u64) {
    let sum = |key: &str| {
        let words = text.split_ascii_whitespace().filter_map(|word| word.strip_prefix(key));
        words.filter_map(|number| number.parse::<u64>().ok()).sum()
    };
    (sum("rbytes="), sum("wbytes="))
}

fn network(pid: i32) -> Option<(u64, u64)> {
    let namespace = |who: &str| std::fs::read_link(format!("/proc/{who}/ns/net")).ok();
    if namespace(&pid.to_string())? == namespace("self")? {
        return None;
    }
    Some(parse_network(&read_to_string(format!("/proc/{pid}/net/dev")).ok()?))
}

/// Sums two lines of headings, then `NAME: 8 numbers of received, 8 of sent`, bytes first.
fn parse_network(text: &str) -> (u64, u64) {
    let devices = text.lines().skip(2).filter_map(|line| line.split_once(':'));
    let numbers = devices.filter(|(name, _)| name.trim() != "lo").map(|(_, numbers)| {
        let mut numbers =
            numbers.split_ascii_whitespace().map(|number| number.parse().unwrap_or(0));
        (numbers.next().unwrap_or(0), numbers.nth(7).unwrap_or(0))
    });
    numbers.fold((0, 0), |sum, one: (u64, u64)| (sum.0 + one.0, sum.1 + one.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pressure_is_that_of_the_last_seconds() {
        let text = "some avg10=1.25 avg60=0.00 avg300=0.10 total=1\nfull avg10=7.00 avg60=0 avg300=0 total=0\n";
        assert_eq!(parse_pressure(text), Some(1.25));
        assert_eq!(parse_pressure("full avg10=7.00\n"), None);
        assert_eq!(parse_pressure(""), None);
    }
    use crate::host::process_id::{self, ProcessId};

    #[test]
    fn this_process_is_measured() {
        let process = ProcessId::ourselves().unwrap();
        let state = State {
            run: 1,
            process,
            monitor: process,
            boot: process_id::boot_id().unwrap(),
            pid_namespace: None,
            host: process_id::host_name(),
            started: jiff::Timestamp::now(),
            restarts: 0,
            restarting: false,
            socket: None,
            trouble: None,
            offline: None,
            cgroup: None,
        };
        let before = Sample::take(&state, &[process.pid]);
        let spin = Instant::now();
        while spin.elapsed().as_millis() < 100 {
            std::hint::black_box(spin);
        }
        let after = Sample::take(&state, &[process.pid, i32::MAX]);
        assert!(after.cpu_percent(&before) > 0.0 && after.memory > 100_000 && after.tasks >= 1);
        assert!(after.memory < memory_of_machine() && after.network.is_none());
    }

    #[test]
    fn usage_files_of_the_kernel_are_read() {
        let stat = b"7 (a) b) S 1 7 7 0 -1 4194560 10 20 0 0 11 12 13 14 20 0 3 0 4242 1 1";
        assert_eq!(parse_times(stat), Some((50, 3)));
        assert_eq!(parse_times(b"7 (a) S 1"), None);
        let network = "Inter-| Receive | Transmit\n face |bytes packets ...\n    lo: 1 2 3 4 5 6 7 8 9 10\n\
                       tap0: 100 2 0 0 0 0 0 0 200 3 0 0 0 0 0 0\neth1:5 0 0 0 0 0 0 0 6 0\n";
        assert_eq!(parse_network(network), (105, 206));
        let blocks =
            "8:0 rbytes=10 wbytes=20 rios=1 wios=2\n8:16 rbytes=1 wbytes=2 rios=0 wios=0\n";
        assert_eq!(parse_blocks(blocks), (11, 22));
        assert_eq!(value("Rss: 3 kB\nPss:     7 kB\n", "Pss:"), Some(7));
    }
}
