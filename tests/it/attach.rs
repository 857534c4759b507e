//! Being with a container: what one sees, types, and how one leaves; and what the log keeps of it.

use std::time::Duration;

use crate::support::{Place, Started, finish, within};

fn words(list: &[String]) -> Vec<&str> {
    list.iter().map(String::as_str).collect()
}

fn detached(place: &Place, options: &[&str], script: &str) -> String {
    place.run_kept(&[&["-d"], options].concat(), script).works().to_owned()
}

fn clean(place: &Place) {
    place.usnea(&["rm", "--all", "--force"]).works();
    place.nothing_is_left();
}

#[test]
fn several_are_attached_at_once_and_all_hear_the_end() {
    let place = Place::new();
    let script = "trap 'echo out; echo err >&2; exit 5' USR1; while :; do sleep 0.05; done";
    let id = detached(&place, &[], script);
    let attach = || Started::new(&mut place.command(&["attach", "--no-stdin", &id]), "");
    let clients: Vec<_> = (0..3).map(|_| attach()).collect();
    // Who is attached is not to be seen from outside: each gets a moment.
    std::thread::sleep(Duration::from_millis(500));
    place.usnea(&["kill", "--signal", "USR1", &id]).works();
    for client in clients {
        let ran = client.end();
        assert_eq!((ran.status, ran.stdout.as_str(), ran.stderr.as_str()), (5, "out\n", "err\n"));
    }
    clean(&place);
}

#[test]
fn typed_input_reaches_the_command_and_ends_with_the_input() {
    let place = Place::new();
    let list = place.kept(&["run", "-i"], "cat; echo end");
    let ran = finish(&mut place.command(&words(&list)), "one\ntwo\n");
    assert_eq!((ran.status, ran.stdout.as_str()), (0, "one\ntwo\nend\n"));
    // One that stays open has its input from whoever comes.
    let id = detached(&place, &["-i"], "read a; echo got $a; read b; echo got $b");
    finish(&mut place.command(&["attach", "--sig-proxy=false", &id]), "x\ny\n").exits(0);
    assert_eq!(place.usnea(&["logs", &id]).works(), "got x\ngot y");
    clean(&place);
}

#[test]
fn much_output_arrives_whole_with_those_who_wait_and_in_the_log() {
    let place = Place::new();
    let script = "i=0; while test $i -lt 2000; do echo \"$i 0123456789012345678901234567890123456789\"; i=$((i+1)); done; \
                  dd if=/dev/zero bs=65536 count=64 2>/dev/null";
    let ran = place.run_kept(&["--name", "much"], script);
    assert_eq!(ran.status, 0);
    assert!(ran.stdout.len() > 64 * 65536);
    let logged = place.usnea(&["logs", "much"]);
    assert!(ran.stdout == logged.stdout, "{} {}", ran.stdout.len(), logged.stdout.len());
    let last = place.usnea(&["logs", "--tail", "2", "much"]);
    assert!(last.stdout.starts_with("1999 0123"), "{:.80}", last.stdout);
    clean(&place);
}

#[test]
fn a_log_is_followed_to_its_last_byte() {
    let place = Place::new();
    let id =
        detached(&place, &[], "for i in 1 2 3 4 5; do echo line $i; sleep 0.1; done; printf last");
    let ran = place.usnea(&["logs", "--follow", &id]);
    assert_eq!(
        (ran.status, ran.stdout.as_str()),
        (0, "line 1\nline 2\nline 3\nline 4\nline 5\nlast")
    );
    let ran = place.usnea(&["logs", "--timestamps", "--tail", "2", &id]);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{ran:?}");
    let (time, rest) = lines[0].split_once(' ').expect("a time");
    assert!(time.parse::<jiff::Timestamp>().is_ok() && rest == "line 5", "{ran:?}");
    assert_eq!(place.usnea(&["logs", "--since", "1h", "--until", "1970-01-02", &id]).stdout, "");
    assert_eq!(place.usnea(&["logs", "--tail", "0", &id]).stdout, "");
    place.usnea(&["logs", "--since", "soon", &id]).fails_with(125, &["--since soon"]);
    clean(&place);
}

#[test]
fn logs_have_limits_or_are_not_kept() {
    let place = Place::new();
    let script = "i=0; while test $i -lt 1000; do echo $i; i=$((i+1)); done";
    place
        .run_kept(
            &["--name", "small", "--log-opt", "max-size=4k", "--log-opt", "max-file=2"],
            script,
        )
        .works();
    let logged = place.usnea(&["logs", "small"]);
    assert!(
        logged.stdout.ends_with("998\n999\n") && logged.stdout.len() < 4096,
        "{}",
        logged.stdout.len()
    );
    place.run_kept(&["--name", "none", "--log-driver", "none"], "echo seen").works();
    place.usnea(&["logs", "none"]).fails_with(1, &["not kept"]);
    place
        .run_kept(&["--log-driver", "nonsense"], "true")
        .fails_with(125, &["--log-driver nonsense"]);
    place.run_kept(&["--log-opt", "max-size=x"], "true").fails_with(125, &["--log-opt max-size=x"]);
    clean(&place);
}

#[test]
fn a_client_that_is_killed_leaves_the_container_running() {
    let place = Place::new();
    let list = place.kept(&["run", "--name", "stays"], "echo up; sleep 100");
    let mut client = Started::new(&mut place.command(&words(&list)), "");
    client.wait_for("up");
    client.signal(rustix::process::Signal::KILL);
    assert_eq!(client.end().status, -9);
    assert_eq!(place.usnea(&["ps", "--format", "{{.Names}}"]).works(), "stays");
    clean(&place);
}

#[test]
fn a_closed_output_and_a_reader_that_is_gone_are_no_end() {
    let place = Place::new();
    let id = detached(&place, &[], "exec >&-; sleep 0.3; echo still >&2; exit 4");
    assert_eq!(place.usnea(&["wait", &id]).works(), "4");
    assert_eq!(place.usnea(&["logs", &id]).stderr, "still\n");
    clean(&place);
}

#[test]
fn a_terminal_of_a_detached_container_has_a_log_and_can_be_left() {
    let place = Place::new();
    let id = detached(
        &place,
        &["-it"],
        "test -t 0 && test -t 1 && echo terminal; read line; echo got $line",
    );
    assert!(within(Duration::from_secs(5), || place.usnea(&["logs", &id]).stdout == "terminal\r\n"));
    // Input is a terminal's: Enter ends the line.
    let ran = finish(&mut place.command(&["attach", &id]), "typed\n");
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(place.usnea(&["logs", &id]).stdout.ends_with("got typed\r\n"));
    clean(&place);
}
