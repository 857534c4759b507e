//! A kill at any instant leaves a sound store: `check` finds no fault, the next command goes on, the image is whole.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::stocked::Stocked;
use crate::support::{binary, need, text};

/// How many kills a command gets by the clock, and how many by system calls.
const KILLS: u32 = 20;
/// Longest time for one sweep.
const LIMIT: Duration = Duration::from_secs(25);

/// Which command is killed, on which state of the store.
struct Sweep {
    before: &'static [&'static [&'static str]],
    killed: &'static [&'static str],
}

const SWEEPS: [Sweep; 4] = [
    Sweep { before: &[&["system", "prune", "-af"]], killed: &["load", "-i", "saved"] },
    Sweep { before: &[&["load", "-i", "saved"]], killed: &["rmi", "localhost/one"] },
    Sweep {
        before: &[&["load", "-i", "saved"]],
        killed: &["tag", "localhost/one", "localhost/other", "localhost/third"],
    },
    Sweep {
        before: &[&["load", "-i", "saved"], &["untag", "localhost/one"]],
        killed: &["image", "prune", "-f"],
    },
];

/// A place with the layout `saved` of an image with some hundred files.
fn with_layout() -> Stocked {
    let shop = Stocked::new();
    let names: Vec<String> = (0..200).map(|number| format!("d{}/f{number}", number % 7)).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "content\n")).collect();
    shop.import("localhost/one", &files, &[]);
    shop.usnea(&["save", "--format", "oci-dir", "-o", "saved", "localhost/one"]).works();
    shop
}

impl Sweep {
    fn prepare(&self, shop: &Stocked) {
        for command in self.before {
            shop.usnea(command).works();
        }
    }

    /// Asserts that whatever happened, the store is sound and the image can be had.
    fn is_survived(&self, shop: &Stocked, when: &str) {
        let check = shop.usnea(&["check"]);
        assert_eq!(check.status, 0, "{:?} {when}: {check:?}", self.killed);
        assert_eq!(check.stdout, "", "{:?} {when}", self.killed);
        shop.usnea(&["load", "-i", "saved"]).works();
        let listed = shop.shell("usnea export localhost/one | tar -t | grep -c f");
        assert_eq!(listed.works(), "200", "{:?} {when}", self.killed);
    }
}

/// Sends a signal to usnea with these arguments, and to all its processes, after `delay`.
pub fn kill_after(shop: &Stocked, words: &[&str], signal: Signal, delay: Duration) {
    let mut command = shop.place.command(words);
    shop.at_home(&mut command);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.process_group(0).spawn().unwrap();
    std::thread::sleep(delay);
    // Not reaped yet, so the number is still its own.
    let _ = kill_process_group(Pid::from_child(&child), signal);
    child.wait().unwrap();
}

/// Kills each process of usnea with these arguments at its system call number `number`; whether any got so far.
pub fn kill_at_call(shop: &Stocked, killed: &[&str], calls: &str, number: u32) -> bool {
    let inject = format!("inject={calls}:signal=KILL:when={number}");
    let program = binary();
    let strace = ["strace", "-f", "-qq", "-o", "trace", "-e", &inject, text(&program)];
    // newuidmap has no powers under strace: where there are subordinate IDs, all is done as root of a namespace.
    let root = ["unshare", "--user", "--map-root-user", "--map-auto"];
    let has_ids = shop.other("unshare", &[&root[1..], &["true"]].concat()).status == 0;
    let words = [if has_ids { &root[..] } else { &[] }, &strace, killed].concat();
    let mut command = Command::new(words[0]);
    shop.at_home(command.args(&words[1..]));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().unwrap();
    shop.place.read("trace").contains("killed by SIGKILL")
}

#[test]
fn a_kill_at_any_instant_leaves_a_sound_store() {
    let shop = with_layout();
    for sweep in &SWEEPS {
        sweep.prepare(&shop);
        let began = Instant::now();
        shop.usnea(sweep.killed).works();
        let whole = began.elapsed();
        let deadline = Instant::now() + LIMIT;
        for step in 0..KILLS {
            if Instant::now() > deadline {
                break;
            }
            sweep.prepare(&shop);
            let delay = whole * step / KILLS;
            kill_after(&shop, sweep.killed, Signal::KILL, delay);
            sweep.is_survived(&shop, &format!("killed after {delay:?}"));
        }
    }
}

#[test]
fn a_kill_at_any_change_of_a_file_leaves_a_sound_store() {
    if !need("strace") {
        return;
    }
    let shop = with_layout();
    for sweep in &SWEEPS {
        let deadline = Instant::now() + LIMIT;
        for calls in
            ["rename,renameat,renameat2", "fsync,syncfs,ftruncate", "unlink,unlinkat,rmdir"]
        {
            for number in 1..=KILLS {
                if Instant::now() > deadline {
                    break;
                }
                sweep.prepare(&shop);
                let reached = kill_at_call(&shop, sweep.killed, calls, number);
                sweep.is_survived(&shop, &format!("killed at {calls} number {number}"));
                // Each of them renames something: else the command did not run at all.
                let must = number == 1 && calls.starts_with("rename");
                assert!(reached || !must, "{:?} was not killed", sweep.killed);
                if !reached {
                    break;
                }
            }
        }
    }
}

#[test]
fn commands_at_once_on_one_image_leave_a_sound_store() {
    let shop = with_layout();
    let sweep = &SWEEPS[1];
    let pairs: [[&[&str]; 2]; 3] = [
        [&["rmi", "localhost/one"], &["load", "-i", "saved"]],
        [&["rmi", "localhost/one"], &["rmi", "localhost/one"]],
        [&["tag", "localhost/one", "localhost/other"], &["rmi", "localhost/one"]],
    ];
    for pair in pairs {
        for _ in 0..8 {
            sweep.prepare(&shop);
            let start = |arguments: &[&str]| {
                let mut command = shop.place.command(arguments);
                shop.at_home(&mut command);
                command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
            };
            let mut both = pair.map(start);
            for child in &mut both {
                // Whoever comes too late says that the image is gone, or in use.
                assert!(matches!(child.wait().unwrap().code(), Some(0 | 125)), "{pair:?}");
            }
            sweep.is_survived(&shop, "with another command at once");
            shop.usnea(&["rmi", "-i", "localhost/other"]);
        }
    }
}
