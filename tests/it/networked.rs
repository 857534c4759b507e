//! Containers on named networks for tests, with the host's programs inside: dig, ping, python3.

use std::time::Duration;

use serde_json::Value;

use crate::support::{Place, Ran, need, within};

pub const LIMIT: Duration = Duration::from_secs(30);

/// Programs that the containers run.
const PROGRAMS: [&str; 5] = ["python3", "dig", "getent", "ping", "busybox"];

/// Answers at a port of TCP and UDP, both families, with the caller's address.
const SERVER: &str = r#"
import socket, sys, threading
port = int(sys.argv[1])
def of(peer): return peer[0].removeprefix("::ffff:").encode() + b"\n"
def make(kind):
    one = socket.socket(socket.AF_INET6, kind)
    one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.bind(("::", port))
    return one
tcp, udp = make(socket.SOCK_STREAM), make(socket.SOCK_DGRAM)
tcp.listen(64)
def datagrams():
    while True:
        _, peer = udp.recvfrom(99)
        print("from", of(peer).decode().strip(), flush=True)
        udp.sendto(of(peer), peer)
threading.Thread(target=datagrams, daemon=True).start()
while True:
    one, peer = tcp.accept()
    print("from", of(peer).decode().strip(), flush=True)
    try: one.sendall(of(peer))
    except OSError: pass
    one.close()
"#;

/// Asks a server: `ask.py tcp|udp HOST PORT [SECONDS]`. Prints the answer.
const CLIENT: &str = r#"
import socket, sys
kind, host, port = sys.argv[1:4]
kind = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}[kind]
family, kind, protocol, _, address = socket.getaddrinfo(host, int(port), type=kind)[0]
one = socket.socket(family, kind, protocol)
one.settimeout(float((sys.argv[4:] or ["10"])[0]))
one.connect(address)
one.send(b"?")
print(one.recv(99).decode().strip())
"#;

/// Store with containers on networks.
pub struct Networked {
    pub place: Place,
}

impl Networked {
    /// `None`: a program is missing.
    pub fn new() -> Option<Self> {
        if !PROGRAMS.into_iter().all(need) {
            return None;
        }
        let place = Place::new();
        let root = place.folder("full");
        for folder in ["usr", "etc/alternatives", "proc", "sys", "dev", "tmp", "srv"] {
            place.folder(&format!("full/{folder}"));
        }
        for name in ["bin", "sbin", "lib", "lib64"] {
            std::os::unix::fs::symlink(format!("usr/{name}"), root.join(name)).expect(name);
        }
        place.write("full/etc/nsswitch.conf", "passwd: files\nhosts: files dns\n");
        place.write("full/etc/passwd", "root:x:0:0:root:/:/bin/sh\n");
        place.write("full/srv/serve.py", SERVER);
        place.write("full/srv/ask.py", CLIENT);
        Some(Self { place })
    }

    /// Makes a network; returns its ID.
    #[track_caller]
    pub fn network(&self, name: &str, options: &[&str]) -> String {
        let words = [&["network", "create"], options, &[name]].concat();
        self.place.usnea(&words).works().to_owned()
    }

    /// The arguments of `usnea WORDS dir:ROOT sh -c SCRIPT`.
    pub fn words(&self, words: &[&str], script: &str) -> Vec<String> {
        let image = format!("dir:{}", self.place.path("full").display());
        let alternatives = "/etc/alternatives:/etc/alternatives:ro";
        let mounts = ["-v", "/usr:/usr:ro", "-v", alternatives, &image, "sh", "-c", script];
        words.iter().chain(&mounts).map(|word| (*word).to_owned()).collect()
    }

    /// Starts a container with a script; returns its ID.
    #[track_caller]
    pub fn start(&self, name: &str, options: &[&str], script: &str) -> String {
        let words = [&["run", "-d", "--name", name], options].concat();
        self.place.usnea(&self.words(&words, script)).works().to_owned()
    }

