//! `-t`: a terminal of the container's own, ours in raw mode meanwhile and restored on every way out.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::{LocalModes, Termios, Winsize, tcgetattr, tcsetwinsize};

use crate::support::{Place, binary, within};

const LIMIT: Duration = Duration::from_secs(20);

/// A terminal with usnea in it, as the leader of a session of its own.
pub struct Screen {
    master: File,
    terminal: OwnedFd,
    before: Termios,
    output: mpsc::Receiver<Vec<u8>>,
    seen: String,
    child: Child,
}

impl Screen {
    /// Starts usnea with these arguments in a terminal of 33 lines and 120 columns.
    pub fn start(place: &Place, arguments: &[String]) -> Self {
        Self::start_with(place, arguments, |_| {})
    }

    /// The same, with a last change to the command.
    pub fn start_with(
        place: &Place,
        arguments: &[String],
        change: impl FnOnce(&mut Command),
    ) -> Self {
        let master =
            rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        rustix::pty::grantpt(&master).expect("grantpt");
        rustix::pty::unlockpt(&master).expect("unlockpt");
        let name = rustix::pty::ptsname(&master, Vec::new()).expect("a name");
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let terminal = rustix::fs::open(&name, flags, Mode::empty()).expect("the terminal side");
        tcsetwinsize(&terminal, size(33, 120)).expect("a window size");
        let before = tcgetattr(&terminal).expect("settings");
        let copy = || terminal.try_clone().expect("a copy");
        // setsid --ctty makes the terminal the controlling one; only then does a new size send SIGWINCH.
        let mut command = Command::new("setsid");
        command
            .arg("--ctty")
            .arg(binary())
            .args(arguments)
            .stdin(copy())
            .stdout(copy())
            .stderr(copy());
        place.prepare(&mut command);
        change(&mut command);
        let child = command.spawn().expect("setsid");
        let master = File::from(master);
        let output = read_in_chunks(master.try_clone().expect("a copy"));
        Self { master, terminal, before, output, seen: String::new(), child }
    }

    /// Waits until `mark` is shown.
    pub fn wait_for(&mut self, mark: &str) {
        let deadline = Instant::now() + LIMIT;
        while !self.seen.contains(mark) {
            match self.output.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => {
                    let _ = self.child.kill();
                    panic!("'{mark}' never came: {:?}", self.seen);
                }
            }
        }
    }

    /// Types.
    pub fn types(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).expect("the terminal");
    }

    /// Gives the window another size.
    pub fn resizes(&self, rows: u16, columns: u16) {
        tcsetwinsize(&self.master, size(rows, columns)).expect("a window size");
    }

    /// Whether reads of the terminal that usnea was given no longer wait: who else has it would be surprised.
    pub fn waits_not(&self) -> bool {
        let flags = rustix::fs::fcntl_getfl(&self.terminal).expect("its flags");
        flags.contains(OFlags::NONBLOCK)
    }

    fn is_raw(&self) -> bool {
        !tcgetattr(&self.terminal).expect("settings").local_modes.contains(LocalModes::ICANON)
    }

    /// Waits for the end and checks that the terminal is as it was: the exit status and all that was shown.
    pub fn end(mut self) -> (i32, String) {
        let mut ended = None;
        within(LIMIT, || {
            ended = self.child.try_wait().expect("a child of ours");
            ended.is_some()
        });
        let _ = self.child.kill();
        while let Ok(bytes) = self.output.recv_timeout(Duration::from_millis(200)) {
            self.seen.push_str(&String::from_utf8_lossy(&bytes));
        }
        let ended = ended.unwrap_or_else(|| panic!("it never ended: {:?}", self.seen));
        let after = tcgetattr(&self.terminal).expect("settings");
        assert_eq!(
            modes(&after),
            modes(&self.before),
            "the terminal is not as it was: {:?}",
            self.seen
        );
        (ended.code().unwrap_or(-1), self.seen)
    }
}

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

fn modes(settings: &Termios) -> String {
    format!(
        "{:?} {:?} {:?} {:?}",
        settings.input_modes, settings.output_modes, settings.control_modes, settings.local_modes
    )
}

