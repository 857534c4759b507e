//! Those who are with a container and are slow, many, late, or gone: none of them holds it up, and each sees what there
//! is to be seen.

use std::fs;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::life_faults::{TALKER, lines};
use crate::support::{Place, Process, Started, finish, need, processes_with, text, within};
use crate::terminal::Screen;

const LIMIT: Duration = Duration::from_secs(60);

fn detached(place: &Place, options: &[&str], script: &str) -> String {
    place.run_kept(&[&["-d"], options].concat(), script).works().to_owned()
}

fn clean(place: &Place) {
    place.usnea(&["rm", "--all", "--force", "--time", "0"]).works();
    place.nothing_is_left();
}

/// A container `talker` that writes so many lines when it is told to.
struct Talker<'a>(&'a Place);

impl<'a> Talker<'a> {
    fn start(place: &'a Place, options: &[&str]) -> Self {
        let folder = place.folder("ctl");
        finish(Command::new("mkfifo").arg(folder.join("in")), "").works();
        place.write("ctl/done", "");
        let volume = format!("{}:/ctl", text(&folder));
        detached(place, &[options, &["--name", "talker", "-v", &volume]].concat(), TALKER);
        Self(place)
    }

    fn tell(&self, count: i32) {
        fs::write(self.0.path("ctl/in"), format!("{count}\n")).expect("a word");
    }

    /// Tells it to write, and waits until it has.
    fn writes(&self, count: usize) {
        self.tell(count as i32);
        let has_written = || self.0.read("ctl/done").lines().any(|line| line == count.to_string());
        assert!(within(LIMIT, has_written), "it is held up");
    }
}

/// Somebody whose output nobody reads.
fn start_unread(place: &Place, words: &[&str]) -> Child {
    let mut command = place.command(words);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("usnea")
}

/// What comes when it is read at last.
fn read_at_last(child: Child) -> (i32, Vec<u8>, String) {
    let output = child.wait_with_output().expect("its output");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap_or(-1), output.stdout, errors)
}

fn events(place: &Place, event: &str) -> usize {
    let words = ["events", "--since", "0", "--stream=false", "--filter", &format!("event={event}")];
    place.usnea(&words).works().lines().count()
}

#[test]
fn a_client_that_does_not_read_delays_no_other_and_gets_the_number_of_lost_bytes() {
    let place = Place::new();
    let talker = Talker::start(&place, &[]);
    let slow = start_unread(&place, &["attach", "--no-stdin", "talker"]);
    let follower = start_unread(&place, &["logs", "--follow", "talker"]);
    assert!(within(LIMIT, || events(&place, "attach") == 1));
    // More than all pipes and sockets in between hold.
    talker.writes(40_000);
    let all = lines(40_000);
    assert!(all.len() > 2_000_000);
    assert_eq!(place.usnea(&["logs", "talker"]).stdout.len(), all.len());
    talker.tell(-1);
    assert_eq!(place.usnea(&["wait", "talker"]).works(), "7");
    let (status, seen, said) = read_at_last(slow);
    assert_eq!(status, 7, "{said}");
    let missed: usize = said
        .lines()
        .map(|line| {
            let count = line
                .strip_suffix(" bytes of output were missed")
                .unwrap_or_else(|| panic!("{said}"));
            count
                .rsplit(" ")
                .next()
                .and_then(|count| count.parse::<usize>().ok())
                .expect("a number")
        })
        .sum();
    // When the first is missed depends on who runs when; but all that is seen comes in its order, with a seam for each loss.
    assert!(missed > 0 && all.as_bytes().starts_with(&seen[..4096]), "{said}");
    assert_eq!(seen.len() + missed, all.len());
    let mut written = all.lines();
    let text = String::from_utf8_lossy(&seen);
    let seams = text.lines().filter(|line| {
        let mut ahead = written.clone();
        let is_whole = ahead.any(|other| other == *line);
        if is_whole {
            written = ahead;
        }
        !is_whole
    });
    let seams = seams.count();
    assert!(seams <= said.lines().count(), "{seams} seams: {said}");
    // Whoever follows the log reads a file: nothing is missed.
    let (status, seen, said) = read_at_last(follower);
    assert_eq!((status, said.as_str()), (0, ""));
    assert!(seen == all.as_bytes(), "{} of {}", seen.len(), all.len());
    clean(&place);
}

#[test]
fn a_log_with_a_limit_is_followed_over_all_its_files() {
    let place = Place::new();
    let limits = ["--log-opt", "max-size=20k", "--log-opt", "max-file=3"];
    let talker = Talker::start(&place, &limits);
    let mut follower = Started::new(&mut place.command(&["logs", "--follow", "talker"]), "");
    let mut expected = 0;
    for round in 0..30 {
        // Less than all files but the last hold; then the reader is waited for.
        let count = 200 + round;
        talker.writes(count);
        follower.wait_for(&format!("{count}: line {} ", count - 1));
        expected += lines(count).len();
    }
    let kept = place.usnea(&["logs", "talker"]).stdout.len();
    assert!(kept < expected / 5, "nothing went by: {kept} of {expected}");
    talker.writes(300);
    talker.tell(-1);
    let ran = follower.end();
    assert_eq!(ran.status, 0);
    assert!(ran.stdout.ends_with(&lines(300)), "{:.200}", ran.stdout);
    clean(&place);
}

