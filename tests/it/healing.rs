//! Network helpers that die, hang or are missing, and hosts whose network changes while containers run.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::network::usable_helpers;
use crate::support::{
    Place, Process, Started, binary, finish, need, on_path, processes_with, text, within,
};

const LIMIT: Duration = Duration::from_secs(60);

/// Server at port 80 of a container.
const SERVER: &str = "exec busybox nc -ll -p 80 -e echo here";

/// Helpers whose command lines contain the mark.
fn helpers_with(mark: &str) -> Vec<Process> {
    let is_helper = |process: &Process| {
        ["pasta", "passt", "slirp"].iter().any(|name| process.text("comm").contains(name))
    };
    processes_with(mark).into_iter().filter(is_helper).collect()
}

fn kill(number: i32) {
    let _ = Pid::from_raw(number).map(|pid| kill_process(pid, Signal::KILL));
}

/// Kills the helpers with the mark, and waits until others have their place.
fn replace_helpers(mark: &str) {
    let before: Vec<i32> = helpers_with(mark).iter().map(|helper| helper.number).collect();
    assert!(!before.is_empty(), "{mark}");
    before.iter().for_each(|number| kill(*number));
    let is_new = || {
        let now = helpers_with(mark);
        !now.is_empty() && now.iter().all(|helper| !before.contains(&helper.number))
    };
    assert!(within(LIMIT, is_new), "{mark}: no other helper");
}

fn answers(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
    let mut room = [0; 4];
    stream.read_exact(&mut room).is_ok() && &room == b"here"
}

fn port_of(place: &Place, container: &str) -> u16 {
    let port = place.usnea(&["port", container, "80"]).works().to_owned();
    port.rsplit(':').next().expect("a port").parse().expect("a port")
}

fn log(place: &Place, container: &str) -> String {
    let ran = place.usnea(&["logs", container]);
    format!("{}{}", ran.stdout, ran.stderr)
}

fn clean(place: &Place, mark: &str) {
    place.usnea(&["rm", "--all", "--force", "--time", "0"]).works();
    assert!(within(LIMIT, || helpers_with(mark).is_empty()), "{mark}");
    place.nothing_is_left();
}

#[test]
fn a_helper_that_dies_is_started_again_with_a_single_message() {
    for helper in usable_helpers() {
        let place = Place::new();
        let network = format!("{helper}:cidr=10.78.1.0/24");
        let options = ["-d", "--network", &network, "--name", "web", "-p", "127.0.0.1::80"];
        place.run_kept(&options, SERVER).works();
        let port = port_of(&place, "web");
        assert!(within(LIMIT, || answers(port)), "{helper}");
        for _ in 0..2 {
            replace_helpers("10.78.1.");
            assert!(within(LIMIT, || answers(port)), "{helper}: {}", log(&place, "web"));
        }
        let inside = place.usnea(&["exec", "web", "ip", "-o", "-4", "addr", "show", "eth0"]);
        assert!(inside.works().contains("10.78.1.100"), "{inside:?}");
        let ways = place.usnea(&["exec", "web", "ip", "route"]);
        assert!(ways.works().contains("default via 10.78.1.2"), "{ways:?}");
        let error = place.usnea(&["inspect", "--format", "{{.State.Error}}", "web"]);
        assert_eq!(error.works(), "", "{helper}");
        let log = log(&place, "web");
        for report in [
            format!("network helper {helper} died; starting it again"),
            format!("network helper {helper} restarted"),
        ] {
            assert_eq!(log.matches(&report).count(), 1, "{log}");
        }
        let events = ["events", "--until", "0s", "--filter", "event=network_restart", "--format"];
        let format = "{{.Action}} {{.Actor.Attributes.helper}} {{.Actor.Attributes.reason}}";
        let events = place.usnea(&[&events[..], &[format]].concat());
        assert_eq!(events.works(), format!("network_restart {helper} died"));
        assert_eq!(helpers_with("10.78.1.").len(), 1, "{helper}");
        clean(&place, "10.78.1.");
    }
}

