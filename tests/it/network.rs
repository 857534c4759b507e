//! The way out of a container, and the ports that lead in: by each of the helper programs, which serve alike and go with
//! the container whoever dies.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::{
    Place, Started, need, need_that, not_applicable, on_path, processes_with, text, within,
};

const LIMIT: Duration = Duration::from_secs(30);

/// The helpers that can serve here. pasta of before 2024_10_30 needs a host with a way out of its own.
pub fn usable_helpers() -> Vec<&'static str> {
    let routes = fs::read_to_string("/proc/net/route").unwrap_or_default();
    let has_way_out = routes.lines().any(|line| line.split_whitespace().nth(1) == Some("00000000"));
    let is_usable = |helper: &&str| on_path(helper) && (*helper == "slirp4netns" || has_way_out);
    let usable: Vec<_> = ["pasta", "slirp4netns"].into_iter().filter(is_usable).collect();
    if !usable.contains(&"pasta") {
        not_applicable("pasta has no way out here");
    }
    assert!(need_that(!usable.is_empty(), "slirp4netns, or pasta and a default route"));
    usable
}

/// A network of its own for each test, by which its helpers are told from others'.
struct Net {
    helper: &'static str,
    number: u8,
}

impl Net {
    fn flag(&self) -> String {
        format!("{}:cidr=10.77.{}.0/24", self.helper, self.number)
    }

    fn address(&self) -> String {
        format!("10.77.{}.100", self.number)
    }

    /// What every command line of a helper of it contains.
    fn helpers(&self) -> usize {
        let mark = format!("10.77.{}.", self.number);
        let is_helper = |process: &crate::support::Process| {
            ["pasta", "passt", "slirp"].iter().any(|name| process.text("comm").contains(name))
        };
        processes_with(&mark).iter().filter(|process| is_helper(process)).count()
    }
}

/// What is said at a port of the host. Not the end of it: the pasta of Debian 12 loses some ends on newer kernels.
fn said(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).expect("a time-out");
    let mut answer = Vec::new();
    let mut room = [0; 99];
    while !answer.ends_with(b"\n") {
        let length = stream.read(&mut room).ok().filter(|length| *length > 0)?;
        answer.extend(&room[..length]);
    }
    String::from_utf8(answer).ok()
}

/// Answers each who comes.
const SERVER: &str = "exec busybox nc -ll -p 80 -e echo here";

fn clean(place: &Place) {
    place.usnea(&["rm", "--all", "--force", "--time", "0"]).works();
    place.nothing_is_left();
}

fn number_of(place: &Place, container: &str, field: &str) -> i32 {
    let format = format!("{{{{{field}}}}}");
    let said = place.usnea(&["inspect", "--format", &format, container]);
    said.works().parse().expect("a number")
}

#[test]
fn a_published_port_leads_in_until_the_end_and_is_free_then() {
    for helper in usable_helpers() {
        let place = Place::new();
        let net = Net { helper, number: 1 };
        let options = ["-d", "--network", &net.flag(), "--name", "web", "-p", "127.0.0.1::80"];
        place.run_kept(&options, SERVER).works();
        let said_port = place.usnea(&["port", "web", "80"]).works().to_owned();
        let port: u16 =
            said_port.strip_prefix("127.0.0.1:").expect(helper).parse().expect("a port");
        assert!(within(LIMIT, || said(port).as_deref() == Some("here\n")), "{helper}");
        assert_eq!(place.usnea(&["port", "web"]).works(), format!("80/tcp -> 127.0.0.1:{port}"));
        let shown = place.usnea(&["ps", "--format", "{{.Ports}} {{.Networks}}"]);
        assert_eq!(shown.works(), format!("127.0.0.1:{port}->80/tcp {helper}"));
        // Nobody else can have it meanwhile.
        let taken = format!("127.0.0.1:{port}:80");
        place.run(&["-p", &taken], "true").fails_with(125, &["cannot listen", &port.to_string()]);
        // But for whoever takes its place.
        let options = ["-d", "--replace", "--network", &net.flag(), "--name", "web", "-p", &taken];
        place.run_kept(&options, SERVER).works();
        place.usnea(&["restart", "--time", "0", "web"]).works();
        assert!(within(LIMIT, || said(port).as_deref() == Some("here\n")), "{helper}");
        assert_eq!(net.helpers(), 1);
        place.usnea(&["stop", "--time", "0", "web"]).works();
        TcpListener::bind(("127.0.0.1", port)).expect("a free port");
        assert_eq!(place.usnea(&["port", "web"]).works(), format!("80/tcp -> 127.0.0.1:{port}"));
        assert_eq!(place.usnea(&["ps", "--all", "--format", "{{.Ports}}"]).works(), "");
        clean(&place);
        assert_eq!(net.helpers(), 0);
    }
}

