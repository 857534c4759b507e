//! The standard streams of a command without a terminal: a file, a folder or a terminal of the caller's is not in the
//! container, its bytes are; a pipe is.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{Place, Ran, finish, need_subids, within};
use crate::terminal::Screen;

/// Ways to have a command: `usnea run --rm` and `usnea exec` in a container that runs.
const WAYS: [&str; 2] = ["run", "exec"];

fn start_container(place: &Place) {
    place.run_kept(&["-d", "--name", "lives"], "sleep 100").works();
}

fn end_container(place: &Place) {
    place.usnea(&["rm", "-f", "-t", "0", "lives"]).works();
}

/// The words of `usnea WAY FLAGS ... sh -c SCRIPT`.
fn words(place: &Place, way: &str, flags: &[&str], script: &str) -> Vec<String> {
    match way {
        "run" => place.arguments(flags, &["sh", "-c", script]),
        _ => [&["exec"], flags, &["lives", "sh", "-c", script]]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect(),
    }
}

/// Runs it to its end with these streams; standard output and error are files, or what `finish` collects.
fn with_streams(command: &mut Command, input: Stdio, output: Stdio, error: Stdio) -> i32 {
    let ended = command.stdin(input).stdout(output).stderr(error).status().expect("usnea");
    ended.code().unwrap_or(-1)
}

#[test]
fn a_file_that_is_read_cannot_be_written_nor_named() {
    let place = Place::new();
    start_container(&place);
    for way in WAYS {
        let file = place.write("important", "important\n");
        let script = "cat; readlink /proc/self/fd/0; (echo GONE > /proc/self/fd/0) 2> /dev/null; :";
        let mut command = place.command(&words(&place, way, &["-i"], script));
        let input = File::open(&file).expect("the file");
        let output = command.stdin(input).output().expect("usnea");
        let shown = String::from_utf8_lossy(&output.stdout);
        assert!(shown.starts_with("important\npipe:["), "{way}: {output:?}");
        assert_eq!(place.read("important"), "important\n", "{way}");
    }
    end_container(&place);
}

#[test]
fn a_log_that_is_appended_to_is_not_read_nor_emptied_and_keeps_its_order() {
    let place = Place::new();
    start_container(&place);
    for way in WAYS {
        let log = place.write("log", "old\n");
        let open = || File::options().append(true).open(&log).expect("the log");
        let file = open();
        let script = "i=0; while [ $i -lt 50 ]; do echo out$i; echo err$i >&2; i=$((i+1)); done; \
            readlink /proc/self/fd/1; : > /proc/self/fd/1";
        let mut command = place.command(&words(&place, way, &[], script));
        let copy = file.try_clone().expect("a copy");
        assert_eq!(with_streams(&mut command, Stdio::null(), file.into(), copy.into()), 0);
        let text = place.read("log");
        let expected: Vec<_> =
            (0..50).flat_map(|line| [format!("out{line}"), format!("err{line}")]).collect();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "old", "{way}");
        assert_eq!(lines[1..101], expected, "{way}");
        assert!(lines[101].starts_with("pipe:["), "{way}: {}", lines[101]);
    }
    end_container(&place);
}

#[test]
fn output_and_errors_go_to_their_own_files() {
    let place = Place::new();
    let open = |name: &str| File::create(place.path(name)).expect("a file");
    let mut command = place.command(&words(&place, "run", &[], "echo out; echo err >&2"));
    let (output, error) = (open("out").into(), open("err").into());
    assert_eq!(with_streams(&mut command, Stdio::null(), output, error), 0);
    assert_eq!((place.read("out"), place.read("err")), ("out\n".into(), "err\n".into()));
}

