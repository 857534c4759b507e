//! usnea under a system-call filter, as a systemd unit with SystemCallFilter= has it, and under limits of memory: a launch that
//! fails is no end of the command, and says what is in the way.

use std::process::Command;

use crate::support::{Place, Ran, binary, finish, need};

/// A filter with one answer to some calls (seccomp(2)): ACTION, CALLS by number, then the command.
const FILTER: &str = r#"
import ctypes, os, struct, sys
action, calls = int(sys.argv[1]), [int(word) for word in sys.argv[2].split(',')]
lines = [(0x20, 0, 0, 0)]
for call in calls: lines += [(0x15, 0, 1, call), (0x06, 0, 0, action)]
lines += [(0x06, 0, 0, 0x7fff0000)]
code = ctypes.create_string_buffer(b''.join(struct.pack('HBBI', *line) for line in lines))
program = ctypes.create_string_buffer(struct.pack('HxxxxxxP', len(lines), ctypes.addressof(code)))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, program, 0, 0) == 0, os.strerror(ctypes.get_errno())
os.execvp(sys.argv[3], sys.argv[3:])
"#;

const KILL: u32 = 0x8000_0000;
const EPERM: u32 = 0x0005_0001;

fn filtered(place: &Place, action: u32, calls: &[i64], words: &[&str]) -> Ran {
    let calls: Vec<String> = calls.iter().map(i64::to_string).collect();
    let mut command = Command::new("python3");
    command.args(["-c", FILTER, &action.to_string(), &calls.join(",")]);
    command.arg(binary()).args(words);
    place.prepare(&mut command);
    finish(&mut command, "")
}

/// Beside the error there may be a warning: a process with a filter gets no more privileges, such as subordinate IDs.
fn fails(ran: &Ran, phrases: &[&str]) {
    assert_eq!(ran.status, 125, "{ran:?}");
    for phrase in phrases {
        assert!(ran.stderr.contains(phrase), "'{phrase}' is not in {ran:?}");
    }
}

#[test]
fn a_launch_that_a_filter_kills_is_no_end_of_the_command() {
    if !need("python3") {
        return;
    }
    let place = Place::new();
    let image = place.image();
    let run = ["run", "--rm", "--network", "host", &image, "true"];
    for call in [libc::SYS_pivot_root, libc::SYS_move_mount, libc::SYS_sethostname] {
        let ran = filtered(&place, KILL, &[call], &run);
        fails(&ran, &["ended before its command ran", "SystemCallFilter"]);
    }
    let detached = [&["run", "-d"], &run[1..]].concat();
    let ran = filtered(&place, KILL, &[libc::SYS_pivot_root], &detached);
    fails(&ran, &["ended before its command ran"]);
    // Here it is the command that the filter kills.
    let call = [libc::SYS_sync];
    let run = ["run", "--rm", "--network", "host", &image, "sh", "-c", "exec sync"];
    let ran = filtered(&place, KILL, &call, &run);
    assert!(ran.status == 159 && !ran.stderr.contains("before its command ran"), "{ran:?}");
    place.nothing_is_left();
}

#[test]
fn mounts_that_a_filter_refuses_are_reported_with_a_hint() {
    if !need("python3") {
        return;
    }
    let place = Place::new();
    let image = place.image();
    let run = ["run", "--rm", "--network", "host", &image, "true"];
    let calls = [libc::SYS_fsopen, libc::SYS_fsmount, libc::SYS_mount, libc::SYS_move_mount];
    for calls in [&calls[..], &[libc::SYS_pivot_root]] {
        let ran = filtered(&place, EPERM, calls, &run);
        fails(&ran, &["Operation not permitted", "a system-call filter"]);
    }
}

#[test]
fn a_server_without_memory_is_reported_with_the_limit() {
    if !crate::support::drivers().contains(&"fuse") {
        return;
    }
    let place = Place::new();
    let image = place.image();
    for (limit, hint) in [("-d 10000", "ulimit -d"), ("-v 70000", "ulimit -v")] {
        let script = format!("ulimit {limit} && exec \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &script, "sh"]).arg(binary());
        command.args(["run", "--rm", "--storage-driver", "fuse", &image, "true"]);
        place.prepare(&mut command);
        let ran = finish(&mut command, "");
        fails(&ran, &[hint]);
    }
}
