//! `run --join`: commands of one step share a container, which ends with the last of them, whatever is killed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Place, Ran, Started, finish, need, processes_with, text, within};

const PATIENCE: Duration = Duration::from_secs(30);

/// Prints the namespaces that all commands of a group have in common.
const NAMESPACES: &str = "for n in user mnt pid ipc net; do readlink /proc/self/ns/$n; done";

/// Waits until a file of the common root exists.
const UNTIL_DONE: &str = "until test -e /done; do sleep 0.05; done";

/// Commands of one user with a runtime folder, and so groups, of their own.
struct Step {
    place: Place,
    root: String,
}

impl Step {
    fn new() -> Self {
        let place = Place::new();
        let runtime = place.folder("runtime");
        fs::set_permissions(&runtime, fs::Permissions::from_mode(0o700)).expect("a closed folder");
        let root = place.image();
        Self { place, root }
    }

    /// A command of the group `a`, with further options.
    fn command(&self, options: &[&str], words: &[&str]) -> Command {
        self.alone(&[&["--join=a"], options].concat(), words)
    }

    fn alone(&self, options: &[&str], words: &[&str]) -> Command {
        let words = [&["run", "--rm"], options, &[self.root.as_str()], words].concat();
        let mut command = self.place.command(&words);
        command.env("XDG_RUNTIME_DIR", self.place.path("runtime"));
        command
    }

    fn run(&self, options: &[&str], script: &str) -> Ran {
        finish(&mut self.command(options, &["sh", "-c", script]), "")
    }

    /// Starts a command, which says `up` once it runs.
    fn start(&self, script: &str) -> Started {
        let script = format!("echo up; {script}");
        let mut started = Started::new(&mut self.command(&[], &["sh", "-c", &script]), "");
        started.wait_for("up");
        started
    }

    fn holders(&self) -> Vec<i32> {
        let folder = self.groups();
        let has_folder = |number: i32| {
            let links = fs::read_dir(format!("/proc/{number}/fd")).into_iter().flatten().flatten();
            links.filter_map(|link| fs::read_link(link.path()).ok()).any(|link| link == folder)
        };
        let holders = processes_with("group holder").into_iter().map(|holder| holder.number);
        holders.filter(|number| has_folder(*number)).collect()
    }

    fn groups(&self) -> PathBuf {
        self.place.path("runtime/usnea/groups")
    }

    /// Waits until the group has ended, and asserts that no process, no mount and no file of it is left.
    #[track_caller]
    fn ends(&self) {
        let sockets = || {
            let entries = fs::read_dir(self.groups()).into_iter().flatten().flatten();
            let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
            names.filter(|name| name.ends_with(".sock")).count()
        };
        assert!(within(PATIENCE, || self.holders().is_empty()), "{:?}", self.holders());
        assert_eq!(sockets(), 0);
        self.place.nothing_is_left();
    }
}

fn kill(number: i32) {
    kill_process(Pid::from_raw(number).expect("a number"), Signal::KILL).expect("a signal");
}

#[test]
fn joined_commands_have_one_root_and_the_same_namespaces() {
    let step = Step::new();
    let first =
        step.start(&format!("echo a > /made; touch /ready; {UNTIL_DONE}; {NAMESPACES}; cat /made"));
    let wait = "until test -e /ready; do sleep 0.05; done";
    let second = step.run(&[], &format!("{wait}; {NAMESPACES}; cat /made; echo b > /made"));
    let of_second: Vec<_> = second.works().lines().collect();
    // While the group lives: the kernel gives the number of a namespace that has ended to another one.
    let alone = finish(&mut step.alone(&[], &["sh", "-c", NAMESPACES]), "");
    for line in alone.works().lines() {
        assert!(!of_second.contains(&line), "{line}");
    }
    step.run(&[], "touch /done").works();
    let first = first.end();
    let of_first: Vec<_> = first.works().lines().collect();
    assert_eq!(of_first[..5], of_second[..5]);
    assert_eq!((of_first.last(), of_second.last()), (Some(&"b"), Some(&"a")));
    step.ends();
}