#[test]
fn the_helper_of_a_container_in_the_foreground_is_started_again() {
    for helper in usable_helpers() {
        let place = Place::new();
        let network = format!("{helper}:cidr=10.78.2.0/24");
        let options = ["--network", &network];
        let script = "echo up; read line; \
            for round in $(seq 300); do ip route | grep -q default && break; sleep 0.1; done; \
            ip -o -4 addr show eth0; ip route";
        let words = place.arguments(&[&options[..], &["-i"]].concat(), &["sh", "-c", script]);
        let gate = place.path("gate");
        assert!(Command::new("mkfifo").arg(&gate).status().expect("mkfifo").success());
        let mut command = Command::new("sh");
        command.args(["-c", r#"gate=$1; shift; exec "$@" 0<>"$gate""#, "sh", text(&gate)]);
        command.arg(binary()).args(words);
        place.prepare(&mut command);
        let mut run = Started::new(&mut command, "");
        run.wait_for("up");
        replace_helpers("10.78.2.");
        fs::write(&gate, "go on\n").expect("a pipe");
        let ran = run.end();
        assert!(ran.works().contains("10.78.2.100"), "{ran:?}");
        assert!(ran.stdout.contains("default via 10.78.2.2"), "{ran:?}");
        assert_eq!(ran.stderr.matches("died; starting it again").count(), 1, "{ran:?}");
        clean(&place, "10.78.2.");
    }
}

#[test]
fn the_helper_beside_named_networks_comes_back_with_the_members_own_address() {
    for helper in usable_helpers() {
        let place = Place::new();
        place.usnea(&["network", "create", "--subnet", "10.78.3.0/24", "back"]).works();
        let networks = ["--network", "back", "--network"];
        let way_out = format!("{helper}:cidr=10.78.4.0/24");
        let options = [&["-d", "--name", "box"], &networks[..], &[&way_out]].concat();
        place.run_kept(&options, "sleep 1000").works();
        let routes = || place.usnea(&["exec", "box", "ip", "route"]).works().to_owned();
        let before = routes();
        assert!(
            before.contains("default via 10.78.4.2") && before.contains("src 10.78.3."),
            "{before}"
        );
        replace_helpers("10.78.4.");
        let sorted = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
            lines.sort();
            lines
        };
        assert!(within(LIMIT, || sorted(&routes()) == sorted(&before)), "{before}\n{}", routes());
        clean(&place, "10.78.4.");
    }
}

#[test]
fn a_helper_that_is_stopped_is_continued_and_keeps_its_connections() {
    for helper in usable_helpers() {
        let place = Place::new();
        let network = format!("{helper}:cidr=10.78.26.0/24");
        let options = ["-d", "--network", &network, "--name", "web", "-p", "127.0.0.1::80"];
        // Each line comes back.
        place.run_kept(&options, "exec busybox nc -ll -p 80 -e cat").works();
        let list = place.kept(&["run", "--rm", "--network", &network], "echo up; exec sleep 1000");
        let mut run = Started::new(&mut place.command(&list), "");
        run.wait_for("up");
        let mut stream = None;
        let connects = |stream: &mut Option<TcpStream>| {
            *stream = TcpStream::connect(("127.0.0.1", port_of(&place, "web"))).ok();
            stream.as_mut().is_some_and(|stream| echoes(stream).is_ok())
        };
        assert!(within(LIMIT, || connects(&mut stream)), "{helper}");
        let before: Vec<i32> = helpers_with("10.78.26.").iter().map(|one| one.number).collect();
        assert_eq!(before.len(), 2, "{helper}");
        for number in &before {
            let _ = Pid::from_raw(*number).map(|pid| kill_process(pid, Signal::STOP));
        }
        let report = format!("network helper {helper} was stopped; continuing it");
        assert!(within(LIMIT, || log(&place, "web").contains(&report)), "{helper}");
        echoes(stream.as_mut().expect("a connection")).expect(helper);
        let after = || helpers_with("10.78.26.").into_iter();
        let goes_on =
            |one: Process| before.contains(&one.number) && one.runs() && !one.is_stopped();
        assert!(within(LIMIT, || after().all(goes_on) && after().count() == 2), "{helper}");
        place.usnea(&["rm", "--all", "--force", "--time", "0"]).works();
        run.signal(rustix::process::Signal::KILL);
        assert!(run.end().stderr.contains(&report), "{helper}");
        clean(&place, "10.78.26.");
    }
}

#[test]
fn a_helper_that_is_killed_with_all_other_processes_of_ours_leaves_nothing() {
    for helper in usable_helpers() {
        let place = Place::new();
        let network = format!("{helper}:cidr=10.78.7.0/24");
        let options = ["-d", "--network", &network, "--name", "web", "-p", "127.0.0.1::80"];
        place.run_kept(&options, SERVER).works();
        let field = |format: &str| -> i32 {
            let shown = place.usnea(&["inspect", "--format", format, "web"]);
            shown.works().parse().expect("a number")
        };
        let (command, monitor) = (field("{{.State.Pid}}"), field("{{.State.ConmonPid}}"));
        // Keeper and helper, but neither command nor monitor.
        let is_beside = |one: &Process| one.parent() == Some(monitor) && one.number != command;
        let beside: Vec<Process> =
            crate::support::processes().into_iter().filter(is_beside).collect();
        assert!(!beside.is_empty(), "{helper}");
        beside.iter().for_each(|one| kill(one.number));
        let inside = || place.usnea(&["exec", "web", "ip", "route"]);
        let ended = || place.usnea(&["ps", "--quiet"]).works().is_empty();
        // The container goes on with another helper, or has ended with its keeper.
        assert!(within(LIMIT, || ended() || inside().stdout.contains("default")), "{helper}");
        clean(&place, "10.78.7.");
    }
}

/// Sends a line, and waits for it to come back.
fn echoes(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(b"here\n")?;
    stream.read_exact(&mut [0; 5])
}

/// `usnea WORDS sh -c COMMAND` where slirp4netns is the script. There `$real` is the real one, in `$folder`.
fn with_fake(place: &Place, script: &str, words: &[&str], command: &str) -> Command {
    let folder = place.folder("helpers");
    let found = Command::new("sh").args(["-c", "command -v slirp4netns"]).output().expect("sh");
    let found = String::from_utf8(found.stdout).expect("a path");
    fs::copy(found.trim(), folder.join("slirp4netns-real")).expect("a copy");
    let folder_name = text(&folder);
    let script =
        format!("#!/bin/sh\nfolder={folder_name}\nreal=$folder/slirp4netns-real\n{script}\n");
    let path = place.write("helpers/fake", script);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
    let mut unshared = Command::new("unshare");
    unshared.args(["--user", "--map-root-user", "--mount", "--", "sh", "-c"]);
    unshared.arg(r#"mount --bind "$1" "$2"; shift 2; exec "$@""#).arg("sh").arg(path);
    unshared.arg(found.trim()).arg(binary()).args(place.kept(words, command));
    place.prepare(&mut unshared);
    unshared
}

#[test]
fn a_helper_that_cannot_start_is_reported_with_its_words_and_leaves_nothing() {
    if !need("slirp4netns") || !need("unshare") {
        return;
    }
    for (script, phrase) in [
        ("echo no wires here >&2; exit 1", "no wires here"),
        ("exit 0", "it ended"),
        ("kill -9 $$", "it ended"),
    ] {
        let place = Place::for_root_of_a_namespace();
        let options = ["--network", "slirp4netns", "-p", "127.0.0.1::80"];
        for kind in ["-d", "--rm"] {
            let words = [&["run", kind], &options[..]].concat();
            let ran = finish(&mut with_fake(&place, script, &words, "sleep 1000"), "");
            ran.fails_with(125, &["slirp4netns", phrase]);
        }
        clean(&place, "10.78.255.");
    }
}

#[test]
fn a_helper_that_hangs_at_its_start_is_given_up() {
    if !need("slirp4netns") || !need("unshare") {
        return;
    }
    let place = Place::for_root_of_a_namespace();
    let script = "echo $$ > $folder/pid; exec sleep 1000";
    let words = ["run", "-d", "--network", "slirp4netns", "-p", "127.0.0.1::80"];
    let ran = finish(&mut with_fake(&place, script, &words, "sleep 1000"), "");
    ran.fails_with(125, &["slirp4netns is not ready after"]);
    let pid: i32 = place.read("helpers/pid").trim().parse().expect("a number");
    assert!(Pid::from_raw(pid).is_none_or(|pid| rustix::process::test_kill_process(pid).is_err()));
    clean(&place, "10.78.255.");
}

/// Helper that makes its interface, says that it is ready, and never reads from the interface.
const DEAF: &str = r#"
import fcntl, os, struct, subprocess, sys, time
tap = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tap, 0x400454ca, struct.pack("16sH22x", b"eth0", 2 | 0x1000))  # TUNSETIFF: IFF_TAP | IFF_NO_PI
for words in "addr add 10.78.27.100/24 dev eth0", "link set eth0 up", "route add default via 10.78.27.2":
    subprocess.run(["ip"] + words.split(), check=True)
os.write(3, b"1")
time.sleep(1000)
"#;

#[test]
fn a_helper_that_does_not_answer_any_more_is_started_again() {
    if !["slirp4netns", "unshare", "nsenter", "python3", "ip"].into_iter().all(need) {
        return;
    }
    let place = Place::for_root_of_a_namespace();
    place.write("deaf.py", DEAF);
    // The first helper is deaf, in the namespaces that the words name.
    let script = "[ ! -e $folder/deaf ] || exec $real \"$@\"
        touch $folder/deaf; user=
        for word; do case $word in
            --userns-path=*) user=--user=${word#*=};;
            /proc/*/ns/net) net=--net=$word;;
        esac; done
        exec nsenter $user $net python3 $folder/../deaf.py";
    let network = "slirp4netns:cidr=10.78.27.0/24";
    let words = ["run", "-d", "--network", network, "--name", "box"];
    let ask = "while :; do busybox nc -w 1 10.78.27.2 9 < /dev/null; sleep 0.2; done";
    finish(&mut with_fake(&place, script, &words, ask), "").works();
    let said = |report: &str| log(&place, "box").contains(report);
    let report = "network helper slirp4netns does not answer; starting it again";
    assert!(within(LIMIT, || said(report)), "{}", log(&place, "box"));
    assert!(
        within(LIMIT, || said("network helper slirp4netns restarted")),
        "{}",
        log(&place, "box")
    );
    let ways = || place.usnea(&["exec", "box", "ip", "route"]);
    assert!(within(LIMIT, || ways().stdout.contains("default via 10.78.27.2")), "{:?}", ways());
    let events = ["events", "--until", "0s", "--filter", "event=network_restart", "--format"];
    let events = place.usnea(&[&events[..], &["{{.Actor.Attributes.reason}}"]].concat());
    assert_eq!(events.works(), "hung");
    assert_eq!(helpers_with("10.78.27.").len(), 1);
    let error = place.usnea(&["inspect", "--format", "{{.State.Error}}", "box"]);
    assert_eq!(error.works(), "");
    clean(&place, "10.78.27.");
}

#[test]
fn a_helper_of_a_container_that_asks_for_nobody_goes_on() {
    for helper in usable_helpers() {
        let place = Place::new();
        let network = format!("{helper}:cidr=10.78.28.0/24");
        // slirp4netns answers for no such neighbour, and pasta's does not listen. The gateway answers.
        let ask = "for round in 1 2 3; do for host in 77 2; do \
            timeout 5 busybox nc -w 4 10.78.28.$host 9 < /dev/null; done; done; \
            ip neigh; echo asked; exec sleep 1000";
        place.run_kept(&["-d", "--network", &network, "--name", "box"], ask).works();
        let before: Vec<i32> = helpers_with("10.78.28.").iter().map(|one| one.number).collect();
        assert_eq!(before.len(), 1, "{helper}");
        assert!(within(LIMIT, || log(&place, "box").contains("asked")), "{helper}");
        let after: Vec<i32> = helpers_with("10.78.28.").iter().map(|one| one.number).collect();
        assert_eq!(after, before, "{helper}: {}", log(&place, "box"));
        assert!(!log(&place, "box").contains("network helper"), "{}", log(&place, "box"));
        clean(&place, "10.78.28.");
    }
}

#[test]
fn a_helper_that_cannot_start_again_is_tried_until_it_can() {
    if !need("slirp4netns") || !need("unshare") {
        return;
    }
    let place = Place::for_root_of_a_namespace();
    let script = "echo x >> $folder/count; [ ! -e $folder/broken ] || { echo no wires >&2; exit 1; }; \
                  exec $real \"$@\"";
    let network = "slirp4netns:cidr=10.78.5.0/24";
    let words = ["run", "-d", "--network", network, "--name", "web", "-p", "127.0.0.1::80"];
    finish(&mut with_fake(&place, script, &words, SERVER), "").works();
    let port = port_of(&place, "web");
    assert!(within(LIMIT, || answers(port)));
    place.write("helpers/broken", "");
    helpers_with("10.78.5.").iter().for_each(|helper| kill(helper.number));
    let starts = || place.read("helpers/count").lines().count();
    assert!(within(LIMIT, || starts() >= 4));
    let error = place.usnea(&["inspect", "--format", "{{.State.Error}}", "web"]);
    assert!(error.works().contains("no external connectivity"), "{error:?}");
    assert_eq!(log(&place, "web").matches("no wires").count(), 1, "{}", log(&place, "web"));
    // The container does its work meanwhile, and ends as ever.
    assert_eq!(place.usnea(&["exec", "web", "echo", "on"]).works(), "on");
    fs::remove_file(place.path("helpers/broken")).expect("a file");
    assert!(within(LIMIT, || answers(port)), "{}", log(&place, "web"));
    let error = place.usnea(&["inspect", "--format", "{{.State.Error}}", "web"]);
    assert_eq!(error.works(), "");
    clean(&place, "10.78.5.");
}

#[test]
fn no_helper_outlives_its_container_whichever_processes_are_killed() {
    for helper in usable_helpers() {
        let place = Place::new();
        let network = format!("{helper}:cidr=10.78.6.0/24");
        let number = |field: &str| -> i32 {
            let said =
                place.usnea(&["inspect", "--format", &format!("{{{{.State.{field}}}}}"), "box"]);
            said.works().parse().expect("a number")
        };
        for (order, first) in
            ["helper monitor", "monitor helper", "helper command", "command helper"]
                .into_iter()
                .zip(0..)
        {
            let options = ["-d", "--network", &network, "--name", "box", "-p", "127.0.0.1::80"];
            place.run_kept(&options, SERVER).works();
            let helpers: Vec<i32> =
                helpers_with("10.78.6.").iter().map(|helper| helper.number).collect();
            assert_eq!(helpers.len(), 1, "{order}, {first}");
            let port = port_of(&place, "box");
            let (monitor, command) = (number("MonitorPid"), number("Pid"));
            for word in order.split(' ') {
                match word {
                    "helper" => kill(helpers[0]),
                    "monitor" => kill(monitor),
                    _ => kill(command),
                }
            }
            assert!(within(LIMIT, || helpers_with("10.78.6.").is_empty()), "{helper}: {order}");
            let is_free = || std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
            assert!(within(LIMIT, is_free), "{helper}: {order}");
            clean(&place, "10.78.6.");
        }
    }
}

/// Script of a host with a network namespace of its own. `$1` is usnea, `$2` the network, `$3` the image,
/// `$4` the helper's name server.
const HOST: &str = r#"
set -eu
usnea=$1 network=$2 image=$3
say() { echo "$@"; }
# Machine on the other side of the host's links; it has the address 198.51.100.1, and names.
unshare --net sh -c 'ip link set lo up; ip addr add 198.51.100.1/32 dev lo; echo ready; exec python3 server.py' > there &
there=$!
trap 'kill $there; "$usnea" rm --all --force --time 0 > removed 2>&1' EXIT
while ! grep -q serving there; do sleep 0.1; done
# A link by the names of both ends, and the host's part of a subnet.
connect() {
    ip link add "$1" type veth peer name "there-$1" netns $there
    ip addr add "$2.1/24" dev "$1"
    ip link set "$1" up
    nsenter --net --target $there sh -c "ip addr add $2.2/24 dev there-$1; ip link set there-$1 up"
    ip route add default via "$2.2"
}
retried() {
    limit=$(($(date +%s) + 25))
    while [ $(date +%s) -lt $limit ]; do
        if "$@" > answer 2>&1 < /dev/null; then return; fi
        sleep 0.1
    done
    say "never: $*"; cat answer errors; "$usnea" logs box || true
    ip route; "$usnea" exec box ip addr; ps -ef | grep 10[.]78 || true
    exit 1
}
detached() { timeout 5 "$usnea" exec box busybox nc -w 2 198.51.100.1 80 | grep -q here; }
# The container in the foreground reports each answer.
in_foreground() { : > foreground; sleep 0.3; grep -q here foreground; }
named() { timeout 5 "$usnea" exec box busybox nslookup "$1" "$resolver" | grep -q "$2"; }
cp "$(readlink -f /etc/resolv.conf)" resolv.conf 2> errors || : > resolv.conf
mount --bind resolv.conf "$(readlink -f /etc/resolv.conf)"
resolver=$4
"#;

/// Server of a host's tests: answers at port 80, and on any of its addresses for names, with the address asked.
const FAR: &str = r#"
import socket, threading
names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
names.setsockopt(socket.IPPROTO_IP, 8, 1)  # IP_PKTINFO
names.bind(("0.0.0.0", 53))
def answer():
    while True:
        data, info, _, peer = names.recvmsg(512, 128)
        local = [item[2] for item in info if item[1] == 8][0]
        end = data.index(b"\0", 12) + 5
        kind = data[end - 4:end - 2]
        head = data[:2] + b"\x85\x80\0\1" + (b"\0\1" if kind == b"\0\1" else b"\0\0") + b"\0\0\0\0"
        record = b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4" + local[4:8] if kind == b"\0\1" else b""
        names.sendmsg([head + data[12:end] + record], [(socket.IPPROTO_IP, 8, b"\0\0\0\0" + local[4:8] + b"\0\0\0\0")], 0, peer)
threading.Thread(target=answer, daemon=True).start()
server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind(("0.0.0.0", 80))
server.listen(64)
print("serving", flush=True)
while True:
    peer, _ = server.accept()
    try:
        peer.sendall(b"here\n")
    except OSError:
        pass
    peer.close()
"#;

/// Runs the script after [`HOST`] for each helper, on the network 10.78.NUMBER.0/24.
fn on_a_host(helpers: &[&'static str], number: u8, script: &str) {
    for helper in helpers {
        let place = Place::for_root_of_a_namespace();
        place.write("server.py", FAR);
        let image = place.image();
        let network = format!("{helper}:cidr=10.78.{number}.0/24");
        let resolver = format!("10.78.{number}.3");
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--net", "--mount", "--", "sh", "-c"]);
        command
            .arg(format!("{HOST}{script}"))
            .arg("sh")
            .arg(binary())
            .args([&network, &image, &resolver]);
        place.prepare(&mut command);
        let ran = finish(&mut command, "");
        assert_eq!(ran.works().lines().last(), Some("done"), "{helper}: {ran:?}");
        assert!(within(LIMIT, || helpers_with(&format!("10.78.{number}.")).is_empty()), "{helper}");
    }
}

fn has_tools() -> bool {
    ["unshare", "nsenter", "python3", "ip"].into_iter().all(need)
}

/// The helpers that run here, with or without a way out of the machine itself.
fn all_helpers() -> Vec<&'static str> {
    ["pasta", "slirp4netns"].into_iter().filter(|helper| on_path(helper)).collect()
}

#[test]
fn a_container_reaches_a_network_that_comes_late_and_moves_to_another_interface() {
    if !has_tools() {
        return;
    }
    on_a_host(
        &all_helpers(),
        7,
        r#"
        "$usnea" run -d --network "$network" --name box "$image" sleep 1000
        "$usnea" run --rm --network "$network" "$image" sh -c 'while sleep 0.1; do
            timeout 2 busybox nc -w 1 198.51.100.1 80 < /dev/null; done' > foreground 2> errors &
        run=$!
        trap 'kill -9 $run || true; kill $there; "$usnea" rm --all --force --time 0 > removed 2>&1' EXIT
        connect first 192.0.2
        retried detached
        retried in_foreground
        ip link del first
        connect second 203.0.113
        retried detached
        retried in_foreground
        # Another address on the same interface.
        ip addr flush dev second
        nsenter --net --target $there ip addr add 192.0.2.2/24 dev there-second
        ip addr add 192.0.2.9/24 dev second
        ip route add default via 192.0.2.2
        retried detached
        retried in_foreground
        kill -9 $run; wait $run || true
        say done"#,
    );
}

#[test]
fn a_container_asks_the_name_servers_that_the_host_changes_to() {
    if !has_tools() {
        return;
    }
    on_a_host(
        &all_helpers(),
        8,
        r#"
        connect first 192.0.2
        nsenter --net --target $there ip addr add 198.51.100.22/32 dev lo
        echo nameserver 198.51.100.1 > resolv.conf
        "$usnea" run -d --network "$network" --name box "$image" sleep 1000
        retried named one.example 198.51.100.1$
        echo nameserver 198.51.100.22 > resolv.conf
        retried named two.example 198.51.100.22
        say done"#,
    );
}
