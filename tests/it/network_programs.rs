//! Everyday programs on named networks: curl, wget, iperf3, nslookup, `python3 -m http.server`, and sets of services as
//! docker-compose makes them.

use std::process::Command;

use crate::guides;
use crate::networked::{LIMIT, Networked};
use crate::support::{Place, binary, finish, need, within};

/// Store of values, and its client: the part of redis's protocol that a page counter needs.
const STORE: &str = r#"
import socketserver
values = {}
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        while words := self.rfile.readline().split():
            values[words[1]] = values.get(words[1], 0) + (words[0] == b"INCR")
            self.wfile.write(b":%d\r\n" % values[words[1]])
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
Server(("", 6379), Handler).serve_forever()
"#;

/// Web server that counts its pages in the store, which it looks up for each page.
const WEB: &str = r#"
import http.server, socket
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with socket.create_connection(("redis", 6379), 5) as store:
            store.sendall(b"INCR pages\r\n")
            count = store.makefile().readline().strip(":\r\n")
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"page %s for %s\n" % (count.encode(), self.client_address[0].encode()))
http.server.ThreadingHTTPServer(("", 8000), Handler).serve_forever()
"#;

#[test]
fn everyday_programs_find_a_server_by_its_name() {
    let Some(set) = Networked::new() else { return };
    if !["curl", "wget", "iperf3", "nslookup"].into_iter().all(need) {
        return;
    }
    set.place.write("full/srv/page", "a page\n");
    set.network("net", &["--internal"]);
    let net = ["--network", "net"];
    set.start("web", &net, "cd /srv && exec python3 -m http.server 8000");
    set.start("meter", &net, "exec iperf3 --server");
    set.idle("user", &net);
    let web = set.address("web", "net");
    for (program, expected) in [
        ("curl -sS --max-time 10 http://web:8000/page", "a page"),
        ("wget -q -T 10 -t 1 -O - http://web.net:8000/page", "a page"),
        ("getent ahostsv4 web", web.as_str()),
        ("nslookup web", web.as_str()),
        ("busybox nslookup web", web.as_str()),
        ("iperf3 --client meter --time 1 --json", "sum_received"),
        ("iperf3 --client meter --time 1 --json --udp --bitrate 10M", "\"lost_packets\""),
    ] {
        // The server may have just begun.
        let mut ran = set.inside("user", program);
        within(LIMIT, || {
            if ran.status != 0 {
                ran = set.inside("user", program);
            }
            ran.status == 0
        });
        assert!(ran.works().contains(expected), "{program}: {ran:?}");
    }
    let ran = set.inside("user", "curl -sS --max-time 10 http://nobody:8000/");
    assert_eq!((ran.status, ran.stderr.trim()), (6, "curl: (6) Could not resolve host: nobody"));
    set.clean();
}

#[test]
fn a_page_is_counted_by_a_service_behind_the_web_server() {
    let Some(set) = Networked::new() else { return };
    if !need("curl") {
        return;
    }
    set.place.write("full/srv/store.py", STORE);
    set.place.write("full/srv/web.py", WEB);
    set.network("shop_default", &[]);
    // As docker-compose does: names of containers with the project's and a number, the service's as an alias.
    let web = ["--network", "shop_default:alias=web", "-p", "127.0.0.1::8000"];
    set.start("shop-web-1", &web, "exec python3 /srv/web.py");
    let redis = ["--network", "shop_default:alias=redis"];
    set.start("shop-redis-1", &redis, "exec python3 /srv/store.py");
    let port = set.place.usnea(&["port", "shop-web-1", "8000"]).works().to_owned();
    let page = || {
        let url = format!("http://{port}/");
        finish(Command::new("curl").args(["-sS", "--max-time", "10", &url]), "")
    };
    assert!(within(LIMIT, || page().stdout.starts_with("page ")), "{:?}", page());
    let number = |text: &str| text.split(' ').nth(1).and_then(|word| word.parse::<u32>().ok());
    let before = number(&page().stdout).expect("a number");
    assert_eq!(number(page().works()), Some(before + 1));
    // A service that comes back with another address is found by the same name.
    set.place.usnea(&["rm", "-f", "-t", "0", "shop-redis-1"]).works();
    assert!(!page().stdout.starts_with("page "), "the store is gone");
    set.idle("other", &["--network", "shop_default"]);
    set.start("shop-redis-2", &redis, "exec python3 /srv/store.py");
    assert!(within(LIMIT, || page().stdout.starts_with("page 1 ")), "{:?}", page());
    let inside = set.inside("other", "curl -sS --max-time 10 http://web:8000/");
    let expected = format!("page 2 for {}", set.address("other", "shop_default"));
    assert_eq!(inside.works(), expected);
    set.clean();
}

/// Commands of a transcript, after this prompt.
fn typed<'a>(transcript: &'a str, prompt: &str) -> Vec<&'a str> {
    transcript.lines().filter_map(|line| line.strip_prefix(prompt)).collect()
}

/// Lines of a transcript about packets that arrived, without their times.
fn arrived(transcript: &str) -> Vec<&str> {
    let is_answer = |line: &&str| line.contains("bytes from") || line.contains("lladdr");
    let lines = transcript.lines().filter(is_answer);
    lines.map(|line| line.split(" time=").next().unwrap_or(line).trim_end()).collect()
}

#[test]
fn two_guests_ping_each_other_as_the_guide_shows_it() {
    if !["ip", "ping", "unshare", "nsenter"].into_iter().all(need) {
        return;
    }
    let place = Place::new();
    let folder = binary().parent().expect("a folder").display().to_string();
    let path = format!("{folder}:{}", std::env::var("PATH").expect("PATH"));
    let run = |words: &[&str]| {
        let mut command = Command::new(words[0]);
        place.prepare(command.args(&words[1..]).env("PATH", &path));
        finish(&mut command, "").works().to_owned()
    };
    let all = guides::examples("usnea-network");
    let [with_bridge, by_hand] =
        all.iter().filter(|one| one.contains("2.2.2.2")).collect::<Vec<_>>()[..]
    else {
        panic!("not two experiments: {all:?}");
    };
    let answer = run(&["sh", "-ec", &typed(with_bridge, "$ ").join("\n")]);
    assert_eq!(arrived(&answer), arrived(with_bridge), "{answer}");
    place.nothing_is_left();
    // A script goes on sooner than a user: each guest needs its namespace first.
    let new = "until [ $(readlink /proc/$!/ns/net) != $(readlink /proc/self/ns/net) ]; do :; done";
    let lines = typed(by_hand, "# ").into_iter().map(|line| match line.contains("& guest") {
        true => format!("{line}\n{new}\n"),
        false => format!("{line}\n"),
    });
    let script = lines.collect::<String>() + "kill $guest1 $guest2";
    let answer = run(&["usnea", "unshare", "sh", "-ec", &script]);
    assert_eq!(arrived(&answer), arrived(by_hand), "{answer}");
    place.nothing_is_left();
}