#[test]
fn ranges_and_all_that_is_exposed_are_published() {
    for helper in usable_helpers() {
        let place = Place::new();
        let net = Net { helper, number: 2 };
        let flag = net.flag();
        let options =
            ["-d", "--network", &flag, "--name", "web", "-P", "--expose", "80", "--expose"];
        place.run_kept(&[&options[..], &["7000-7002/udp"]].concat(), SERVER).works();
        let lines = place.usnea(&["port", "web"]).works().to_owned();
        // Ports of IPv6 too, or none of them, as the helper can.
        let (v6, v4): (Vec<&str>, Vec<&str>) =
            lines.lines().partition(|line| line.contains("[::]"));
        assert!(v4.len() == 4 && (v6.is_empty() || v6.len() == 4), "{lines}");
        let ends = place.usnea(&["port", "web", "80/tcp"]).works().to_owned();
        let mut ends = ends.lines();
        let port: u16 = ends
            .next()
            .and_then(|end| end.strip_prefix("0.0.0.0:"))
            .expect("all addresses")
            .parse()
            .expect("a port");
        assert_eq!(ends.next(), (!v6.is_empty()).then(|| format!("[::]:{port}")).as_deref());
        assert!(within(LIMIT, || said(port).as_deref() == Some("here\n")), "{helper}");
        let all: Value =
            serde_json::from_str(place.usnea(&["inspect", "web"]).works()).expect("JSON");
        let settings = &all[0]["NetworkSettings"];
        assert_eq!(settings["Ports"]["80/tcp"][0]["HostPort"], port.to_string());
        assert_eq!(settings["IPAddress"], net.address());
        assert_eq!(all[0]["Config"]["ExposedPorts"]["7001/udp"], serde_json::json!({}));
        place.usnea(&["port", "web", "81"]).fails_with(1, &["81/tcp"]);
        clean(&place);
    }
}

#[test]
fn datagrams_go_in_and_come_back() {
    // From the host's own address: neither slirp4netns nor pasta before 2024_07 carries back what comes from loopback.
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    if socket.connect("203.0.113.1:9").is_err() || !need("perl") {
        return not_applicable("this machine has no address but loopback");
    }
    let host = socket.local_addr().expect("an address").ip().to_string();
    let place = Place::new();
    let net = Net { helper: "slirp4netns", number: 3 };
    assert!(need("slirp4netns"));
    let server = "socket(S,2,2,17); bind(S,pack('Sna4x8',2,53,qq(\\0\\0\\0\\0))) or die; \
                  while(defined(my $from=recv(S,my $word,99,0))){ send(S,qq($word back),0,$from) }";
    let words = ["run", "-d", "--name", "names", "--network", &net.flag(), "-p", "53/udp"];
    place.usnea(&[&words[..], &["host:perl", "perl", "-e", server]].concat()).works();
    let port = place.usnea(&["port", "names", "53/udp"]).works().to_owned();
    let port: u16 = port.rsplit(':').next().expect("a port").parse().expect("a port");
    let client = UdpSocket::bind((host.as_str(), 0)).expect("a socket");
    client.set_read_timeout(Some(Duration::from_millis(200))).expect("a time-out");
    client.connect((host.as_str(), port)).expect("an address");
    let answers = || {
        let mut room = [0; 99];
        client.send(b"there").is_ok()
            && client.recv(&mut room).is_ok_and(|length| &room[..length] == b"there back")
    };
    assert!(within(LIMIT, answers));
    clean(&place);
}