#[test]
fn all_of_much_output_is_written() {
    let place = Place::new();
    start_container(&place);
    // 98 MB.
    let last = "12000000";
    let expected = Command::new("seq").arg(last).output().expect("seq").stdout;
    for way in WAYS {
        let mut command =
            place.command(&words(&place, way, &[], &format!("busybox seq {last}; exit 3")));
        let file = File::create(place.path("much")).expect("a file");
        assert_eq!(with_streams(&mut command, Stdio::null(), file.into(), Stdio::inherit()), 3);
        let written = std::fs::read(place.path("much")).expect("it");
        assert!(written == expected, "{way}: {} of {} bytes", written.len(), expected.len());
    }
    // And the other way.
    let mut command = place.command(&words(&place, "run", &["-i"], "tail -n 1; wc -c < /dev/null"));
    command.stdin(File::open(place.path("much")).expect("it"));
    let shown = command.output().expect("usnea").stdout;
    assert!(String::from_utf8_lossy(&shown).starts_with("12000000\n"), "{shown:?}");
    end_container(&place);
}

#[test]
fn a_full_disk_is_an_error_of_ours_and_the_end_of_who_writes() {
    let place = Place::new();
    start_container(&place);
    for way in WAYS {
        let run = |script: &str| {
            let mut command = place.command(&words(&place, way, &[], script));
            let full = File::options().write(true).open("/dev/full").expect("/dev/full");
            let output = command.stdin(Stdio::null()).stdout(full).output().expect("usnea");
            (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
        };
        let (status, said) = run("echo lost");
        assert_eq!(status, Some(125), "{way}: {said}");
        assert!(said.contains("No space left on device"), "{way}: {said}");
        // SIGPIPE ends it, or EPIPE where it is process 1, which only gets signals that it handles.
        let (status, said) = run("exec busybox yes");
        assert!(matches!(status, Some(1 | 141)), "{way}: {status:?} {said}");
        assert!(said.contains("No space left on device"), "{way}: {said}");
    }
    end_container(&place);
}

#[test]
fn a_folder_is_no_input_and_not_in_the_container() {
    let place = Place::new();
    let mut command = place.command(&words(&place, "run", &["-i"], "cat; ls /proc/self/fd/0/"));
    let folder = File::open(place.folder("secrets")).expect("a folder");
    place.write("secrets/name-of-a-secret", "");
    let output = command.stdin(folder).output().expect("usnea");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("cannot read standard input: Is a directory"), "{output:?}");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("name-of-a-secret"), "{output:?}");
}

#[test]
fn pipes_sockets_and_null_go_in_as_they_are() {
    let place = Place::new();
    start_container(&place);
    for way in WAYS {
        let mut command = place.command(&words(&place, way, &["-i"], "readlink /proc/self/fd/0"));
        assert!(finish(&mut command, "").works().starts_with("pipe:["), "{way}");
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let mut command =
            place.command(&words(&place, way, &["-i"], "cat; readlink /proc/self/fd/0"));
        command.stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)));
        (&ours).write_all(b"over a socket\n").expect("written");
        ours.shutdown(std::net::Shutdown::Write).expect("the end");
        let shown = command.output().expect("usnea").stdout;
        let shown = String::from_utf8_lossy(&shown);
        assert!(shown.starts_with("over a socket\nsocket:["), "{way}: {shown}");
        let mut command = place.command(&words(
            &place,
            way,
            &["-i"],
            "for i in 0 1 2; do readlink /proc/self/fd/$i; done",
        ));
        let output = command.stdin(Stdio::null()).output().expect("usnea").stdout;
        assert!(String::from_utf8_lossy(&output).starts_with("/dev/null\npipe:["), "{way}");
    }
    end_container(&place);
}

