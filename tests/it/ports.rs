//! Published ports: the source address that a server in the container sees, both families, many ports and connections,
//! two starts at once, and errors before the container starts.
//!
//! A namespace of the test is the host of most tests, and another one a machine beside it: so a client has an address of
//! its own, and all ports are free.

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::Command;

use serde_json::Value;

use crate::support::{Place, Ran, Started, binary, finish, need, not_applicable, on_path, text};

/// Server of the tests: programs inside, started by the name of their part.
const SERVER: &str = r#"
import hashlib, socket, struct, threading

def listener(family, port):
    one = socket.socket(family)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6: one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    one.bind(("", port)); one.listen(512)
    return one

def each(family, port, serve):
    def run():
        one = listener(family, port)
        while True:
            connection, peer = one.accept()
            threading.Thread(target=serve, args=(connection, peer), daemon=True).start()
    threading.Thread(target=run).start()

def tell_peer(connection, peer):
    connection.sendall((peer[0] + "\n").encode())
    connection.recv(1)

def digest(connection, peer):
    # Answers only after the client has closed its half.
    seen = hashlib.sha256()
    while True:
        data = connection.recv(65536)
        if not data: break
        seen.update(data)
    connection.sendall(seen.hexdigest().encode())
    connection.close()

def large(connection, peer):
    for number in range(256): connection.sendall(bytes([number]) * 65536)
    connection.shutdown(socket.SHUT_WR)
    connection.recv(1)