#[test]
fn the_host_is_reached_by_its_address_and_its_loopback_is_not() {
    let listener = TcpListener::bind("0.0.0.0:0").expect("a socket");
    let near = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let port = listener.local_addr().expect("an address").port();
    let near = near.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let _ = stream.write_all(b"from the host\n");
        }
    });
    for helper in usable_helpers() {
        let place = Place::new();
        let net = Net { helper, number: 4 };
        let script = format!(
            "host=$(sed -n 's/\\t.*host.containers.internal.*//p' /etc/hosts); \
             [ -z \"$host\" ] || busybox timeout 5 busybox nc -w 3 $host {port} </dev/null; \
             busybox timeout 5 busybox nc -w 3 10.77.4.2 {near} </dev/null && echo it is; echo end"
        );
        let ran = place.run(&["--network", &net.flag()], &script);
        // As above, not the end of it, which may be lost.
        let said = ran.works();
        let routes = fs::read_to_string("/proc/net/route").unwrap_or_default();
        let is_reached = !routes.contains("\t00000000\t") || said.contains("from the host");
        assert!(
            is_reached && !said.contains("it is") && said.ends_with("end"),
            "{helper}: {ran:?}"
        );
        assert!(within(LIMIT, || net.helpers() == 0), "{helper}");
    }
}

#[test]
fn names_are_those_of_the_flags_and_of_the_host() {
    for helper in usable_helpers() {
        let place = Place::new();
        let net = Net { helper, number: 5 };
        let flag = net.flag();
        let options = ["--network", &flag, "--hostname", "box", "--add-host", "db:10.1.1.1"];
        let hosts = place.run(&options, "cat /etc/hosts").works().to_owned();
        assert!(hosts.contains("10.1.1.1\tdb\n") && hosts.ends_with("10.77.5.100\tbox"), "{hosts}");
        let resolvers = place.run(&options, "cat /etc/resolv.conf").works().to_owned();
        assert!(resolvers.contains("nameserver 10.77.5.3"), "{resolvers}");
        let dns = ["--dns", "10.9.9.9", "--dns-search", "a.org", "--dns-option", "ndots:3"];
        let resolvers = place.run(&[&options[..], &dns].concat(), "cat /etc/resolv.conf");
        assert_eq!(resolvers.works(), "search a.org\noptions ndots:3\nnameserver 10.9.9.9");
        // Also for another user, on a root that is read-only; what is written there is nowhere else.
        let options = [&options[..], &["--read-only"]].concat();
        assert_eq!(place.run(&options, "echo mine > /etc/hosts; cat /etc/hosts").works(), "mine");
        let own = place.write("own", "10.2.2.2 own\n");
        let volume = format!("{}:/etc/hosts", text(&own));
        let ran = place.run(&[&options[..], &["-v", &volume]].concat(), "cat /etc/hosts");
        assert_eq!(ran.works(), "10.2.2.2 own");
        assert!(!place.small_root().join("etc/hosts").exists());
    }
    let place = Place::new();
    let none = ["--network", "none", "--hostname", "box", "--add-host"];
    let hosts = place.run(&[&none[..], &["db:10.1.1.1"]].concat(), "cat /etc/hosts");
    assert!(hosts.works().contains("10.1.1.1\tdb\n127.0.0.1\tbox"), "{hosts:?}");
    let up = [&none[..], &["up:host-gateway"]].concat();
    place.run(&up, "true").fails_with(125, &["up"]);
    let on_host = place.run(&["--network", "host", "--dns", "10.9.9.9"], "cat /etc/resolv.conf");
    assert!(on_host.works().ends_with("nameserver 10.9.9.9"), "{on_host:?}");
}