#[test]
fn commands_of_a_group_write_to_one_overlay_that_stays() {
    let step = Step::new();
    let folder = step.place.folder("overlay");
    let overlay = ["--overlay", text(&folder)];
    let script = format!("echo up; echo kept > /kept; {UNTIL_DONE}");
    let mut first = Started::new(&mut step.command(&overlay, &["sh", "-c", &script]), "");
    first.wait_for("up");
    let alone = finish(&mut step.alone(&overlay, &["true"]), "");
    alone.fails_with(125, &[text(&folder)]);
    let script = "until test -e /kept; do sleep 0.05; done; cat /kept; touch /done";
    assert_eq!(step.run(&overlay, script).works(), "kept");
    first.end().works();
    step.ends();
    assert_eq!(fs::read_to_string(folder.join("upper/kept")).expect("a file"), "kept\n");
}

#[test]
fn sixteen_commands_at_once_share_one_container() {
    let step = Step::new();
    let script = format!(
        "echo >> /all; {NAMESPACES}; until test $(wc -l < /all) -ge 16; do sleep 0.1; done"
    );
    let ranks: Vec<_> =
        (0..16).map(|_| Started::new(&mut step.command(&[], &["sh", "-c", &script]), "")).collect();
    let outputs: Vec<_> = ranks.into_iter().map(|rank| rank.end().works().to_owned()).collect();
    assert_eq!(outputs[0].lines().count(), 5, "{outputs:?}");
    assert!(outputs.iter().all(|output| *output == outputs[0]), "{outputs:?}");
    step.ends();
}

#[test]
fn the_first_command_may_end_before_the_others() {
    let step = Step::new();
    let first = step.start("until test -e /second; do sleep 0.05; done");
    let second = step.start(&format!("touch /second; {UNTIL_DONE}; echo on"));
    first.end().works();
    step.run(&[], "test -e /second && touch /done").works();
    assert!(second.end().works().ends_with("on"));
    step.ends();
}

#[test]
fn the_status_and_the_environment_are_each_command_s_own() {
    let step = Step::new();
    let first = step.start(UNTIL_DONE);
    let second = step.run(&["-e", "RANK=1", "-w", "/tmp"], "echo $RANK; pwd; touch /done; exit 7");
    assert_eq!(second.exits(7), "1\n/tmp");
    first.end().works();
    step.ends();
}

#[test]
fn a_killed_command_ends_alone() {
    let step = Step::new();
    let (first, second) = (step.start("exec sleep 1000"), step.start(UNTIL_DONE));
    first.signal(Signal::KILL);
    first.end();
    step.run(&[], "touch /done").works();
    second.end().works();
    step.ends();
}

#[test]
fn all_ends_with_the_holder_and_with_the_process_that_holds_the_namespaces() {
    for pid in ["private", "host"] {
        for who in ["group holder", "holds"] {
            let step = Step::new();
            let words = ["sh", "-c", "echo up; exec sleep 1000"];
            let mut rank = Started::new(&mut step.command(&["--pid", pid], &words), "");
            rank.wait_for("up");
            let holder = step.holders()[0];
            let of_group = |process: &crate::support::Process| process.parent() == Some(holder);
            let mut children = processes_with("").into_iter().filter(of_group);
            let victim = match who {
                "group holder" => holder,
                _ => children.next().expect("a child of the holder").number,
            };
            kill(victim);
            let ran = rank.end();
            assert_ne!(ran.status, 0, "{ran:?}");
            // The socket of a holder that was killed is removed by the next command.
            step.run(&[], "true").works();
            step.ends();
        }
    }
}

#[test]
fn a_command_that_differs_from_its_group_is_refused_with_the_difference() {
    let step = Step::new();
    let first = step.start(UNTIL_DONE);
    let folder = step.place.folder("folder");
    let volume = format!("{}:/data", text(&folder));
    step.run(&["-v", &volume], "true")
        .fails_with(125, &["the container of tag a differs", "/data", "here"]);
    step.run(&["--userns", "keep-id"], "true").fails_with(125, &["ID map"]);
    let words = ["run", "--rm", "--join=a", "host:true", "true"];
    let mut other = step.place.command(&words);
    other.env("XDG_RUNTIME_DIR", step.place.path("runtime"));
    finish(&mut other, "").fails_with(125, &["image: ", "true here"]);
    // Another group has its own container.
    let mut other = step.alone(&["--join=b", "-v", &volume], &["ls", "/data"]);
    finish(&mut other, "").works();
    step.run(&[], "touch /done").works();
    first.end().works();
    step.ends();
}

