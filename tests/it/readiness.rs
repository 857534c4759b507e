//! `--sdnotify`: the service manager that started usnea hears when a container is ready.

use std::collections::BTreeMap;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::{Place, Started, finish, need, text, within};

const LIMIT: Duration = Duration::from_secs(30);

/// Sends its first argument to NOTIFY_SOCKET, as sd_notify(3) does.
const SENDER: &str = r#"
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
int main(int count, char **words) {
    char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    if (!path || count < 2) return 2;
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    int end = socket(AF_UNIX, SOCK_DGRAM, 0);
    ssize_t sent = sendto(end, words[1], strlen(words[1]), 0, (void *)&address, sizeof address);
    return sent == (ssize_t)strlen(words[1]) ? 0 : 1;
}
"#;

/// The test in the place of systemd.
struct Manager {
    place: Place,
    socket: UnixDatagram,
}

impl Manager {
    /// `None`: no compiler is here.
    fn new() -> Option<Self> {
        if !need("gcc") {
            return None;
        }
        let place = Place::new();
        let source = place.write("send.c", SENDER);
        let program = place.small_root().join("bin/send");
        let mut compile = Command::new("gcc");
        compile.arg("-static").arg("-o").arg(program).arg(source);
        assert!(compile.status().unwrap().success());
        let socket = UnixDatagram::bind(place.path("manager")).expect("a socket");
        socket.set_read_timeout(Some(LIMIT)).expect("a time-out");
        Some(Self { place, socket })
    }

    /// usnea with these arguments, started by the manager.
    fn command<S: AsRef<std::ffi::OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = self.place.command(arguments);
        command.env("NOTIFY_SOCKET", self.place.path("manager"));
        command
    }

    /// The next message.
    fn heard(&self) -> String {
        let mut room = [0; 4096];
        let length = self.socket.recv(&mut room).expect("a message");
        String::from_utf8_lossy(&room[..length]).into_owned()
    }

    /// No message waits.
    fn has_heard_all(&self) {
        self.socket.set_nonblocking(true).expect("a socket");
        let error = self.socket.recv(&mut [0; 4096]).expect_err("no message");
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
        self.socket.set_nonblocking(false).expect("a socket");
    }

    fn main_process(&self) -> u32 {
        let message = self.heard();
        let number = message.strip_prefix("MAINPID=").and_then(|rest| rest.strip_suffix('\n'));
        number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{message}"))
    }

    fn clean(&self) {
        self.place.usnea(&["rm", "--all", "--force", "--time", "0"]).works();
        self.place.nothing_is_left();
    }
}

#[test]
fn a_container_in_the_foreground_says_itself_that_it_is_ready() {
    let Some(manager) = Manager::new() else { return };
    let script = "send 'READY=1\nMAINPID=7\nSTATUS=serving' && echo $NOTIFY_SOCKET";
    let arguments = manager.place.arguments(&[], &["sh", "-c", script]);
    let ran = finish(&mut manager.command(&arguments), "");
    assert_eq!(ran.works(), "/run/notify/notify.sock");
    assert!(manager.main_process() > 1);
    assert_eq!(manager.heard(), "READY=1\nSTATUS=serving\n");
    manager.has_heard_all();
    manager.clean();
}

#[test]
fn usnea_says_it_when_the_command_runs() {
    let Some(manager) = Manager::new() else { return };
    let arguments = manager.place.arguments(&["--sdnotify", "conmon"], &["sh", "-c", "exit 3"]);
    assert_eq!(finish(&mut manager.command(&arguments), "").status, 3);
    assert!(manager.main_process() > 1);
    assert_eq!(manager.heard(), "READY=1\n");
    let script = "echo ${NOTIFY_SOCKET-none}";
    let arguments = manager.place.arguments(&["--sdnotify=conmon"], &["sh", "-c", script]);
    assert_eq!(finish(&mut manager.command(&arguments), "").works(), "none");
    manager.clean();
}

#[test]
fn no_readiness_is_sent_for_a_failed_command_nor_where_it_is_disabled() {
    let Some(manager) = Manager::new() else { return };
    let arguments = manager.place.arguments(&["--sdnotify", "conmon"], &["/no/such/program"]);
    finish(&mut manager.command(&arguments), "").fails_with(127, &["/no/such/program"]);
    let arguments = manager.place.arguments(&["--sdnotify", "ignore"], &["send", "READY=1"]);
    assert_eq!(finish(&mut manager.command(&arguments), "").status, 2);
    manager.has_heard_all();
    manager.clean();
}