#[test]
fn arbitrary_bytes_are_passed_on_by_run_and_by_the_log() {
    let place = Place::new();
    let bytes: Vec<u8> = (0..200_000u32)
        .flat_map(|number| {
            [(number % 256) as u8, (number / 256 % 256) as u8, b'\n'][..1 + (number % 3) as usize]
                .to_vec()
        })
        .chain(*b"\r\nno end \0\xff")
        .collect();
    place.write("data/bytes", &bytes);
    let volume = format!("{}:/data", text(&place.path("data")));
    let script = "cat /data/bytes; cat /data/bytes >&2";
    let words = place.kept(&["run", "--name", "box", "-v", &volume], script);
    let output = place.command(&words).output().expect("usnea");
    assert!(output.stdout == bytes && output.stderr == bytes, "{}", output.stdout.len());
    let logged = place.command(&["logs", "box"]).output().expect("usnea");
    assert!(logged.stdout == bytes && logged.stderr == bytes, "{}", logged.stdout.len());
    clean(&place);
}

#[test]
fn a_client_that_attaches_at_the_end_gets_the_end_or_an_error() {
    let place = Place::new();
    for _ in 0..8 {
        let script = "trap 'exit 9' TERM; echo up; while :; do sleep 0.01; done";
        let id = detached(&place, &[], script);
        assert!(within(LIMIT, || place.usnea(&["logs", &id]).works() == "up"));
        let comers: Vec<Started> = (0..4)
            .map(|_| Started::new(&mut place.command(&["attach", "--no-stdin", &id]), ""))
            .collect();
        place.usnea(&["stop", &id]).works();
        for comer in comers {
            let ran = comer.end();
            match ran.status {
                9 => assert_eq!(ran.stderr, ""),
                _ => ran.fails_with(125, &["it is exited"]),
            }
        }
        place.usnea(&["attach", &id]).fails_with(125, &["is not running"]);
        place.usnea(&["attach", &id]).hints();
    }
    clean(&place);
}

#[test]
fn a_terminal_that_goes_away_takes_only_those_who_sat_there() {
    if !need("script") {
        return;
    }
    let place = Place::new();
    let script = "trap '' HUP; echo here; read line; echo got $line; exit 8";
    let words = place.kept(&["run", "-it", "--name", "box"], script);
    // script(1) has the terminal: with it that goes.
    let quoted: Vec<String> =
        words.iter().map(|word| format!("'{}'", word.replace('\'', "'\\''"))).collect();
    let line = format!("{} {}", text(&crate::support::binary()), quoted.join(" "));
    let mut command = Command::new("script");
    place.prepare(command.args(["-q", "-c", &line, "/dev/null"]));
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("script");
    let mut seen = Vec::new();
    let mut room = [0; 256];
    while !String::from_utf8_lossy(&seen).contains("here") {
        let length = child.stdout.as_mut().expect("a pipe").read(&mut room).expect("output");
        assert!(length > 0, "{}", String::from_utf8_lossy(&seen));
        seen.extend(&room[..length]);
    }
    child.kill().expect("script runs");
    child.wait().expect("script");
    // The container's keeper has the same words, and no terminal.
    let has_terminal = |process: &Process| {
        let input = fs::read_link(format!("/proc/{}/fd/0", process.number));
        input.is_ok_and(|input| input.starts_with("/dev/pts"))
    };
    let clients = || processes_with("--name box").iter().any(has_terminal);
    assert!(within(LIMIT, || !clients()), "whoever sat there is still there");
    assert_eq!(place.usnea(&["ps", "--format", "{{.Names}}"]).works(), "box");
    let mut screen = Screen::start(&place, &["attach".to_owned(), "box".to_owned()]);
    assert!(within(LIMIT, || events(&place, "attach") == 1));
    screen.types("again\r");
    screen.wait_for("got again");
    assert_eq!(screen.end().0, 8);
    clean(&place);
}

#[test]
fn of_several_at_one_terminal_each_may_type_resize_and_leave() {
    let place = Place::new();
    let script = "echo up; while read line; do echo \"[$line] $(stty size)\"; [ \"$line\" = bye ] && exit 6; done";
    detached(&place, &["-it", "--name", "box"], script);
    let come = |keys: &[&str], count: usize| {
        let words = [&["attach"], keys, &["box"]].concat();
        let words: Vec<String> = words.into_iter().map(str::to_owned).collect();
        let screen = Screen::start(&place, &words);
        assert!(within(LIMIT, || events(&place, "attach") == count));
        screen
    };
    let mut one = come(&[], 1);
    let mut other = come(&["--detach-keys", "ctrl-a,x"], 2);
    one.types("first\r");
    one.wait_for("[first] 33 120");
    other.wait_for("[first] 33 120");
    // The last one whose window changes says how large it is.
    other.resizes(10, 40);
    assert!(within(LIMIT, || {
        place
            .usnea(&["exec", "-t", "box", "sh", "-c", "stty size < /proc/1/fd/0"])
            .stdout
            .contains("10 40")
    }));
    other.types("second\r");
    one.wait_for("[second] 10 40");
    one.resizes(50, 90);
    assert!(within(LIMIT, || {
        place
            .usnea(&["exec", "-t", "box", "sh", "-c", "stty size < /proc/1/fd/0"])
            .stdout
            .contains("50 90")
    }));
    // The keys of one are what another types.
    one.types("\x10\x11");
    assert_eq!(one.end().0, 0);
    other.types("third\r");
    other.wait_for("[third] 50 90");
    other.types("\x01x");
    assert_eq!(other.end().0, 0);
    assert_eq!(place.usnea(&["ps", "--format", "{{.Names}}"]).works(), "box");
    let mut last = come(&[], 3);
    last.types("bye\r");
    last.wait_for("[bye] 33 120");
    assert_eq!(last.end().0, 6);
    assert_eq!(place.usnea(&["wait", "box"]).works(), "6");
    clean(&place);
}