def reset(connection, peer):
    connection.recv(1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()

def datagrams(family):
    one = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET6: one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    one.bind(("", 53))
    while True:
        data, peer = one.recvfrom(65535)
        one.sendto((peer[0] + " ").encode() + data, peer)

for family in (socket.AF_INET, socket.AF_INET6):
    each(family, 80, tell_peer)
    threading.Thread(target=datagrams, args=(family,)).start()
each(socket.AF_INET, 81, digest)
each(socket.AF_INET, 82, large)
each(socket.AF_INET, 83, reset)
print("up", flush=True)
"#;

/// Clients of the tests. Each prints a line; a server that is not there yet is tried again.
const CLIENT: &str = r#"
import hashlib, socket, sys, threading, time

def again(ask):
    for attempt in range(60):
        try:
            answer = ask()
            if answer: return answer
        except OSError as error: answer = repr(error)
        time.sleep(0.1)
    return answer

def connect(host, port):
    one = socket.create_connection((host, port), 60)
    one.settimeout(60)
    return one

def peer(host):
    one = connect(host, 8080)
    one.settimeout(2)
    answer = one.recv(99)
    return answer.decode().strip()

def datagram(host, size=5):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    one = socket.socket(family, socket.SOCK_DGRAM)
    one.settimeout(2)
    one.connect((host, 5353))  # an answer from another address is none
    one.send(b"x" * size)
    answer, words = one.recv(65535), None
    words = answer.split(b" ", 1)
    return words[0].decode() + " " + str(len(words[1]))

def digest(host):
    data = b"".join(hashlib.sha256(str(number).encode()).digest() * 2048 for number in range(128))
    one = connect(host, 8081)
    one.sendall(data)
    one.shutdown(socket.SHUT_WR)
    got = b""
    while len(got) < 64:
        more = one.recv(64)
        if not more: break
        got += more
    return "same" if got.decode() == hashlib.sha256(data).hexdigest() else "other " + got.decode()

def large(host):
    one, got = connect(host, 8082), 0
    seen, all = hashlib.sha256(), hashlib.sha256()
    while True:
        data = one.recv(65536)
        if not data: break
        seen.update(data)
    for number in range(256): all.update(bytes([number]) * 65536)
    return "same" if seen.digest() == all.digest() else "other"

def reset(host):
    one = connect(host, 8083)
    one.sendall(b"x")
    try: return "reset" if not one.recv(1) else "data"
    except ConnectionResetError: return "reset"

def many(host):
    # All open at once. One after the other: slirp4netns has a queue of one connection that is not accepted yet.
    all, answers = [], []
    for _ in range(200):
        all.append(connect(host, 8080))
        answers.append(all[-1].recv(99).decode().strip())
    for one in all: one.sendall(b"x")  # still open
    return str(len(answers)) + " " + ",".join(sorted(set(answers)))

def clients(host):
    sockets = []
    for number in range(100):
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        one.settimeout(5); one.connect((host, 5353)); one.send(str(number).encode())
        sockets.append(one)
    wrong = sum(one.recv(99).split(b" ")[1] != str(number).encode() for number, one in enumerate(sockets))
    return "wrong " + str(wrong)

what, host = sys.argv[1:3]
print(what, host, again(lambda: globals()[what](host, *map(int, sys.argv[3:]))), flush=True)
"#;

/// Host of a test: the addresses 192.0.2.1 and fd77::1, its way out, and a client's machine at 192.0.2.2 and fd77::2.
const HOST: &str = r#"
set -eu
ip link set lo up
unshare --net sleep 600 & client=$!
trap 'kill $client' EXIT
until [ "$(readlink /proc/$client/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.01; done
ip link add v0 type veth peer name v1 netns $client
ip address add 192.0.2.1/24 dev v0; ip address add fd77::1/64 dev v0 nodad; ip link set v0 up
client() { nsenter --target $client --net -- "$@"; }
client sh -c 'ip link set lo up; ip address add 192.0.2.2/24 dev v1; ip address add fd77::2/64 dev v1 nodad;
    ip link set v1 up; ip route add default via 192.0.2.1; ip route add default via fd77::1'
ip route add default via 192.0.2.2; ip -6 route add default via fd77::2
inside="-v /usr:/usr:ro -v /lib:/lib:ro"; [ ! -e /lib64 ] || inside="$inside -v /lib64:/lib64:ro"
web() { usnea run --detach --name web $inside -v "$PWD/server.py:/server.py:ro" "$@" "$IMAGE" python3 /server.py > /dev/null; }
ask() { python3 client.py "$@"; }
usnea() { "$USNEA" "$@"; }
"#;

/// Runs a script on a host of its own.
fn on_host(place: &Place, script: &str) -> Ran {
    place.write("server.py", SERVER);
    place.write("client.py", CLIENT);
    let script = format!("{HOST}\n{script}\nusnea rm --all --force --time 0 > /dev/null\n");
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--net", "--mount", "--", "bash", "-c", &script]);
    place.prepare(&mut command);
    command.env("USNEA", binary()).env("IMAGE", place.image());
    finish(&mut command, "")
}

fn can_make_hosts() -> bool {
    ["unshare", "nsenter", "ip", "python3"].into_iter().all(need)
}

/// True if the help of a program has this text.
fn has_feature(program: &str, feature: &str) -> bool {
    let asked = Command::new(program).arg("--help").output().expect(program);
    [asked.stdout, asked.stderr].iter().any(|text| String::from_utf8_lossy(text).contains(feature))
}

/// Helpers whose connections are whole. The pasta of Debian 12, which has no `--host-lo-to-ns-lo` yet, carries no data of
/// connections from other machines on newer kernels (seen on 6.18), and is not preferred for such faults.
fn helpers_of_connections() -> Vec<&'static str> {
    let mut helpers = vec!["slirp4netns"];
    assert!(need("slirp4netns"));
    if on_path("pasta") && has_feature("pasta", "--host-lo-to-ns-lo") {
        helpers.push("pasta");
    } else {
        not_applicable("this pasta loses data of connections, or is not here");
    }
    helpers
}

#[test]
fn a_server_sees_the_address_of_a_client_on_another_machine() {
    if !can_make_hosts() {
        return;
    }
    for helper in helpers_of_connections() {
        let place = Place::new();
        let script = format!(
            "web --network {helper} -p 8080:80 -p 5353:53/udp
             for host in 192.0.2.1; do client python3 client.py peer $host; client python3 client.py datagram $host; done
             ask peer 192.0.2.1; ask datagram 192.0.2.1; ask peer 127.0.0.1
             usnea inspect --format '{{{{json .NetworkSettings.PortForwarding}}}}' web"
        );
        let ran = on_host(&place, &script);
        let lines: Vec<&str> = ran.works().lines().collect();
        assert_eq!(lines[..2], ["peer 192.0.2.1 192.0.2.2", "datagram 192.0.2.1 192.0.2.2 5"]);
        assert_eq!(lines[2..4], ["peer 192.0.2.1 192.0.2.1", "datagram 192.0.2.1 192.0.2.1 5"]);
        // The container cannot answer 127.0.0.1, which is its own.
        let near = lines[4].strip_prefix("peer 127.0.0.1 10.0.2.").expect("a peer");
        assert!(["2", "100"].contains(&near), "{helper}: {near}");
        let told: Value = serde_json::from_str(lines[5]).expect("JSON");
        assert_eq!(told["Helper"], helper);
        assert_eq!(told["KeepsSourceAddress"], true);
        assert_eq!(told["KeepsLoopbackSourceAddress"], false);
    }
}

#[test]
fn pasta_listens_at_both_families_and_only_that_is_shown() {
    if !can_make_hosts() || !on_path("pasta") {
        return not_applicable("pasta is not here");
    }
    let place = Place::new();
    // Datagrams: those of pasta in Debian 12 are whole, if no other port of the host leads to the same port.
    let script = "web --network pasta -p 5353:53/udp -p '[fd77::1]:5354:54/udp' -p 0.0.0.0:5355:55/udp
        client python3 client.py datagram 192.0.2.1; client python3 client.py datagram fd77::1
        usnea port web; usnea ps --format '{{.Ports}}'
        usnea inspect --format '{{json .NetworkSettings.Ports}} {{json .HostConfig.PortBindings}}' web";
    let ran = on_host(&place, script);
    let lines: Vec<&str> = ran.works().lines().collect();
    assert_eq!(lines[0], "datagram 192.0.2.1 192.0.2.2 5");
    assert_eq!(lines[1], "datagram fd77::1 fd77::2 5");
    let ends =
        [(53, "0.0.0.0:5353"), (53, "[::]:5353"), (54, "[fd77::1]:5354"), (55, "0.0.0.0:5355")];
    assert_eq!(lines[2..6], ends.map(|(port, end)| format!("{port}/udp -> {end}")));
    for (port, end) in ends {
        assert!(lines[6].contains(&format!("{end}->{port}/udp")), "{}", lines[6]);
    }
    let mut all = serde_json::Deserializer::from_str(lines[7]).into_iter::<Value>();
    let ports = all.next().expect("ports").expect("JSON");
    assert_eq!(ports["53/udp"][1]["HostIp"], "::");
    assert_eq!(ports["54/udp"][0]["HostIp"], "fd77::1");
    let bindings = all.next().expect("bindings").expect("JSON");
    assert_eq!(bindings["53/udp"][0]["HostIp"], "");
    assert_eq!(bindings["53/udp"].as_array().map(Vec::len), Some(1));
    assert_eq!(bindings["55/udp"][0]["HostIp"], "0.0.0.0");
}

#[test]
fn slirp4netns_serves_ipv6_where_it_can_and_else_nothing_starts() {
    if !can_make_hosts() || !need("slirp4netns") {
        return;
    }
    let place = Place::new();
    let script = "if web --network slirp4netns -p '[fd77::1]:8080:80'; then
            client python3 client.py peer fd77::1; else echo refused; fi
        usnea rm --all --force --time 0 >&2; web --network slirp4netns -p 8080:80; usnea port web";
    let ran = on_host(&place, script);
    let lines: Vec<&str> = ran.works().lines().collect();
    // Releases up to 1.3.3 cannot.
    if lines[0] == "refused" {
        assert!(ran.stderr.contains("no ports of IPv6") && ran.stderr.contains("hint:"), "{ran:?}");
    } else {
        assert_eq!(lines[0], "peer fd77::1 fd77::2");
    }
    assert_eq!(lines[1..], ["80/tcp -> 0.0.0.0:8080"], "what it does not listen at is not shown");
}

#[test]
fn connections_are_whole_however_they_end() {
    if !can_make_hosts() {
        return;
    }
    for helper in helpers_of_connections() {
        let place = Place::new();
        let script = format!(
            "web --network {helper} -p 8080-8083:80-83 -p 5353:53/udp
             for what in peer digest large reset clients many; do client python3 client.py $what 192.0.2.1; done
             client python3 client.py datagram 192.0.2.1 1400; client python3 client.py datagram 192.0.2.1 9000"
        );
        let ran = on_host(&place, &script);
        let lines: Vec<&str> = ran.works().lines().collect();
        let expected = [
            "peer 192.0.2.1 192.0.2.2",
            "digest 192.0.2.1 same",
            "large 192.0.2.1 same",
            "reset 192.0.2.1 reset",
            "clients 192.0.2.1 wrong 0",
            "many 192.0.2.1 200 192.0.2.2",
            "datagram 192.0.2.1 192.0.2.2 1400",
            "datagram 192.0.2.1 192.0.2.2 9000",
        ];
        assert_eq!(lines, expected, "{helper}");
    }
}

#[test]
fn the_hosts_loopback_is_reached_only_if_asked_for() {
    if !can_make_hosts() {
        return;
    }
    // The server of the host, at loopback alone.
    let near = "import socket
for family, host in ((socket.AF_INET, '127.0.0.1'), (socket.AF_INET6, '::1')):
    one = socket.socket(family); one.bind((host, 9000)); one.listen(9)
    if family == socket.AF_INET: v4 = one
    else: v6 = one
import select
while True:
    for ready in select.select([v4, v6], [], [])[0]: c = ready.accept()[0]; c.sendall(b'near'); c.close()";
    let inside = "import socket, sys
for host in sys.argv[1:]:
    try:
        one = socket.create_connection((host, 9000), 3); one.settimeout(3); print(host, one.recv(9).decode() or 'nothing')
    except OSError: print(host, 'no')";
    let mut cases = vec![
        ("slirp4netns:enable_ipv6=true", "no"),
        ("slirp4netns:allow_host_loopback=true", "near"),
    ];
    if helpers_of_connections().contains(&"pasta") {
        cases.extend([("pasta", "no"), ("pasta:--map-gw", "near")]);
    }
    for (network, expected) in cases {
        let place = Place::new();
        place.write("near.py", near);
        place.write("inside.py", inside);
        // Gateways: of IPv4 with both helpers, of IPv6 with pasta (the host's) and with slirp4netns.
        let script = format!(
            "python3 near.py & near=$!; trap 'kill $client $near' EXIT
             until ss -ltn | grep -q '::1.:9000'; do sleep 0.02; done
             usnea run --rm --network {network} $inside -v \"$PWD/inside.py:/inside.py:ro\" $IMAGE \
                python3 /inside.py 10.0.2.2 fd77::2 fd00::2 ::1 127.0.0.1"
        );
        let ran = on_host(&place, &script);
        let lines: Vec<&str> = ran.works().lines().collect();
        assert_eq!(lines[0], format!("10.0.2.2 {expected}"), "{network}");
        if expected == "no" {
            assert!(!ran.stdout.contains("near"), "{network}: {ran:?}");
        }
        assert_eq!(lines[3..], ["::1 no", "127.0.0.1 no"], "the container's own loopback");
    }
}

#[test]
fn of_two_starts_at_once_with_one_port_exactly_one_wins() {
    if !need("slirp4netns") {
        return;
    }
    let mut networks = vec!["slirp4netns"];
    if std::fs::read_to_string("/proc/net/route")
        .is_ok_and(|routes| routes.contains("\t00000000\t"))
        && on_path("pasta")
    {
        networks.push("pasta");
    }
    for (network, protocol) in networks.into_iter().flat_map(|one| [(one, "tcp"), (one, "udp")]) {
        let place = Place::new();
        let port = match protocol {
            "tcp" => TcpListener::bind("127.0.0.1:0").and_then(|one| one.local_addr()),
            _ => UdpSocket::bind("127.0.0.1:0").and_then(|one| one.local_addr()),
        };
        let publish = format!("127.0.0.1:{}:80/{protocol}", port.expect("a port").port());
        let words = ["run", "-d", "--network", network, "-p", &publish];
        let words = place.kept(&words, "sleep 1000");
        let start = |_| Started::new(&mut place.command(&words), "");
        let started: Vec<Started> = (0..4).map(start).collect();
        let ends: Vec<Ran> = started.into_iter().map(Started::end).collect();
        let losers: Vec<&Ran> = ends.iter().filter(|ran| ran.status != 0).collect();
        assert_eq!(losers.len(), 3, "{network} {protocol}: {ends:?}");
        for loser in losers {
            loser.fails_with(125, &["cannot listen at 127.0.0.1", protocol]);
        }
        place.usnea(&["rm", "--all", "--force", "--time", "0"]).works();
    }
}

#[test]
fn a_port_that_cannot_be_had_is_refused_with_the_reason() {
    let place = Place::new();
    let refused = |publish: &[&str], phrases: &[&str]| {
        let flags: Vec<&str> = publish.iter().flat_map(|one| ["-p", one]).collect();
        place.run(&flags, "echo ran").fails_with(125, phrases);
    };
    refused(
        &["203.0.113.9:8080:80"],
        &["203.0.113.9:8080/tcp", "not an address of the host", "127.0.0.1"],
    );
    refused(&["80/sctp"], &["sctp", "pasta", "slirp4netns"]);
    refused(&["8000-8002:80-81"], &["(3)", "(2)"]);
    refused(&["8080:0"], &["from 1 to 65535"]);
    refused(&["127.0.0.1:8080:80", "8080:81"], &["twice"]);
    refused(&["published=80"], &["target=PORT"]);
    let lowest = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    if lowest.is_ok_and(|lowest| lowest.trim() == "1024") {
        let ran = place.run(&["-p", "127.0.0.1:81:80"], "true");
        ran.fails_with(125, &["127.0.0.1:81/tcp", "net.ipv4.ip_unprivileged_port_start"]);
        assert!(ran.stderr.contains("ip_unprivileged_port_start=81"), "{ran:?}");
    }
    let foreign = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let port = foreign.local_addr().expect("an address").port();
    refused(&[&format!("127.0.0.1:{port}:80")], &["in use"]);
    refused(&[&format!("{port}:80")], &["in use"]);
    drop(foreign);
    if need("slirp4netns") {
        let publish = format!("127.0.0.1:{port}:80");
        let words = ["-d", "--name", "first", "--network", "slirp4netns", "-p", &publish];
        place.run_kept(&words, "sleep 1000").works();
        refused(&[&publish], &["container first listens there"]);
        place.usnea(&["rm", "--all", "--force", "--time", "0"]).works();
    }
}

#[test]
fn hundreds_of_ports_lead_in_whatever_the_soft_limit_of_open_files() {
    if !can_make_hosts() {
        return;
    }
    let place = Place::new();
    // A common hard limit is 1024.
    let script = "ulimit -S -n 256
        web --network slirp4netns -p 127.0.0.1:8080:80 -p 20000-20599:1000-1599 -p 20000-20299:1000-1299/udp
        ask peer 127.0.0.1; ss -ltnH | wc -l; usnea port web | wc -l; usnea ps --format '{{.Ports}}'
        usnea ps --quiet --filter publish=20599 | wc -l; usnea ps --quiet --filter publish=20599/udp | wc -l
        usnea ps --quiet --filter expose=1000-1010/udp | wc -l; usnea port web 1599; usnea port web 1299/udp";
    let ran = on_host(&place, script);
    let lines: Vec<&str> = ran.works().lines().collect();
    assert_eq!(lines[0], "peer 127.0.0.1 10.0.2.2");
    assert_eq!(lines[1..3], ["601", "901"]);
    assert!(lines[3].contains("0.0.0.0:20000-20599->1000-1599/tcp"), "{}", lines[3]);
    assert_eq!(lines[4..], ["1", "0", "1", "0.0.0.0:20599", "0.0.0.0:20299"]);
}

#[test]
fn more_ports_than_the_hard_limit_of_open_files_are_refused_before_the_start() {
    if !need("slirp4netns") {
        return;
    }
    let place = Place::new();
    let words = place.kept(&["run", "-d", "-p", "127.0.0.1:22000-22299:1000-1299"], "sleep 1000");
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 256 && exec \"$@\"", "sh"]).arg(binary());
    place.prepare(command.args(words));
    let ran = finish(&mut command, "");
    ran.fails_with(125, &["300 ports", "open files", "hard limit is 256"]);
    assert!(ran.stderr.contains("ulimit -Hn"), "{ran:?}");
    assert_eq!(place.usnea(&["ps", "--quiet"]).works(), "");
    place.usnea(&["rm", "--all", "--force"]).works();
    place.nothing_is_left();
}

#[test]
fn a_client_before_the_server_listens_is_refused_and_served_later() {
    if !need("slirp4netns") {
        return;
    }
    let place = Place::new();
    let go = place.folder("go");
    let volume = format!("{}:/go", text(&go));
    let words =
        ["-d", "--name", "late", "--network", "slirp4netns", "-p", "127.0.0.1::80", "-v", &volume];
    let server = "until [ -e /go/on ]; do sleep 0.02; done; exec busybox nc -ll -p 80 -e echo here";
    place.run_kept(&words, server).works();
    let end = place.usnea(&["port", "late", "80"]).works().to_owned();
    let said = || {
        use std::io::Read;
        let mut stream = TcpStream::connect(&end).ok()?;
        stream.set_read_timeout(Some(std::time::Duration::from_secs(5))).ok()?;
        let mut said = String::new();
        stream.read_to_string(&mut said).ok()?;
        Some(said)
    };
    assert!(said().unwrap_or_default().is_empty(), "nobody answers yet");
    place.write("go/on", "");
    let limit = std::time::Duration::from_secs(30);
    assert!(crate::support::within(limit, || said().as_deref() == Some("here\n")));
    place.usnea(&["rm", "--all", "--force", "--time", "0"]).works();
}
