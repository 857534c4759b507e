//! Signals go through usnea to the command; the end of usnea is the end of the container; `--init` adopts and reaps.

use std::time::Duration;

use rustix::process::Signal;

use crate::support::{
    Place, Started, binary, finish, need, need_subids, processes, processes_with, within,
};

/// Starts `usnea run OPTIONS dir:ROOT sh -c SCRIPT` and waits for the "ready" that the script prints.
fn start(place: &Place, options: &[&str], script: &str) -> Started {
    let mut command = place.command(&place.arguments(options, &["sh", "-c", script]));
    let mut started = Started::new(&mut command, "");
    started.wait_for("ready");
    started
}

#[test]
fn a_signal_reaches_the_command() {
    for (signal, name) in [
        (Signal::TERM, "TERM"),
        (Signal::INT, "INT"),
        (Signal::HUP, "HUP"),
        (Signal::USR1, "USR1"),
        (Signal::QUIT, "QUIT"),
    ] {
        let place = Place::new();
        let script =
            format!("trap 'echo got; exit 3' {name}; echo ready; while :; do sleep 0.05; done");
        let started = start(&place, &[], &script);
        started.signal(signal);
        assert_eq!(started.end().exits(3), "got", "{name}");
    }
}

#[test]
fn a_command_that_a_signal_killed_gives_128_and_the_signal() {
    let place = Place::new();
    assert_eq!(place.run(&["--init"], "kill -KILL $$").status, 137);
    let started = start(&place, &["--init"], "echo ready; exec sleep 100");
    started.signal(Signal::TERM);
    assert_eq!(started.end().status, 143);
}

#[test]
fn the_container_dies_with_usnea() {
    for options in [&[][..], &["--init"]] {
        let place = Place::new();
        // The mark tells our sleep from all others on the machine.
        let mark = format!("100.0{}", std::process::id());
        let started = start(
            &place,
            options,
            &format!("sleep {mark} & setsid sleep {mark} & echo ready; wait"),
        );
        let running = || {
            processes_with(&mark)
                .into_iter()
                .filter(|process| process.text("cmdline").starts_with("sleep "))
        };
        assert!(
            within(Duration::from_secs(2), || running().count() == 2),
            "{options:?}: the sleeps never ran"
        );
        started.signal(Signal::KILL);
        assert_eq!(started.end().status, -9);
        assert!(
            within(Duration::from_secs(2), || running().count() == 0),
            "{options:?}: the container outlives usnea"
        );
        // What its killed parent could not remove, the next run does.
        place.run(&[], "true").works();
    }
}

#[test]
fn processes_left_by_the_command_end_with_it() {
    let place = Place::new();
    let ran = place.run(&[], "setsid sleep 100 & echo done");
    assert_eq!(ran.works(), "done");
}

#[test]
fn init_is_part_of_usnea_and_needs_no_other_binary() {
    let place = Place::new();
    let ran = place.run(&["--init"], "echo $$; exit 5");
    assert_ne!(ran.exits(5), "1");
}

#[test]
fn init_reaps_orphans() {
    let place = Place::new();
    // The inner shell ends before its child, which then belongs to process 1.
    let script =
        "sh -c 'sleep 0.1 & :'; sleep 0.5; ps -o pid,ppid,stat,comm | awk '$3 ~ /^Z/' | wc -l";
    assert_eq!(place.run(&["--init"], script).works(), "0");
}

#[test]
fn init_waits_for_the_command_not_for_its_orphans() {
    let place = Place::new();
    let ran = place.run(&["--init"], "sh -c 'sleep 0.1 & exit 9'; sleep 0.3; exit 4");
    assert_eq!(ran.status, 4);
}

#[test]
fn a_stopped_usnea_continues_after_sigcont() {
    let place = Place::new();
    let started =
        start(&place, &[], "trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done");
    started.signal(Signal::STOP);
    started.signal(Signal::CONT);
    started.signal(Signal::TERM);
    assert_eq!(started.end().status, 3);
}

/// The kernel forgets the death signal of a process that changes its user (prctl(2), PR_SET_PDEATHSIG).
#[test]
fn a_command_that_changed_its_user_dies_with_usnea_too() {
    if !need_subids() || !need("setpriv") {
        return;
    }
    let place = Place::new();
    let script = "exec setpriv --reuid 33 --regid 33 --clear-groups sh -c 'echo ready; sleep 100'";
    let words = ["run", "--rm", "host:sh,setpriv,sleep", "sh", "-c", script];
    let mut started = Started::new(&mut place.command(&words), "");
    started.wait_for("ready");
    started.signal(Signal::KILL);
    assert_eq!(started.end().status, -9);
    // It is of another user: seen by its environment no more, but by its name.
    let left = || {
        processes().iter().any(|process| {
            process.runs() && process.text("cmdline").contains("echo ready; sleep 100")
        })
    };
    assert!(within(Duration::from_secs(2), || !left()), "the command lives on");
}

/// A shell that becomes usnea by exec leaves it its background jobs.
#[test]
fn children_that_are_not_the_launch_s_are_left_alone() {
    let place = Place::new();
    for (options, command, status) in [("", "no-such-command", 127), ("--pid host", "true", 0)] {
        let script = format!(
            "sleep 20 > /dev/null 2>&1 & job=$!; \
             echo $job; exec \"$USNEA\" run --rm {options} {} {command}",
            place.image()
        );
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &script]).env("USNEA", binary());
        place.prepare(&mut shell);
        let ran = finish(&mut shell, "");
        assert_eq!(ran.status, status, "{ran:?}");
        let job: i32 =
            ran.stdout.lines().next().and_then(|line| line.parse().ok()).expect("the job's number");
        let job = rustix::process::Pid::from_raw(job).expect("a process");
        assert!(rustix::process::test_kill_process(job).is_ok(), "the job was ended");
        rustix::process::kill_process(job, Signal::KILL).expect("the job");
    }
}

/// Nor with a terminal, nor in a command that is run in it: usnea's own waiting for signals is not theirs.
#[test]
fn no_signal_is_blocked_in_a_container_however_it_was_started() {
    let place = Place::new();
    let script = "grep SigBlk /proc/self/status";
    let none = "SigBlk:\t0000000000000000";
    for options in
        [&["run", "--rm"][..], &["run", "--name", "box"], &["run", "--name", "tty", "-t"]]
    {
        let ran = place.usnea(&place.kept(options, script));
        assert_eq!(ran.works().trim_end(), none, "{options:?}");
    }
    let again = place.usnea(&["start", "-a", "box"]);
    assert_eq!(again.works(), none);
    place.usnea(&place.kept(&["run", "-d", "--name", "stays"], "sleep 1000")).works();
    let inside = place.usnea(&["exec", "stays", "sh", "-c", script]);
    assert_eq!(inside.works(), none);
    place.usnea(&["rm", "-f", "-a", "-t", "0"]).works();
}