    /// Starts a container that answers at port 7000; returns its ID.
    #[track_caller]
    pub fn server(&self, name: &str, options: &[&str]) -> String {
        self.start(name, options, "exec python3 /srv/serve.py 7000")
    }

    /// Starts a container that waits; returns its ID.
    #[track_caller]
    pub fn idle(&self, name: &str, options: &[&str]) -> String {
        self.start(name, options, "exec sleep 1000")
    }

    /// Runs a script in a running container.
    pub fn inside(&self, name: &str, script: &str) -> Ran {
        self.place.usnea(&["exec", name, "sh", "-c", script])
    }

    /// Asks the server `to` from a container, until it answers: its command may have just begun.
    #[track_caller]
    pub fn asks(&self, from: &str, kind: &str, to: &str) -> String {
        let script = format!("python3 /srv/ask.py {kind} {to} 7000");
        let mut ran = self.inside(from, &script);
        within(LIMIT, || {
            if ran.status != 0 {
                ran = self.inside(from, &script);
            }
            ran.status == 0
        });
        ran.works().to_owned()
    }

    /// Asserts that a container does not reach the server `to` at an address, by any protocol. The host's network may
    /// have someone who answers for the address.
    #[track_caller]
    pub fn reaches_not(&self, from: &str, to: &str, address: &str) {
        let heard = self.place.usnea(&["logs", to]).works().to_owned();
        let ping = self.inside(from, &format!("ping -c 1 -W 1 {address}"));
        assert_ne!(ping.status, 0, "{ping:?}");
        assert!(!ping.stdout.contains("bytes from"), "{ping:?}");
        for kind in ["tcp", "udp"] {
            let ran = self.inside(from, &format!("python3 /srv/ask.py {kind} {address} 7000 2"));
            let is_of_server = ran.stdout.trim().parse::<std::net::IpAddr>().is_ok();
            assert!(!is_of_server, "{ran:?}");
        }
        assert_eq!(self.place.usnea(&["logs", to]).works(), heard);
    }

    /// Addresses of a name by DNS, sorted.
    #[track_caller]
    pub fn addresses(&self, from: &str, name: &str, options: &str) -> Vec<String> {
        let ran = self.inside(from, &format!("dig +short +timeout=5 {options} {name}"));
        let mut all: Vec<String> = ran.works().lines().map(str::to_owned).collect();
        all.sort();
        all
    }

    /// Status of an answer: `NOERROR`, `NXDOMAIN`.
    #[track_caller]
    pub fn dns_status(&self, from: &str, name: &str) -> String {
        let ran = self.inside(from, &format!("dig +timeout=5 {name}"));
        let text = ran.works();
        let status = text.split("status: ").nth(1).and_then(|rest| rest.split(',').next());
        status.unwrap_or_else(|| panic!("no status: {ran:?}")).to_owned()
    }

    /// Field of a container's document.
    #[track_caller]
    pub fn field(&self, name: &str, pointer: &str) -> Value {
        let text = self.place.usnea(&["inspect", name]).works().to_owned();
        let document: Value = serde_json::from_str(&text).expect("JSON");
        document[0].pointer(pointer).unwrap_or_else(|| panic!("{pointer}: {text}")).clone()
    }

    /// Text of a container's document for one of its networks.
    #[track_caller]
    pub fn of_network(&self, name: &str, network: &str, field: &str) -> String {
        let pointer = format!("/NetworkSettings/Networks/{network}/{field}");
        self.field(name, &pointer).as_str().expect("text").to_owned()
    }

    #[track_caller]
    pub fn address(&self, name: &str, network: &str) -> String {
        self.of_network(name, network, "IPAddress")
    }

    /// Removes all containers; nothing of them is left.
    #[track_caller]
    pub fn clean(&self) {
        self.place.usnea(&["rm", "--all", "--force", "--time", "0"]).works();
        self.place.nothing_is_left();
    }
}