#[test]
fn the_monitor_stands_for_a_detached_container_and_passes_its_messages_on() {
    let Some(manager) = Manager::new() else { return };
    let script = "trap 'exit 5' TERM; while [ ! -e /go ]; do sleep 0.05; done; send READY=1; \
        while :; do sleep 0.05; done";
    let arguments = manager.place.kept(&["run", "-d", "--name", "box"], script);
    finish(&mut manager.command(&arguments), "").works();
    let main = manager.main_process();
    manager.has_heard_all();
    let monitor = manager.place.usnea(&["inspect", "-f", "{{.State.ConmonPid}}", "box"]);
    assert_eq!(monitor.works(), main.to_string());
    let mode = manager.place.usnea(&["inspect", "-f", "{{.Config.sdNotifyMode}}", "box"]);
    assert_eq!(mode.works(), "container");
    manager.place.usnea(&["exec", "box", "touch", "/go"]).works();
    assert_eq!(manager.heard(), "READY=1\n");
    manager.place.usnea(&["exec", "box", "send", "WATCHDOG=1"]).exits(2);
    let monitor = rustix::process::Pid::from_raw(main as i32).expect("a number");
    rustix::process::kill_process(monitor, rustix::process::Signal::TERM).expect("a monitor");
    assert_eq!(manager.heard(), "STOPPING=1\n");
    assert_eq!(manager.place.usnea(&["wait", "box"]).works(), "5");
    // The next start is of nobody's.
    manager.place.usnea(&["start", "box"]).works();
    manager.has_heard_all();
    manager.clean();
}

#[test]
fn a_container_is_ready_when_it_is_healthy() {
    let Some(manager) = Manager::new() else { return };
    let check = ["--health-cmd", "test -e /well", "--health-interval", "100ms"];
    let words = [&["run", "-d", "--name", "box", "--sdnotify", "healthy"], &check[..]].concat();
    let arguments = manager.place.kept(&words, "while :; do sleep 0.05; done");
    finish(&mut manager.command(&arguments), "").works();
    manager.main_process();
    let failures = ["inspect", "-f", "{{.State.Health.FailingStreak}}", "box"];
    assert!(within(LIMIT, || manager.place.usnea(&failures).works() != "0"));
    manager.has_heard_all();
    manager.place.usnea(&["exec", "box", "touch", "/well"]).works();
    assert_eq!(manager.heard(), "READY=1\n");
    manager.clean();
    let words = ["run", "--rm", "--sdnotify", "healthy"];
    let refused = finish(&mut manager.command(&manager.place.kept(&words, "true")), "");
    refused.fails_with(125, &["--sdnotify", "health"]);
}

/// RELOADING of a main process, with the time that systemd compares with that of its request.
fn is_reloading(message: &str) -> bool {
    let time = message.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap_or_default();
    time.trim_end().parse::<u64>().is_ok_and(|time| time > 0)
}

/// Type=notify-reload: systemd sends SIGHUP to the main process, and waits for RELOADING and READY.
#[test]
fn a_request_to_reload_reaches_the_command_and_is_answered() {
    let Some(manager) = Manager::new() else { return };
    let hang_up = |main: u32| {
        let main = rustix::process::Pid::from_raw(main as i32).expect("a number");
        rustix::process::kill_process(main, rustix::process::Signal::HUP).expect("a process");
    };
    let ready = "send 'READY=1\nSTATUS=up'";
    let answer = "send 'RELOADING=1\nMONOTONIC_USEC=7'; send READY=1";
    let wait = "while :; do sleep 0.02; done";
    for (mode, start) in [
        ("container", &["run", "-d"][..]),
        ("conmon", &["run", "-d"]),
        ("container", &["run"]),
        ("conmon", &["run"]),
    ] {
        let in_container = mode == "container";
        let trap = if in_container { answer } else { "touch /reloaded" };
        let script = format!("trap \"{trap}\" HUP; trap 'exit 0' TERM; {ready}; touch /up; {wait}");
        let words = [start, &["--rm", "--name", "box", "--sdnotify", mode]].concat();
        let mut command = manager.command(&manager.place.kept(&words, &script));
        let started = Started::new(&mut command, "");
        let main = manager.main_process();
        assert_eq!(
            manager.heard(),
            if in_container { "READY=1\nSTATUS=up\n" } else { "READY=1\n" }
        );
        let has =
            |file: &str| manager.place.usnea(&["exec", "box", "test", "-e", file]).status == 0;
        assert!(within(LIMIT, || has("/up")));
        hang_up(main);
        let reloading = manager.heard();
        match in_container {
            true => assert_eq!(reloading, "RELOADING=1\nMONOTONIC_USEC=7\n"),
            false => assert!(is_reloading(&reloading), "{reloading}"),
        }
        assert_eq!(manager.heard(), "READY=1\n");
        assert!(in_container || within(LIMIT, || has("/reloaded")));
        manager.has_heard_all();
        manager.place.usnea(&["stop", "box"]).works();
        started.end();
        manager.socket.set_nonblocking(true).expect("a socket");
        while manager.socket.recv(&mut [0; 4096]).is_ok() {}
        manager.socket.set_nonblocking(false).expect("a socket");
    }
    manager.clean();
}