#[test]
fn dns_none_keeps_the_resolv_conf_of_the_image() {
    let place = Place::new();
    let root = place.small_root();
    fs::create_dir_all(root.join("etc")).expect("a directory");
    fs::write(root.join("etc/resolv.conf"), "nameserver 10.3.3.3\n").expect("a file");
    let mut networks = vec!["none", "host"];
    networks.extend(usable_helpers());
    for network in networks {
        let ran = place.run(&["--network", network, "--dns", "none"], "cat /etc/resolv.conf");
        assert_eq!(ran.works(), "nameserver 10.3.3.3", "{network}");
    }
    for more in [["--dns", "10.9.9.9"], ["--dns-search", "a.org"], ["--dns-option", "ndots:3"]] {
        let options = [&["--dns", "none"][..], &more].concat();
        place.run(&options, "true").fails_with(125, &["--dns", "none stands alone"]);
    }
    place.usnea(&["pod", "create", "--dns", "none", "shop"]).works();
    let ran = place.run_kept(&["--rm", "--pod", "shop"], "cat /etc/resolv.conf");
    assert_eq!(ran.works(), "nameserver 10.3.3.3");
    place.usnea(&["pod", "rm", "--force", "shop"]).works();
}

#[test]
fn a_link_of_resolv_conf_to_a_missing_file_leads_to_the_container_s_file() {
    let place = Place::new();
    let root = place.small_root();
    fs::create_dir_all(root.join("run")).expect("a directory");
    fs::create_dir_all(root.join("etc")).expect("a directory");
    let own = place.write("own", "nameserver 10.2.2.2\n");
    let volume = format!("{}:/etc/resolv.conf", text(&own));
    let outside = place.folder("outside");
    let helper = usable_helpers().first().copied();
    for target in ["../run/systemd/resolve/stub-resolv.conf", "/run/../../../link", "absolute"] {
        for (from, to) in [
            ("etc/resolv.conf", target),
            ("run/link", "/run/second"),
            ("etc/absolute", text(&outside)),
        ] {
            let _ = fs::remove_file(root.join(from));
            std::os::unix::fs::symlink(to, root.join(from)).expect("a link");
        }
        let mut options = vec![
            vec!["--network", "none", "--dns", "10.2.2.2"],
            vec!["--network", "none", "-v", &volume],
        ];
        options.extend(helper.map(|helper| vec!["--network", helper, "-p", "127.0.0.1::80"]));
        // A machine without the file has none to show.
        if Path::new("/etc/resolv.conf").exists() {
            options.push(vec!["--network", "host"]);
        }
        for options in options {
            let ran =
                place.run(&options, "cat /etc/resolv.conf; [ -L /etc/resolv.conf ] && echo link");
            let answer = ran.works();
            assert!(answer.ends_with("link") && answer.len() > 6, "{target} {options:?}: {ran:?}");
        }
        // The target is made in the container alone.
        assert!(!root.join("run/systemd").exists() && !root.join("run/second").exists());
        assert_eq!(fs::read_dir(&outside).expect("a directory").count(), 0);
    }
    let ran = place.run(&["--network", "host"], "hostname");
    assert_eq!(ran.works(), rustix::system::uname().nodename().to_string_lossy());
    let ran = place.run(&["--network", "host", "--hostname", "box"], "hostname");
    assert_eq!(ran.works(), "box");
}

#[test]
fn exec_commands_are_on_the_container_s_network() {
    for helper in usable_helpers() {
        let place = Place::new();
        let net = Net { helper, number: 6 };
        place.run_kept(&["-d", "--name", "box", "--network", &net.flag()], "sleep 1000").works();
        let addresses = place.usnea(&["exec", "box", "ip", "-o", "-4", "addr", "show", "eth0"]);
        assert!(addresses.works().contains(&net.address()), "{addresses:?}");
        let ways = place.usnea(&["exec", "box", "ip", "route"]);
        assert!(ways.works().contains("default via 10.77.6.2"), "{ways:?}");
        clean(&place);
    }
}

