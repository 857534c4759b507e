//! Names of named networks: servers inside the networks, and processes that answer no more.

use std::os::unix::process::CommandExt;

use rustix::process::Signal;

use crate::networked::{LIMIT, Networked};
use crate::support::{Place, Process, Started, processes_with, within};

/// Answers 192.0.2.7 to each question, over UDP and TCP.
const NAME_SERVER: &str = r#"
import socket, threading
def answer(question):
    end = question.index(b"\0", 12) + 5
    head = question[:2] + b"\x81\x80\0\1\0\1\0\0\0\0"
    return head + question[12:end] + b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4\xc0\0\2\7"
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("", 53))
tcp = socket.create_server(("", 53))
def datagrams():
    while True:
        question, peer = udp.recvfrom(999)
        udp.sendto(answer(question), peer)
threading.Thread(target=datagrams, daemon=True).start()
while True:
    one, _ = tcp.accept()
    text = answer(one.recv(999)[2:])
    one.sendall(len(text).to_bytes(2, "big") + text)
    one.close()
"#;

fn name_server(set: &Networked, name: &str, options: &[&str]) {
    set.place.write("full/srv/names.py", NAME_SERVER);
    set.start(name, options, "exec python3 /srv/names.py");
}

fn has_answer(set: &Networked, client: &str, kind: &str) -> bool {
    within(LIMIT, || set.addresses(client, "any.example", kind) == ["192.0.2.7"])
}

#[test]
fn a_name_server_in_a_network_of_the_container_is_asked_there() {
    let Some(set) = Networked::new() else { return };
    set.network("outer", &[]);
    set.network("inner", &["--internal"]);
    name_server(&set, "names", &["--network", "inner"]);
    let address = set.address("names", "inner");
    let own = ["--dns", &address];
    // Without a way out, and where the first network is another one.
    for (name, networks) in [
        ("closed", &["--network", "inner"][..]),
        ("both", &["--network", "outer", "--network", "inner"]),
    ] {
        set.idle(name, &[networks, &own].concat());
        for kind in ["a", "+tcp a"] {
            assert!(has_answer(&set, name, kind), "{name} {kind}");
        }
        assert_eq!(set.addresses(name, "names", "a"), [address.as_str()], "{name}");
    }
    // A member of other networks alone does not reach it.
    set.idle("apart", &[&["--network", "outer"][..], &own].concat());
    // The host's network may have someone who answers for the address.
    let answer = set.inside("apart", "dig +timeout=5 any.example");
    assert!(answer.works().contains("status: ") && !answer.stdout.contains("192.0.2.7"));
    set.clean();
}

#[test]
fn the_name_server_of_a_network_may_be_one_of_its_members() {
    let Some(set) = Networked::new() else { return };
    let options = ["--internal", "--subnet", "10.80.41.0/24", "--dns", "10.80.41.5"];
    set.network("net", &options);
    set.idle("user", &["--network", "net"]);
    name_server(&set, "names", &["--network", "net", "--ip", "10.80.41.5"]);
    assert!(has_answer(&set, "user", "a"));
    set.place.usnea(&["rm", "--force", "--time", "0", "names"]).works();
    assert_eq!(set.dns_status("user", "any.example"), "SERVFAIL");
    set.clean();
}

#[test]
fn a_container_asks_the_gateways_of_both_families() {
    let Some(set) = Networked::new() else { return };
    let subnets = ["--subnet", "10.80.42.0/24", "--subnet", "fd00:80:42::/64"];
    set.network("dual", &[&["--internal", "--ipv6"][..], &subnets].concat());
    set.network("old", &["--internal", "--subnet", "10.80.43.0/24"]);
    set.idle("user", &["--network", "dual", "--network", "old"]);
    let shown = set.inside("user", "grep ^nameserver /etc/resolv.conf");
    let servers: Vec<&str> =
        shown.works().lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!(servers, ["10.80.42.1", "10.80.43.1", "fd00:80:42::1"]);
    for server in servers {
        let answers = || set.addresses("user", &format!("@{server} user"), "a").len() == 1;
        assert!(within(LIMIT, answers), "{server}");
    }
    set.clean();
}

#[test]
fn a_hardware_address_that_was_asked_for_is_shown_by_its_old_name_too() {
    let Some(set) = Networked::new() else { return };
    set.network("net", &["--internal"]);
    let mac = "02:42:0a:50:2c:07";
    set.idle("user", &["--network", "net", "--mac-address", mac]);
    assert_eq!(set.field("user", "/Config/MacAddress"), mac);
    assert_eq!(set.of_network("user", "net", "MacAddress"), mac);
    set.clean();
}

fn name_of_other(place: &Place, name: &str) -> Option<String> {
    let listed = place.usnea(&["ps", "--format", "{{.Names}}"]);
    listed.works().lines().find(|one| *one != name).map(str::to_owned)
}

#[test]
fn a_container_whose_usnea_is_stopped_takes_no_questions_of_others() {
    let Some(set) = Networked::new() else { return };
    set.network("net", &["--internal"]);
    set.idle("user", &["--network", "net"]);
    let words = set.words(&["run", "--rm", "--network", "net:alias=front-4711"], "sleep 1000");
    // A process group of its own, which is not orphaned: else the kernel ignores the signal.
    let mut command = set.place.command(&words);
    command.process_group(0);
    let started = Started::new(&mut command, "");
    assert!(within(LIMIT, || set.addresses("user", "front-4711", "a").len() == 1));
    assert!(within(LIMIT, || name_of_other(&set.place, "user").is_some()));
    let name = name_of_other(&set.place, "user").expect("a name");
    let all = processes_with("alias=front-4711");
    let is_ours = |one: &&Process| one.parent() == Some(std::process::id() as i32);
    let usnea = all.iter().find(is_ours).expect("usnea");
    started.signal(Signal::TSTP);
    assert!(within(LIMIT, || usnea.is_stopped()));
    // Each from another port: the kernel would give half of them to the stopped process.
    let script = "for one in $(seq 16); do dig +short +tries=1 +time=5 user || echo lost; done";
    let asked = set.inside("user", script);
    let address = set.address("user", "net");
    assert!(asked.works().lines().all(|line| line == address), "{asked:?}");
    assert_eq!(asked.stdout.lines().count(), 16);
    started.signal(Signal::CONT);
    assert!(within(LIMIT, || !usnea.is_stopped()));
    // The continued process answers again, now as the only one.
    set.place.usnea(&["rm", "--force", "--time", "0", "user"]).works();
    assert!(within(LIMIT, || set.addresses(&name, "front-4711", "a").len() == 1));
    set.place.usnea(&["stop", "--time", "0", &name]).works();
    assert_eq!(started.end().status, 137);
    set.clean();
}
