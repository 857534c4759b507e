//! Emulated credentials of the container's processes.
//!
//! A process inherits the credentials of its parent at the fork. Forks are not observed. At the first call of a
//! process, its ancestors are searched for a known one, whose credentials at the start of the process are inherited. A
//! process whose parent ended before that call has only init as an ancestor, and gets the container's initial
//! credentials.

use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};

use super::credentials::Credentials;

/// Clock ticks per second in /proc/PID/stat: USER_HZ, the same on all architectures here.
const TICKS: i64 = 100;
/// Number of changes recorded for a process: a shell that changes its IDs forever must not use ever more memory.
const HISTORY: usize = 16;
/// Limit of all group lists together, 16 MiB: the supervisor is outside of the container's limits.
const MOST_GROUPS: usize = 4 << 20;
/// Number of records above which those of ended processes are removed.
const MANY: usize = 1024;

/// Record of a process: its start, and its changes with their times, in ticks since boot.
#[derive(Clone, Debug)]
struct ProcessRecord {
    began: u64,
    changes: Vec<(u64, Credentials)>,
}

/// Facts about a thread from /proc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    parent: u32,
    began: u64,
}

/// Table of the container's processes.
#[derive(Debug)]
pub struct Processes {
    proc: OwnedFd,
    first: Credentials,
    records: HashMap<u32, ProcessRecord>,
    /// Interned lists of supplementary groups, shared by all processes with the same list.
    lists: HashSet<Arc<[u32]>>,
    sweep_at: usize,
}

impl Processes {
    /// Creates the table of a container that begins as `first`. `proc`: a procfs of our own PID namespace.
    pub fn new(proc: OwnedFd, first: Credentials) -> Self {
        Self { proc, first, records: HashMap::new(), lists: HashSet::new(), sweep_at: MANY }
    }

    /// Interns a list of groups. `None`: the lists of all processes are too large.
    pub fn list(&mut self, groups: &[u32]) -> Option<Arc<[u32]>> {
        if let Some(known) = self.lists.get(groups) {
            return Some(known.clone());
        }
        let is_full = |lists: &HashSet<Arc<[u32]>>| {
            lists.iter().map(|list| list.len()).sum::<usize>() + groups.len() > MOST_GROUPS
        };
        if is_full(&self.lists) {
            self.forget_ended();
            self.lists.retain(|list| Arc::strong_count(list) > 1);
            if is_full(&self.lists) {
                return None;
            }
        }
        let list: Arc<[u32]> = groups.into();
        self.lists.insert(list.clone());
        Some(list)
    }

    /// Returns the credentials of a thread's process. Before the first change no lookup is needed.
    pub fn of(&mut self, thread: u32) -> Credentials {
        if self.records.is_empty() {
            return self.first.clone();
        }
        match self.process(thread) {
            Some((process, _)) => self.record(process).unwrap_or_else(|| self.first.clone()),
            None => self.first.clone(),
        }
    }

    /// Sets the credentials of a thread's process.
    pub fn change(&mut self, thread: u32, credentials: Credentials) {
        if credentials == self.of(thread) {
            return;
        }
        let Some((process, seen)) = self.process(thread) else { return };
        self.sweep();
        let first = vec![(0, self.first.clone())];
        let record = self
            .records
            .entry(process)
            .or_insert(ProcessRecord { began: seen.began, changes: first });
        record.changes.push((now(), credentials));
        if record.changes.len() > HISTORY {
            record.changes.remove(1);
        }
    }

    fn process(&self, thread: u32) -> Option<(u32, Seen)> {
        let seen = self.look(thread)?;
        if self.records.get(&thread).is_some_and(|record| record.began == seen.began) {
            return Some((thread, seen));
        }
        let status = self.read(&format!("{thread}/status"))?;
        let process =
            status.lines().find_map(|line| line.strip_prefix("Tgid:"))?.trim().parse().ok()?;
        Some((process, self.look(process)?))
    }

    /// Returns the credentials of a process, and records them at the first call.
    fn record(&mut self, process: u32) -> Option<Credentials> {
        let seen = self.look(process)?;
        if let Some(record) = self.records.get(&process)
            && record.began == seen.began
        {
            return record.changes.last().map(|(_, credentials)| credentials.clone());
        }
        let credentials = self.inherited(seen);
        self.sweep();
        let changes = vec![(0, credentials.clone())];
        self.records.insert(process, ProcessRecord { began: seen.began, changes });
        Some(credentials)
    }

    fn inherited(&self, child: Seen) -> Credentials {
        let mut seen = child;
        // Deeper than any sane nesting of processes; a loop is impossible, as parents are older.
        for _ in 0..4096 {
            let (parent, began) = (seen.parent, seen.began);
            let Some(next) = self.look(parent).filter(|_| parent > 1) else { break };
            if let Some(record) = self.records.get(&parent)
                && record.began == next.began
            {
                let by_then = record.changes.iter().rfind(|(time, _)| *time <= began);
                return by_then.map_or_else(|| self.first.clone(), |(_, known)| known.clone());
            }
            seen = next;
        }
        self.first.clone()
    }