/// moby#6880, podman#17692: images link their logs to /dev/stdout and /dev/stderr.
#[test]
fn every_user_of_the_container_may_open_the_streams_by_name() {
    if !need_subids() {
        return;
    }
    let place = Place::new();
    start_container(&place);
    let script = "echo out > /dev/stdout; echo err > /dev/stderr";
    for way in WAYS {
        let flags = ["-u", "1000"];
        let check = |ran: Ran, how: &str| {
            assert_eq!((ran.works(), ran.stderr.trim()), ("out", "err"), "{way} {how}");
        };
        check(finish(&mut place.command(&words(&place, way, &flags, script)), ""), "pipes");
        let mut command = place.command(&words(&place, way, &flags, script));
        let file = File::create(place.path("out")).expect("a file");
        assert_eq!(with_streams(&mut command, Stdio::null(), file.into(), Stdio::null()), 0);
        assert_eq!(place.read("out"), "out\n", "{way}");
    }
    for flags in [&["-d"][..], &["-d", "-i"]] {
        let words = [&["run", "--name", "logs", "-u", "1000"], flags].concat();
        place.usnea(&place.kept(&words, script)).works();
        place.usnea(&["wait", "logs"]).works();
        let logs = place.usnea(&["logs", "logs"]);
        assert_eq!((logs.works(), logs.stderr.trim()), ("out", "err"), "{flags:?}");
        place.usnea(&["rm", "logs"]).works();
    }
    end_container(&place);
}

#[test]
fn a_terminal_of_the_caller_s_is_not_in_the_container() {
    let place = Place::new();
    start_container(&place);
    for way in WAYS {
        for flags in [&[][..], &["-i"]] {
            let script = "for i in 0 1 2; do test -t $i && echo terminal; \
                case $(readlink /proc/self/fd/$i) in /dev/null|pipe:*) ;; *) echo held;; esac; done; echo done";
            let screen = Screen::start(&place, &words(&place, way, flags, script));
            let (status, seen) = screen.end();
            assert_eq!((status, seen.trim()), (0, "done"), "{way} {flags:?}");
        }
    }
    end_container(&place);
}

#[test]
fn without_a_terminal_of_its_own_a_command_is_typed_to_line_by_line() {
    let place = Place::new();
    start_container(&place);
    for way in WAYS {
        let script =
            "echo ready; while read line; do echo \"got $line\"; done; echo end >&2; exit 4";
        let mut screen = Screen::start(&place, &words(&place, way, &["-i"], script));
        screen.wait_for("ready");
        for line in ["one", "two"] {
            screen.types(&format!("{line}\n"));
            screen.wait_for(&format!("got {line}"));
        }
        assert!(!screen.waits_not(), "the caller's terminal is left with O_NONBLOCK");
        screen.types("\x04");
        screen.wait_for("end");
        assert_eq!(screen.end().0, 4, "{way}");
    }
    end_container(&place);
}

#[test]
fn a_key_that_interrupts_reaches_the_command() {
    let place = Place::new();
    let script = "trap 'exit 5' INT; echo ready; while :; do sleep 0.05; done";
    let mut screen = Screen::start(&place, &words(&place, "run", &["-i"], script));
    screen.wait_for("ready");
    screen.types("\x03");
    assert_eq!(screen.end().0, 5);
}

#[test]
fn unread_input_does_not_delay_the_end() {
    let place = Place::new();
    place.write("much", vec![b'x'; 4 << 20]);
    for script in
        ["exec <&-; sleep 0.2; echo ended", "head -c 10 > /dev/null; echo ended", "echo ended"]
    {
        let mut command = place.command(&words(&place, "run", &["-i"], script));
        command.stdin(File::open(place.path("much")).expect("it"));
        let output = command.output().expect("usnea");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "ended\n", "{script}: {output:?}");
    }
}

#[test]
fn a_reader_that_stops_reading_ends_the_command() {
    let place = Place::new();
    let mut command = place.command(&words(&place, "run", &["--init"], "exec busybox yes"));
    let mut child = command.stdout(Stdio::piped()).spawn().expect("usnea");
    let mut room = [0; 10];
    child.stdout.take().expect("a pipe").read_exact(&mut room).expect("some lines");
    let mut ended = None;
    assert!(
        within(Duration::from_secs(20), || {
            ended = child.try_wait().expect("a child of ours");
            ended.is_some()
        }),
        "it goes on without a reader"
    );
    assert_eq!(ended.and_then(|ended| ended.code()), Some(141));
}
