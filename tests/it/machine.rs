//! A whole machine with systemd, as `tests/vm` boots it: containers in units of the user's systemd, and their output in
//! the journal. What takes root there (a logout, a reboot) is in `tests/vm/inside`.

use std::process::Command;
use std::time::Duration;

use crate::support::{Place, finish, not_applicable, text, within};

const LIMIT: Duration = Duration::from_secs(60);

/// Whether this is such a machine.
fn is_machine() -> bool {
    let is = std::env::var("USNEA_TEST_MACHINE").is_ok_and(|kind| kind == "vm");
    if !is {
        not_applicable("it is for the machine of tests/vm");
    }
    is
}

/// A name for a unit, which no other test has.
fn unit(name: &str) -> String {
    format!("usnea-it-{name}-{}.service", std::process::id())
}

/// `systemd-run --user OPTIONS usnea ARGUMENTS`: usnea in a unit, with this place's store.
fn in_unit(place: &Place, options: &[&str], arguments: &[String]) -> Command {
    in_failing_unit(place, &[&["--collect"], options].concat(), arguments)
}

/// The same, where systemd keeps what it knows of a unit that failed.
fn in_failing_unit(place: &Place, options: &[&str], arguments: &[String]) -> Command {
    let mut command = Command::new("systemd-run");
    command.args(["--user", "--quiet"]).args(options);
    command.arg(format!("--setenv=USNEA_ROOT={}", place.store().display()));
    command.arg(crate::support::binary()).args(arguments);
    place.prepare(&mut command);
    command
}

fn systemctl(words: &[&str]) {
    finish(Command::new("systemctl").arg("--user").args(words), "").works();
}

fn status(place: &Place, container: &str) -> String {
    let ran = place.usnea(&["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", container]);
    ran.stdout.trim().to_owned()
}

#[test]
fn a_units_command_is_the_containers() {
    if !is_machine() {
        return;
    }
    let place = Place::new();
    let arguments = place.arguments(&["-e", "WORD=heard"], &["sh", "-c", "echo $WORD; exit 7"]);
    for options in [&["--wait", "--pipe"][..], &["--wait", "--pipe", "--property=Delegate=yes"]] {
        let ran = finish(&mut in_unit(&place, options, &arguments), "");
        assert_eq!(ran.exits(7), "heard");
    }
}

/// Unit that the container's systemd starts; it says in which cgroup it is.
const OWN_SERVICE: &str = "[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'cat /proc/self/cgroup > /said'
";

#[test]
fn systemd_boots_in_a_container_makes_groups_and_shuts_down() {
    if !is_machine() {
        return;
    }
    let place = Place::new();
    let root = place.small_root();
    let units = root.join("etc/systemd/system");
    std::fs::create_dir_all(&units).expect("a folder");
    std::fs::write(units.join("own.service"), OWN_SERVICE).expect("a unit");
    for link in ["lib", "lib64"] {
        std::os::unix::fs::symlink(format!("usr/{link}"), root.join(link)).expect("a link");
    }
    let options = ["run", "-d", "--name", "box", "--network", "none", "-v", "/usr:/usr:ro"];
    let image = place.image();
    let command = [image.as_str(), "/usr/lib/systemd/systemd", "--unit=own.service"];
    place.usnea(&[&options[..], &command].concat()).works();
    let exec = |words: &[&str]| place.usnea(&[&["exec", "box"], words].concat());
    let said = || exec(&["cat", "/said"]).stdout.trim().to_owned();
    assert!(within(2 * LIMIT, || !said().is_empty()), "{:?}", place.usnea(&["logs", "box"]));
    assert_eq!(said(), "0::/system.slice/own.service");
    assert!(within(LIMIT, || exec(&["systemctl", "is-active", "own.service"]).stdout == "active\n"));
    // Not in the container's own group, which passes controllers on, unless systemd could not pass any on.
    let passed_on = exec(&["cat", "/sys/fs/cgroup/cgroup.subtree_control"]).works().to_owned();
    let group = if passed_on.is_empty() { "0::/" } else { "0::/init.scope" };
    assert_eq!(exec(&["cat", "/proc/self/cgroup"]).works(), group);
    place.usnea(&["stop", "--time", "120", "box"]).works();
    assert_eq!(status(&place, "box"), "exited 0");
    place.usnea(&["rm", "box"]).works();
    place.nothing_is_left();
}