/// A trial of the kernel's overlay may fail in one of many commands that start at once.
#[test]
fn commands_join_whatever_storage_driver_each_would_have_chosen() {
    let step = Step::new();
    let first = step.start(UNTIL_DONE);
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("the ID of the boot");
    let note = format!("{} no: cannot mount it: Invalid argument", boot.trim());
    fs::write(step.place.store().join("overlay-serves"), note).expect("a note");
    assert_eq!(step.run(&[], "echo joined").works(), "joined");
    step.run(&["--storage-driver", "copy"], "true")
        .fails_with(125, &["storage driver: none there"]);
    step.run(&[], "touch /done").works();
    first.end().works();
    step.ends();
}

#[test]
fn joined_commands_read_each_other_s_memory_and_others_do_not() {
    if !need("musl-gcc") {
        return;
    }
    let step = Step::new();
    let source = step.place.write("peek.c", PEEK);
    let program = step.place.path("root/peek");
    let mut compile = Command::new("musl-gcc");
    compile.args(["-static", "-O1", "-o", text(&program), text(&source)]);
    assert!(compile.status().expect("musl-gcc").success());
    for (options, answer) in [
        (&["--join=a", "--userns", "keep-id", "--pid", "host"][..], "16 bytes: ring of sixteen!"),
        (&["--join=a"], "16 bytes: ring of sixteen!"),
        (&["--join=none", "--userns", "keep-id", "--pid", "host"], "refused: 1"),
    ] {
        let mut held = Started::new(&mut step.alone(options, &["/peek"]), "");
        let seen = held.wait_for_line("at ");
        let [pid, address] = seen[..] else { panic!("{seen:?}") };
        let (pid, address) = (pid.to_string(), address.to_string());
        let peeked = finish(&mut step.alone(options, &["/peek", &pid, &address]), "");
        assert_eq!(peeked.works(), answer, "{options:?}");
        held.signal(Signal::TERM);
        held.end();
        step.ends();
    }
}

#[test]
fn tasks_of_one_step_of_slurm_join_unless_told_not_to() {
    let step = Step::new();
    let slurm = |options: &[&str], words: &[&str]| {
        let mut command = step.alone(options, words);
        command.envs([
            ("SLURM_JOB_ID", "7"),
            ("SLURM_STEP_ID", "0"),
            ("SLURM_LOCALID", "1"),
            ("SLURM_STEP_TASKS_PER_NODE", "2"),
        ]);
        command
    };
    let mut first =
        Started::new(&mut slurm(&[], &["sh", "-c", &format!("echo up; {UNTIL_DONE}")]), "");
    first.wait_for("up");
    let namespace = ["readlink", "/proc/self/ns/user"];
    let joined = finish(&mut slurm(&[], &namespace), "").works().to_owned();
    assert_eq!(finish(&mut slurm(&["--join"], &namespace), "").works(), joined);
    assert_ne!(finish(&mut slurm(&["--join=none"], &namespace), "").works(), joined);
    // A container that differs is not asked for by a flag: the command runs, and a warning names the difference.
    let differs = finish(&mut slurm(&["--hostname", "other"], &namespace), "");
    assert_ne!(differs.works(), joined);
    assert!(differs.stderr.contains("the container of step 7.0 differs: hostname"), "{differs:?}");
    finish(&mut slurm(&[], &["touch", "/done"]), "").works();
    first.end().works();
    step.ends();
}

#[test]
fn a_joined_command_is_disposable_and_in_the_foreground() {
    let step = Step::new();
    for options in [&["--name", "nn"][..], &["-d"], &["--restart", "always"]] {
        let mut command = step.command(options, &["true"]);
        finish(&mut command, "").fails_with(125, &["--join"]);
    }
}

/// Without arguments: holds a text, and says where. With a process and an address: reads the text there.
const PEEK: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>
static char text[] = "ring of sixteen!";
int main(int argc, char **argv) {
    if (argc < 3) {
        printf("at %d %lu\n", getpid(), (unsigned long)text);
        fflush(stdout);
        sleep(1000);
        return 0;
    }
    char room[17] = {0};
    struct iovec here = {room, 16}, there = {(void *)strtoul(argv[2], 0, 10), 16};
    long got = process_vm_readv(atoi(argv[1]), &here, 1, &there, 1, 0);
    if (got < 0) printf("refused: %d\n", errno);
    else printf("%ld bytes: %s\n", got, room);
    return 0;
}
"#;