#[test]
fn the_address_of_a_manager_may_be_an_abstract_name() {
    use std::os::linux::net::SocketAddrExt;
    let Some(mut manager) = Manager::new() else { return };
    let name = format!("usnea-it-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).expect("an address");
    manager.socket = UnixDatagram::bind_addr(&address).expect("a socket");
    manager.socket.set_read_timeout(Some(LIMIT)).expect("a time-out");
    let arguments = manager.place.arguments(&[], &["send", "READY=1"]);
    let mut command = manager.place.command(&arguments);
    finish(command.env("NOTIFY_SOCKET", format!("@{name}")), "").works();
    manager.main_process();
    assert_eq!(manager.heard(), "READY=1\n");
    manager.clean();
}

#[test]
fn a_manager_s_socket_that_is_not_writable_is_a_warning_and_an_impossible_address_an_error() {
    let Some(manager) = Manager::new() else { return };
    let socket = manager.place.path("manager");
    let closed = std::os::unix::fs::PermissionsExt::from_mode(0o000);
    std::fs::set_permissions(&socket, closed).expect("a mode");
    for mode in ["container", "conmon"] {
        let arguments = manager.place.arguments(&["--sdnotify", mode], &["echo", "here"]);
        let ran = finish(&mut manager.command(&arguments), "");
        assert_eq!((ran.status, ran.stdout.as_str()), (0, "here\n"), "{ran:?}");
        let warning = "warning: cannot tell the service manager: Permission denied";
        assert!(ran.stderr.contains(warning), "{ran:?}");
    }
    manager.has_heard_all();
    let arguments = manager.place.arguments(&[], &["true"]);
    let mut command = manager.place.command(&arguments);
    let ran = finish(command.env("NOTIFY_SOCKET", format!("/{}", "x".repeat(200))), "");
    ran.fails_with(125, &["NOTIFY_SOCKET"]);
    manager.clean();
}

#[test]
fn a_manager_that_is_gone_does_not_end_a_container() {
    let Some(manager) = Manager::new() else { return };
    std::fs::remove_file(manager.place.path("manager")).expect("its socket");
    let arguments = manager.place.arguments(&[], &["sh", "-c", "send READY=1; echo here"]);
    let ran = finish(&mut manager.command(&arguments), "");
    assert_eq!((ran.status, ran.stdout.as_str()), (0, "here\n"), "{ran:?}");
    assert!(ran.stderr.contains("warning: cannot tell the service manager"), "{ran:?}");
    let arguments = manager.place.arguments(&[], &["true"]);
    let mut without = manager.place.command(&arguments);
    finish(without.env("NOTIFY_SOCKET", "vsock:2:1"), "").works();
    manager.clean();
}

#[test]
fn the_socket_of_a_killed_usnea_goes_with_the_next_start() {
    let Some(manager) = Manager::new() else { return };
    let runtime = std::env::var("XDG_RUNTIME_DIR").expect("a runtime folder");
    let folders = || {
        let entries = std::fs::read_dir(Path::new(&runtime).join("usnea")).expect("a folder");
        let names = entries.flatten().map(|entry| entry.file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("notify-")).collect::<Vec<_>>()
    };
    let arguments = manager.place.arguments(&[], &["sh", "-c", "send READY=1; exec sleep 1000"]);
    let started = Started::new(&mut manager.command(&arguments), "");
    let main = manager.main_process();
    assert_eq!(manager.heard(), "READY=1\n");
    let before = folders();
    let process = rustix::process::Pid::from_raw(main as i32).expect("a number");
    rustix::process::kill_process(process, rustix::process::Signal::KILL).expect("a process");
    started.end();
    let arguments = manager.place.arguments(&[], &["send", "READY=1"]);
    finish(&mut manager.command(&arguments), "").works();
    let after = folders();
    // Tests beside this one have folders of their own, which go with them.
    assert!(before.iter().any(|name| !after.contains(name)), "{before:?} {after:?}");
    manager.clean();
}

#[test]
fn the_socket_of_a_killed_monitor_goes_with_its_container() {
    let Some(manager) = Manager::new() else { return };
    let arguments = manager.place.kept(&["run", "-d", "--name", "box"], "exec sleep 1000");
    let id = finish(&mut manager.command(&arguments), "").works().to_owned();
    let monitor = rustix::process::Pid::from_raw(manager.main_process() as i32).expect("a number");
    let runtime = std::env::var("XDG_RUNTIME_DIR").expect("a runtime folder");
    let folder = Path::new(&runtime).join(format!("usnea/notify-{}", &id[..12]));
    assert!(folder.join("notify.sock").exists());
    rustix::process::kill_process(monitor, rustix::process::Signal::KILL).expect("a process");
    manager.place.usnea(&["wait", "box"]).works();
    manager.place.usnea(&["rm", "box"]).works();
    assert!(!folder.exists());
    manager.clean();
}

#[test]
fn the_socket_of_a_container_that_is_removed_at_its_end_goes_with_it() {
    let Some(manager) = Manager::new() else { return };
    let options = ["run", "-d", "--rm", "--name", "box"];
    let arguments =
        manager.place.kept(&options, "trap 'exit 0' TERM; while :; do sleep 0.02; done");
    let id = finish(&mut manager.command(&arguments), "").works().to_owned();
    manager.main_process();
    let runtime = std::env::var("XDG_RUNTIME_DIR").expect("a runtime folder");
    let folder = Path::new(&runtime).join(format!("usnea/notify-{}", &id[..12]));
    assert!(folder.join("notify.sock").exists());
    manager.place.usnea(&["stop", "box"]).works();
    assert!(within(LIMIT, || !folder.exists()));
    manager.clean();
}

#[test]
fn a_socket_of_the_user_s_own_is_left_alone() {
    let Some(manager) = Manager::new() else { return };
    let volume = format!("{}:/run/own", text(Path::new(&manager.place.path("manager"))));
    let options = ["-e", "NOTIFY_SOCKET=/run/own", "-v", &volume];
    let arguments = manager.place.arguments(&options, &["send", "READY=1\nMAINPID=7"]);
    finish(&mut manager.command(&arguments), "").works();
    let mut heard = [manager.heard(), manager.heard()];
    heard.sort();
    assert_eq!(heard[1], "READY=1\nMAINPID=7");
    manager.clean();
}

/// The queue of the manager's socket holds fewer messages than fifty services send.
#[test]
fn fifty_services_that_start_at_once_are_all_ready_and_stop_at_once() {
    const COUNT: usize = 50;
    let Some(manager) = Manager::new() else { return };
    let start = |number| {
        let name = format!("box-{number}");
        let options = ["run", "-d", "--rm", "--name", &name, "--sdnotify", "conmon"];
        let arguments = manager.place.kept(&options, "exec sleep 1000");
        Started::new(&mut manager.command(&arguments), "")
    };
    let started: Vec<_> = (0..COUNT).map(start).collect();
    let heard: BTreeMap<String, usize> = (0..2 * COUNT).fold(BTreeMap::new(), |mut heard, _| {
        *heard.entry(manager.heard()).or_default() += 1;
        heard
    });
    assert_eq!((heard["READY=1\n"], heard.len()), (COUNT, COUNT + 1), "{heard:?}");
    for one in started {
        one.end().works();
    }
    assert_eq!(manager.place.usnea(&["ps", "-q"]).works().lines().count(), COUNT);
    let stop = |number| {
        let name = format!("box-{number}");
        Started::new(&mut manager.command(&["stop", "--time", "0", &name]), "")
    };
    let stopped: Vec<_> = (0..COUNT).map(stop).collect();
    for one in stopped {
        one.end().works();
    }
    assert_eq!(manager.place.usnea(&["ps", "-aq"]).works(), "");
    manager.clean();
}

/// systemd kills a main process that was not its child, if it still lives when ExecStop= has ended.
#[test]
fn a_command_that_stops_a_service_ends_after_the_main_process() {
    let Some(manager) = Manager::new() else { return };
    let script = "trap 'exit 0' TERM; while :; do sleep 0.02; done";
    for stop in [&["stop", "box"][..], &["rm", "--force", "box"]] {
        let options = ["run", "-d", "--rm", "--name", "box", "--sdnotify", "conmon"];
        let arguments = manager.place.kept(&options, script);
        finish(&mut manager.command(&arguments), "").works();
        let main = manager.main_process();
        assert_eq!(manager.heard(), "READY=1\n");
        finish(&mut manager.command(stop), "").works();
        // A zombie has no command line.
        let line = std::fs::read_to_string(format!("/proc/{main}/cmdline")).unwrap_or_default();
        assert_eq!(line, "", "{stop:?}");
        manager.socket.set_nonblocking(true).expect("a socket");
        while manager.socket.recv(&mut [0; 4096]).is_ok() {}
        manager.socket.set_nonblocking(false).expect("a socket");
    }
    manager.clean();
}