#[test]
fn the_helper_ends_with_the_container_however_it_dies() {
    for helper in usable_helpers() {
        let place = Place::new();
        let net = Net { helper, number: 7 };
        let flag = net.flag();
        // The monitor.
        place.run_kept(&["-d", "--name", "box", "--network", &flag], "sleep 1000").works();
        assert_eq!(net.helpers(), 1);
        let monitor = number_of(&place, "box", ".State.MonitorPid");
        let pid = rustix::process::Pid::from_raw(monitor).expect("a number");
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("a monitor");
        assert!(within(LIMIT, || net.helpers() == 0), "{helper} outlives the monitor");
        clean(&place);
        // The one in the foreground.
        let words = place.arguments(&["--network", &flag], &["sh", "-c", "echo up; sleep 1000"]);
        let mut run = Started::new(&mut place.command(&words), "");
        run.wait_for("up");
        assert_eq!(net.helpers(), 1);
        run.signal(rustix::process::Signal::KILL);
        run.end();
        assert!(within(LIMIT, || net.helpers() == 0), "{helper} outlives its parent");
        // Layers that were not in memory (before 6.6) the next command removes.
        place.run(&[], "true").works();
        place.nothing_is_left();
        // The helper: the container goes on, that is told, and another helper comes.
        place.run_kept(&["-d", "--name", "box", "--network", &flag], "sleep 1000").works();
        for process in processes_with("10.77.7.") {
            let pid = rustix::process::Pid::from_raw(process.number).expect("a number");
            if ["pasta", "passt", "slirp"].iter().any(|name| process.text("comm").contains(name)) {
                rustix::process::kill_process(pid, rustix::process::Signal::KILL)
                    .expect("a helper");
            }
        }
        let log = || place.usnea(&["logs", "box"]).stderr;
        assert!(within(LIMIT, || log().contains("network helper")), "{}", log());
        assert!(within(LIMIT, || net.helpers() == 1), "{helper}");
        assert_eq!(place.usnea(&["exec", "box", "echo", "on"]).works(), "on");
        clean(&place);
    }
}

#[test]
fn a_launch_that_fails_leaves_no_helper() {
    for helper in usable_helpers() {
        let place = Place::new();
        let net = Net { helper, number: 8 };
        let words = place.arguments(&["--network", &net.flag()], &["no-such-command"]);
        place.usnea(&words).fails_with(127, &["no-such-command"]);
        assert!(within(LIMIT, || net.helpers() == 0), "{helper}");
    }
}

#[test]
fn the_second_helper_serves_where_the_first_cannot() {
    if std::env::var_os("USNEA_TEST_MACHINE").is_some() && !on_path("pasta") {
        return not_applicable("this release of Debian has no pasta");
    }
    if !need("slirp4netns") || !need("pasta") || !need("unshare") {
        return;
    }
    // In a network without a way out pasta gives up (before 2024_10_30), or has addresses of its own.
    let place = Place::new();
    let words =
        place.arguments(&["--network", "private"], &["ip", "-o", "-4", "addr", "show", "eth0"]);
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--net", "--mount", "--"]);
    command.arg(crate::support::binary()).args(words);
    place.prepare(&mut command);
    let ran = crate::support::finish(&mut command, "");
    assert!(ran.works().contains("10.0.2.100"), "{ran:?}");
}

#[test]
fn impossible_networks_are_refused_before_anything_runs() {
    let place = Place::new();
    place.run(&["--network", "none", "-p", "80"], "true").fails_with(125, &["no ports"]);
    place.run(&["--network", "slirp4netns:x=1"], "true").fails_with(125, &["x=1"]);
    place.run(&["--network", "pasta:cidr=1"], "true").fails_with(125, &["cidr"]);
    place.run(&["--network", "pasta:--no-such-option"], "true").fails_with(125, &["pasta"]);
    for publish in ["0", "80/sctp", "localhost:80:80", "2-1"] {
        place.run(&["-p", publish], "true").fails_with(125, &["--publish"]);
    }
    place.run(&["-p", "8080:80", "-p", "8080:81"], "true").fails_with(125, &["twice"]);
    let lowest = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    if lowest.is_ok_and(|lowest| lowest.trim() == "1024") {
        let ran = place.run(&["-p", "1000:80"], "true");
        ran.fails_with(125, &["0.0.0.0:1000"]);
        ran.hints();
    }
}
