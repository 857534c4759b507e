//! A run that a signal ends at any moment of its start: nothing runs on, nothing stays mounted, and what a SIGKILL
//! leaves in the store goes with the next run.

use std::time::Duration;

use rustix::process::Signal;

use crate::support::{Place, Ran, Started};

/// From before the first system call of ours to well after the exec of the command.
fn moments() -> impl Iterator<Item = Duration> {
    (0..40).map(|step| Duration::from_micros(step * 250)).chain((10..20).map(Duration::from_millis))
}

/// A run of a command that would last, ended by `signal` after each of the moments.
fn sweep(options: &[&str], signal: Signal, check: impl Fn(&Ran, Duration)) {
    let place = Place::new();
    let words = place.arguments(options, &["sleep", "100"]);
    for moment in moments() {
        let started = Started::new(&mut place.command(&words), "");
        std::thread::sleep(moment);
        started.signal(signal);
        check(&started.end(), moment);
    }
    place.run(&[], "true").works();
    place.nothing_is_left();
}

/// Ended by `signal`, caught (128 + n) or not, with at most the one line of an error.
fn ended_by(signal: Signal) -> impl Fn(&Ran, Duration) {
    let number = signal.as_raw();
    move |ran, moment| {
        assert!([128 + number, -number, 125].contains(&ran.status), "after {moment:?}: {ran:?}");
        assert!(
            ran.stderr.lines().filter(|line| !line.starts_with("hint: ")).count() <= 1,
            "{moment:?}: {ran:?}"
        );
    }
}

#[test]
fn sigkill_at_any_moment() {
    sweep(&[], Signal::KILL, |ran, moment| assert_eq!(ran.status, -9, "after {moment:?}: {ran:?}"));
}

#[test]
fn sigterm_at_any_moment() {
    // --init, since a process 1 without a handler of its own does not die of it (pid_namespaces(7)).
    sweep(&["--init"], Signal::TERM, ended_by(Signal::TERM));
}

#[test]
fn sigint_at_any_moment() {
    sweep(&["--init"], Signal::INT, ended_by(Signal::INT));
}

#[test]
fn any_signal_while_a_root_is_assembled() {
    for signal in [Signal::KILL, Signal::TERM, Signal::INT] {
        for moment in [1, 2, 4, 8, 16, 32, 64, 128].map(Duration::from_millis) {
            let place = Place::new();
            let words = ["run", "--rm", "host:bash,git,ls", "bash", "-c", "exit 9"];
            let started = Started::new(&mut place.command(&words), "");
            std::thread::sleep(moment);
            started.signal(signal);
            let ran = started.end();
            // Process 1 may be bash by then, and already at its end.
            let number = signal.as_raw();
            assert!(
                [9, 125, 128 + number, -number].contains(&ran.status),
                "{signal:?} after {moment:?}: {ran:?}"
            );
            if signal != Signal::KILL {
                place.nothing_is_left();
            }
            assert_eq!(
                place.usnea(&words).status,
                9,
                "{signal:?} after {moment:?} spoilt the store"
            );
        }
    }
}