#[test]
fn stopping_a_unit_stops_its_container_by_the_containers_own_way() {
    if !is_machine() {
        return;
    }
    let place = Place::new();
    let script = "trap 'exit 3' TERM; echo up; while :; do sleep 0.1; done";
    let arguments = place.kept(&["run", "--name", "box"], script);
    let unit = unit("foreground");
    finish(&mut in_unit(&place, &["--unit", &unit], &arguments), "").works();
    assert!(within(LIMIT, || status(&place, "box") == "running 0"), "{}", status(&place, "box"));
    // Then the trap is set.
    assert!(within(LIMIT, || place.usnea(&["logs", "box"]).stdout == "up\n"));
    systemctl(&["stop", &unit]);
    assert!(within(LIMIT, || status(&place, "box") == "exited 3"), "{}", status(&place, "box"));
    place.usnea(&["rm", "box"]).works();
}

#[test]
fn a_container_detached_by_a_unit_ends_with_the_unit() {
    if !is_machine() {
        return;
    }
    let place = Place::new();
    let arguments = place.kept(&["run", "-d", "--name", "box"], "exec sleep 1000");
    let unit = unit("detached");
    let options = ["--unit", &unit, "--property=Type=oneshot", "--property=RemainAfterExit=yes"];
    let options = [&options[..], &["--property=Delegate=yes"]].concat();
    finish(&mut in_unit(&place, &options, &arguments), "").works();
    assert_eq!(status(&place, "box"), "running 0");
    assert_eq!(place.usnea(&["exec", "box", "echo", "yes"]).works(), "yes");
    systemctl(&["stop", &unit]);
    assert!(within(LIMIT, || status(&place, "box").starts_with("exited ")), "it runs on");
    // And it can be started again, outside of any unit.
    place.usnea(&["start", "box"]).works();
    assert_eq!(status(&place, "box"), "running 0");
    place.usnea(&["rm", "-f", "box"]).works();
}

#[test]
fn a_unit_that_ends_at_once_is_a_warning() {
    if !is_machine() {
        return;
    }
    let place = Place::new();
    let arguments = place.kept(&["run", "-d", "--name", "box"], "exec sleep 1000");
    let warned = finish(&mut in_unit(&place, &["--wait", "--pipe"], &arguments), "");
    assert!(
        warned.stderr.contains("warning: container box ends with the first process of"),
        "{warned:?}"
    );
    assert!(within(LIMIT, || status(&place, "box").starts_with("exited ")), "it runs on");
    place.usnea(&["rm", "box"]).works();
}

/// A property of a unit.
fn property(unit: &str, name: &str) -> String {
    let show = ["--user", "show", "--value", "--property", name, unit];
    finish(Command::new("systemctl").args(show), "").works().to_owned()
}

#[test]
fn a_unit_of_type_notify_is_ready_when_its_container_runs_and_ends_as_the_container_does() {
    if !is_machine() {
        return;
    }
    let place = Place::new();
    let script = "trap 'exit 0' TERM; while [ ! -e /end ]; do sleep 0.1; done; exit 9";
    let arguments = place.kept(&["run", "-d", "--name", "box", "--sdnotify", "conmon"], script);
    let unit = unit("notify");
    let options = ["--unit", &unit, "--property=Type=notify", "--property=NotifyAccess=all"];
    let options = [&options[..], &["--property=Delegate=yes"]].concat();
    finish(&mut in_failing_unit(&place, &options, &arguments), "").works();
    assert_eq!(property(&unit, "ActiveState"), "active");
    let monitor = place.usnea(&["inspect", "-f", "{{.State.ConmonPid}}", "box"]);
    assert_eq!(property(&unit, "MainPID"), monitor.works());
    place.usnea(&["exec", "box", "touch", "/end"]).works();
    assert!(within(LIMIT, || property(&unit, "ActiveState") == "failed"));
    assert_eq!(property(&unit, "ExecMainStatus"), "9");
    assert_eq!(status(&place, "box"), "exited 9");
    systemctl(&["reset-failed", &unit]);
    place.usnea(&["rm", "box"]).works();
}