fn read_in_chunks(mut master: File) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut room = [0; 4096];
        while let Ok(length @ 1..) = master.read(&mut room) {
            if sender.send(room[..length].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}

fn sh(place: &Place, options: &[&str], script: &str) -> Vec<String> {
    place.arguments(options, &["sh", "-c", script])
}

#[test]
fn the_command_has_a_terminal_of_the_container_s_own() {
    let place = Place::new();
    let script = "tty; test -t 0 && test -t 1 && test -t 2 && echo three; echo hi > /dev/tty; echo term=$TERM; exit 6";
    let (status, shown) = Screen::start(&place, &sh(&place, &["-it"], script)).end();
    assert_eq!(status, 6, "{shown}");
    assert!(shown.contains("/dev/pts/0") || shown.contains("/dev/console"), "{shown}");
    assert!(shown.contains("three\r\nhi\r\nterm=") && !shown.contains("term=\r\n"), "{shown}");
}

#[test]
fn typed_input_reaches_the_command_and_is_shown_once() {
    let place = Place::new();
    let mut screen = Screen::start(
        &place,
        &sh(&place, &["-i", "-t"], "echo ready; read line; echo \"<$line>\""),
    );
    screen.wait_for("ready");
    assert!(screen.is_raw(), "two terminals would edit the line");
    screen.types("hello\r");
    let (status, shown) = screen.end();
    assert_eq!(status, 0, "{shown}");
    assert_eq!(shown.matches("hello").count(), 2, "the echo and the answer: {shown}");
    assert!(shown.contains("<hello>"), "{shown}");
}

#[test]
fn control_c_goes_to_the_command() {
    let place = Place::new();
    let script = "trap 'echo caught; exit 4' INT; echo ready; while :; do sleep 0.05; done";
    let mut screen = Screen::start(&place, &sh(&place, &["-it"], script));
    screen.wait_for("ready");
    screen.types("\x03");
    let (status, shown) = screen.end();
    assert_eq!(status, 4, "{shown}");
    assert!(shown.contains("caught"), "{shown}");
}

#[test]
fn the_terminal_has_the_size_of_the_callers_and_follows_it() {
    let place = Place::new();
    let script =
        "stty size; while test \"$(stty size)\" != '40 100'; do sleep 0.05; done; echo followed";
    let mut screen = Screen::start(&place, &sh(&place, &["-it"], script));
    screen.wait_for("33 120");
    screen.resizes(40, 100);
    screen.wait_for("followed");
    assert_eq!(screen.end().0, 0);
}

#[test]
fn the_terminal_is_restored_when_the_command_is_not_found() {
    let place = Place::new();
    let (status, shown) =
        Screen::start(&place, &place.arguments(&["-it"], &["nosuchcommand"])).end();
    assert_eq!(status, 127, "{shown}");
    assert!(shown.contains("usnea: "), "{shown}");
}

#[test]
fn the_terminal_is_restored_when_a_signal_ends_the_run() {
    let place = Place::new();
    let mut screen =
        Screen::start(&place, &sh(&place, &["-it", "--init"], "echo ready; exec sleep 100"));
    screen.wait_for("ready");
    assert!(within(LIMIT, || screen.is_raw()), "never in raw mode");
    let number = rustix::process::Pid::from_child(&screen.child);
    rustix::process::kill_process(number, rustix::process::Signal::TERM).expect("usnea runs");
    assert_eq!(screen.end().0, 143);
}

#[test]
fn output_without_a_waiting_reader_is_shown_whole() {
    let place = Place::new();
    let script = "i=0; while test $i -lt 2000; do echo line-$i; i=$((i + 1)); done";
    let (status, shown) = Screen::start(&place, &sh(&place, &["-it"], script)).end();
    assert_eq!((status, shown.matches("line-").count()), (0, 2000));
    assert!(shown.trim_end().ends_with("line-1999"), "the end is missing");
}

#[test]
fn a_terminal_is_given_where_we_have_none() {
    let place = Place::new();
    let ran = place.run(&["-t"], "test -t 1 && echo yes");
    assert_eq!((ran.status, ran.stdout.as_str()), (0, "yes\r\n"), "{ran:?}");
}