    fn sweep(&mut self) {
        if self.records.len() >= self.sweep_at {
            self.forget_ended();
        }
    }

    fn forget_ended(&mut self) {
        let mut records = std::mem::take(&mut self.records);
        records.retain(|process, record| {
            self.look(*process).is_some_and(|seen| seen.began == record.began)
        });
        self.sweep_at = MANY.max(records.len() * 2);
        self.records = records;
    }

    fn look(&self, process: u32) -> Option<Seen> {
        parse_stat(&self.read(&format!("{process}/stat"))?)
    }

    fn read(&self, path: &str) -> Option<String> {
        let file = rustix::fs::openat(
            self.proc.as_fd(),
            Path::new(path),
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .ok()?;
        let mut room = [0u8; 4096];
        let length = rustix::io::read(&file, &mut room).ok()?;
        Some(String::from_utf8_lossy(&room[..length]).into_owned())
    }
}

/// Parses the fields after the name, which may contain anything, brackets and spaces too (proc_pid_stat(5)).
fn parse_stat(text: &str) -> Option<Seen> {
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let parent = fields.nth(1)?.parse().ok()?;
    let began = fields.nth(17)?.parse().ok()?;
    Some(Seen { parent, began })
}

fn now() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    (now.tv_sec * TICKS + now.tv_nsec / (1_000_000_000 / TICKS)).try_into().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(folder: &Path) -> Processes {
        let proc = rustix::fs::open(folder, OFlags::PATH, Mode::empty()).unwrap();
        Processes::new(proc, Credentials::of(0, 0))
    }

    /// Writes a process as /proc shows one.
    fn show(folder: &Path, thread: u32, process: u32, parent: u32, began: u64) {
        let place = folder.join(thread.to_string());
        std::fs::create_dir_all(&place).unwrap();
        let zeros = ["0"; 17].join(" ");
        let stat = format!("{thread} (a) (b c) S {parent} {zeros} {began} 0 0");
        std::fs::write(place.join("stat"), stat).unwrap();
        std::fs::write(place.join("status"), format!("Name:\ta\nTgid:\t{process}\n")).unwrap();
    }

    #[test]
    fn the_line_of_proc_is_read_whatever_the_name() {
        let ours = std::fs::read_to_string("/proc/self/stat").unwrap();
        let seen = parse_stat(&ours).unwrap();
        assert_eq!(seen.parent, std::os::unix::process::parent_id());
        assert!(seen.began <= now() && seen.began > 0);
        assert_eq!(parse_stat("12 (x"), None);
    }

    #[test]
    fn a_child_is_who_its_parent_was_when_it_began() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path();
        let later = now() + 1000;
        show(place, 10, 10, 1, 5);
        show(place, 11, 10, 1, 6); // a thread of process 10
        show(place, 12, 12, 10, 7); // forked before the change
        show(place, 13, 13, 10, later); // and after
        show(place, 14, 14, 13, later); // a grandchild
        show(place, 20, 20, 1, later); // of another parent
        let mut processes = table(place);
        processes.change(11, Credentials::of(33, 34));
        let user = |processes: &mut Processes, thread| processes.of(thread).users.real;
        assert_eq!(
            [10, 11, 12, 14, 20].map(|thread| user(&mut processes, thread)),
            [33, 33, 0, 33, 0]
        );
        // Recorded credentials stay, even if the parent changes.
        processes.change(10, Credentials::of(50, 50));
        assert_eq!([10, 12, 14, 13].map(|thread| user(&mut processes, thread)), [50, 0, 33, 50]);
        // The PID is another process's now.
        show(place, 10, 10, 1, later + 5);
        assert_eq!(user(&mut processes, 10), 0);
    }

    #[test]
    fn lists_of_groups_are_kept_once_and_are_too_many_some_day() {
        let folder = tempfile::tempdir().unwrap();
        let mut processes = table(folder.path());
        let groups = |number: u32| -> Vec<u32> { (0..65536).map(|group| group ^ number).collect() };
        let mut given = 0;
        for number in 0..200u32 {
            let process = 2 + number;
            show(folder.path(), process, process, 1, 5);
            let Some(list) = processes.list(&groups(number)) else { break };
            assert!(Arc::ptr_eq(&list, &processes.list(&groups(number)).unwrap()));
            let who = Credentials { supplementary: Some(list), ..Credentials::of(0, 0) };
            processes.change(process, who);
            given += 1;
        }
        assert_eq!(given, MOST_GROUPS / 65536);
        // The lists of an ended process make room.
        std::fs::remove_dir_all(folder.path().join("2")).unwrap();
        let held = processes.list(&groups(1000));
        assert!(held.is_some() && processes.list(&groups(1001)).is_none());
    }

    #[test]
    fn ended_processes_are_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let mut processes = table(folder.path());
        for process in 2..3000 {
            show(folder.path(), process, process, 1, 5);
            processes.change(process, Credentials::of(7, 7));
            std::fs::remove_dir_all(folder.path().join(process.to_string())).unwrap();
        }
        assert!(processes.records.len() <= MANY);
    }
}