#[test]
fn a_container_tells_systemd_itself_that_it_is_ready() {
    if !is_machine() {
        return;
    }
    let place = Place::new();
    let script = "systemd-notify --status=serving --ready; exec sleep 1000";
    let words = ["run", "-d", "--name", "box", "host:sh,sleep,systemd-notify", "sh", "-c", script];
    let arguments = words.map(str::to_owned);
    let unit = unit("ready");
    let options = ["--unit", &unit, "--property=Type=notify", "--property=NotifyAccess=all"];
    let options = [&options[..], &["--property=Delegate=yes"]].concat();
    finish(&mut in_unit(&place, &options, &arguments), "").works();
    assert_eq!(property(&unit, "StatusText"), "serving");
    systemctl(&["stop", &unit]);
    assert!(within(LIMIT, || status(&place, "box").starts_with("exited ")), "it runs on");
    place.usnea(&["rm", "box"]).works();
}

/// Options of a unit that take from usnea what it needs, and what a container does without them.
#[test]
fn a_hardened_unit_runs_a_container_or_names_the_option() {
    if !is_machine() {
        return;
    }
    let place = Place::new();
    let arguments = place.arguments(&[], &["echo", "up"]);
    for (option, phrase) in [
        ("RestrictSUIDSGID=yes", "RestrictSUIDSGID"),
        ("SystemCallFilter=@system-service", "SystemCallFilter"),
        ("SystemCallFilter=~@mount", "SystemCallFilter"),
        ("RestrictAddressFamilies=AF_UNIX", "RestrictAddressFamilies"),
        ("ProtectHostname=yes", "ProtectHostname"),
        ("ProtectKernelTunables=yes", "ProtectKernelTunables"),
        ("ProcSubset=pid", "ProcSubset"),
        ("RestrictNamespaces=yes", "RestrictNamespaces"),
        // Neither of the three sets has sethostname(2).
        ("SystemCallFilter=@system-service @mount @sandbox", "SystemCallFilter"),
        ("NoNewPrivileges=yes", ""),
    ] {
        let property = format!("--property={option}");
        let ran = finish(&mut in_unit(&place, &["--wait", "--pipe", &property], &arguments), "");
        match phrase {
            "" => assert_eq!(ran.works(), "up", "{option}"),
            // A user's own manager cannot do all that the machine's can.
            _ if ran.status == 0 => assert_eq!(ran.works(), "up", "{option}"),
            // usnea itself was killed (SIGSYS), which systemd says.
            "SystemCallFilter" if ran.status == 159 => {}
            _ => {
                let hint = ran.stderr.lines().find(|line| line.starts_with("hint: "));
                assert!(hint.is_some_and(|hint| hint.contains(phrase)), "{option}: {ran:?}");
            }
        }
    }
}

