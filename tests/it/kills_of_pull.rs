//! A pull from a real registry that is killed, or broken off with Ctrl-C, at any moment: the store is sound, and the next
//! pull brings what is missing and nothing else.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::composed::{Composed, Entry, bytes, file, folder, layer, publish, small_root};
use crate::kills::{kill_after, kill_at_call};
use crate::real_registry::{Auth, RealRegistry, Tls};
use crate::stocked::Stocked;
use crate::support::{need, within};

/// Moments for KILL, and for INT.
const MOMENTS: [(Signal, u32); 2] = [(Signal::KILL, 9), (Signal::INT, 4)];
/// Longest time for a sweep by the clock, and for all by system calls.
const LIMIT: Duration = Duration::from_secs(7);
/// Which of a process's calls of a kind is the last; one process makes few, another many.
const NUMBERS: [u32; 6] = [1, 2, 3, 5, 9, 16];

/// A registry with an image, and a store that pulls it.
struct Shop {
    place: Stocked,
    registry: RealRegistry,
    there: String,
    blobs: usize,
}

impl Shop {
    fn new() -> Option<Self> {
        let registry = RealRegistry::start(Tls::Off, Auth::Off)?;
        if !need("skopeo") {
            return None;
        }
        let place = Stocked::new();
        let many = |prefix: &str| -> Vec<Entry> {
            let files = (0..100).map(|number| file(&format!("{prefix}/f{number}"), "content\n"));
            [folder(prefix)].into_iter().chain(files).collect()
        };
        let large = [bytes("large", "the same again ".repeat(100_000).as_bytes())];
        let layers =
            [small_root(&place), layer(&many("a")), layer(&large), layer(&many("b")), layer(&[])];
        Composed::of(&layers).write(&place, "layout");
        let there = format!("{}/a/tool:1", registry.host);
        publish(&place, "layout", &there);
        Some(Self { place, registry, there, blobs: layers.len() + 1 })
    }

    fn words(&self) -> [&str; 4] {
        ["pull", "-q", "--tls-verify=false", &self.there]
    }

    /// The store has nothing, then `kill`, then all is well.
    fn survives<T>(&self, when: &str, kill: impl FnOnce() -> T) -> T {
        self.place.usnea(&["system", "prune", "-af"]).works();
        let before = self.registry.blobs_sent();
        let answer = kill();
        let whole: BTreeSet<String> = self.names("store/blobs/sha256");
        let check = self.place.usnea(&["check"]);
        assert_eq!((check.works(), check.stderr.as_str()), ("", ""), "{when}");
        self.place.usnea(&self.words()).works();
        let check = self.place.usnea(&["check"]);
        assert_eq!((check.works(), check.stderr.as_str()), ("", ""), "{when}");
        let ran = self
            .place
            .shell(&format!("usnea export {} | tar -t | grep -Ec '[ab]/f[0-9]'", self.there));
        assert_eq!(ran.works(), "200", "{when}");
        // What was whole when it was killed came once. The log is written after the answer.
        let since = |hex: &str, sent: &std::collections::BTreeMap<String, usize>| {
            let count = |all: &std::collections::BTreeMap<String, usize>| {
                all.get(hex).copied().unwrap_or_default()
            };
            count(sent) - count(&before)
        };
        let all_came = || {
            let sent = self.registry.blobs_sent();
            sent.len() == self.blobs && sent.keys().all(|hex| since(hex, &sent) > 0)
        };
        assert!(within(Duration::from_secs(5), all_came), "{when}");
        let sent = self.registry.blobs_sent();
        for hex in sent.keys().filter(|hex| whole.contains(*hex)) {
            assert_eq!(since(hex, &sent), 1, "{hex} came again, {when}");
        }
        answer
    }

    fn names(&self, folder: &str) -> BTreeSet<String> {
        let entries = std::fs::read_dir(self.place.place.path(folder)).into_iter().flatten();
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }
}

#[test]
fn a_pull_that_is_broken_off_at_any_moment_is_continued() {
    let Some(shop) = Shop::new() else { return };
    let began = Instant::now();
    shop.place.usnea(&shop.words()).works();
    let whole = began.elapsed();
    for (signal, steps) in MOMENTS {
        let deadline = Instant::now() + LIMIT;
        for step in 0..steps {
            if Instant::now() > deadline {
                break;
            }
            let delay = whole * step / steps;
            let when = format!("{signal:?} after {delay:?}");
            shop.survives(&when, || kill_after(&shop.place, &shop.words(), signal, delay));
        }
    }
}

#[test]
fn a_pull_that_is_killed_at_any_change_of_a_file_is_continued() {
    if !need("strace") {
        return;
    }
    let Some(shop) = Shop::new() else { return };
    let deadline = Instant::now() + LIMIT;
    let mut killed = 0;
    // One of each kind first, so that all have their turn.
    for number in NUMBERS {
        for calls in
            ["rename,renameat,renameat2", "pwrite64", "fsync,syncfs", "flock", "openat", "mkdirat"]
        {
            if Instant::now() > deadline {
                break;
            }
            let when = format!("killed at {calls} number {number}");
            let reached =
                shop.survives(&when, || kill_at_call(&shop.place, &shop.words(), calls, number));
            killed += u32::from(reached);
            assert!(reached || number > 1, "{calls}: not killed");
        }
    }
    assert!(killed >= 3, "{killed} kills");
}