#[test]
fn the_journal_has_what_a_container_says() {
    if !is_machine() {
        return;
    }
    let place = Place::new();
    let tag = format!("usnea-it-{}", std::process::id());
    let option = format!("tag={tag}");
    let options = ["-d", "--name", "box", "--log-driver", "journald", "--log-opt", &option];
    let id = place.run_kept(&options, "echo to output; echo to errors >&2").works().to_owned();
    place.usnea(&["wait", "box"]).works();
    let lines = |filter: &str| {
        let mut command = Command::new("journalctl");
        command.args(["--user", "--no-pager", "-o", "cat", filter]);
        finish(&mut command, "").stdout
    };
    let whole = format!("CONTAINER_ID_FULL={id}");
    let has_both = || {
        let lines = lines(&whole);
        lines.contains("to output\n") && lines.contains("to errors\n")
    };
    assert!(within(LIMIT, has_both), "{:?}", lines(&whole));
    // The journal links a line to its fields one by one: the last line may be found by one field and not yet by another.
    let tagged = format!("SYSLOG_IDENTIFIER={tag}");
    assert!(within(LIMIT, || lines(&tagged).contains("to output")), "no tag: {:?}", lines(&tagged));
    let read = || {
        let ran = place.usnea(&["logs", "box"]);
        ran.stdout == "to output\n" && ran.stderr == "to errors\n"
    };
    assert!(within(LIMIT, read), "{:?}", place.usnea(&["logs", "box"]));
    place.usnea(&["rm", "box"]).works();
}

/// Unit files of the user's systemd; removed, and unloaded, when the value is dropped.
struct UnitFiles(Vec<std::path::PathBuf>);

impl UnitFiles {
    /// Writes files below `~/.config`, and reloads systemd.
    fn write(files: &[(&str, &str)]) -> Self {
        let home = std::env::var_os("HOME").expect("a home");
        let config = std::path::Path::new(&home).join(".config");
        let write = |(name, content): &(&str, &str)| {
            let path = config.join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(&path, content).expect("a unit file");
            path
        };
        let written = Self(files.iter().map(write).collect());
        systemctl(&["daemon-reload"]);
        written
    }
}

impl Drop for UnitFiles {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = std::fs::remove_file(path);
        }
        let _ = Command::new("systemctl").args(["--user", "daemon-reload"]).status();
    }
}

/// Server on the socket that it was started with.
const SERVER: &str = "import os, socket
assert os.environ['LISTEN_PID'] == str(os.getpid())
server = socket.socket(fileno=3)
while True:
    with server.accept()[0] as end:
        end.sendall(os.environ['LISTEN_FDNAMES'].encode() + b' ' + end.recv(100))
";

/// Asks the server of a socket unit, which starts its service.
fn ask(port: u16) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).expect("a socket unit");
    stream.set_read_timeout(Some(LIMIT * 5)).unwrap();
    stream.write_all(b"question").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn a_socket_unit_starts_a_server_in_a_container() {
    if !is_machine() {
        return;
    }
    let place = Place::new();
    let script = place.write("server.py", SERVER);
    // The host's own python3: a copy of all its files takes minutes under emulation.
    let root = place.folder("system/usr");
    for name in ["bin", "lib", "lib64"] {
        let link = root.with_file_name(name);
        std::os::unix::fs::symlink(std::path::Path::new("usr").join(name), link).unwrap();
    }
    let name = unit("activated");
    let socket = name.replace(".service", ".socket");
    let port = free_port();
    let listens =
        format!("[Socket]\nListenStream=127.0.0.1:{port}\nAccept=no\nFileDescriptorName=web\n");
    let service = format!(
        "[Service]\nDelegate=yes\nEnvironment=USNEA_ROOT={}\nExecStart={} run --rm --init --network none \
         -v /usr:/usr:ro -v {}:/server.py:ro dir:{} python3 /server.py\n",
        text(&place.store()),
        text(&crate::support::binary()),
        text(&script),
        text(root.parent().unwrap())
    );
    let files =
        [(format!("systemd/user/{socket}"), listens), (format!("systemd/user/{name}"), service)];
    let files = files.each_ref().map(|(name, content)| (&**name, &**content));
    let _units = UnitFiles::write(&files);
    systemctl(&["start", &socket]);
    assert_eq!(property(&name, "ActiveState"), "inactive");
    for _ in 0..2 {
        assert_eq!(ask(port), "web question");
    }
    systemctl(&["stop", &socket, &name]);
    assert_eq!(property(&name, "Result"), "success");
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
}
