//! Socket activation: a manager binds sockets, and starts usnea with them (sd_listen_fds(3)).

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

use crate::support::{Place, Ran, Started, finish, need, need_subids, text, within};

const LIMIT: Duration = Duration::from_secs(30);

/// Manager: binds a TCP, a UDP and a UNIX socket, writes their addresses to `addresses`, and becomes the program of its
/// arguments.
const MANAGER: &str = r#"
import fcntl, os, socket, sys
tcp = socket.create_server(("127.0.0.1", 0))
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("127.0.0.1", 0))
if os.path.exists("unix"):
    os.unlink("unix")
unix = socket.socket(socket.AF_UNIX)
unix.bind("unix")
unix.listen()
with open("addresses.new", "w") as file:
    print(tcp.getsockname()[1], udp.getsockname()[1], file=file)
os.rename("addresses.new", "addresses")
high = [fcntl.fcntl(one.fileno(), fcntl.F_DUPFD, 10) for one in (tcp, udp, unix)]
for number, one in enumerate(high, 3):
    os.dup2(one, number)
for one in high:
    os.close(one)
variables = dict(LISTEN_FDS="3", LISTEN_FDNAMES="web:names:local", LISTEN_PID=str(os.getpid()))
variables.update(os.environ)
os.execve(sys.argv[1], sys.argv[1:], variables)
"#;

/// Server on the sockets that it was started with: answers one message on each, closes the TCP socket, and ends with the
/// status that it hears on the UNIX socket.
const SERVER: &str = r#"
import os, socket, sys
assert os.environ["LISTEN_FDS"] == "3", os.environ
assert os.environ["LISTEN_PID"] == str(os.getpid()), os.environ
assert sorted(map(int, os.listdir("/proc/self/fd")))[:6] == [0, 1, 2, 3, 4, 5]
assert not os.path.exists("/proc/self/fd/7")
tcp, udp, unix = (socket.socket(fileno=number) for number in (3, 4, 5))
names = os.environ["LISTEN_FDNAMES"].split(":")
said, sender = udp.recvfrom(100)
udp.sendto(names[1].encode() + b" " + said, sender)
for listener, name in (tcp, names[0]), (unix, names[2]):
    with listener.accept()[0] as end:
        end.sendall(name.encode() + b" " + end.recv(100))
tcp.close()
with unix.accept()[0] as end:
    end.sendall(b"closed")
    sys.exit(int(end.recv(100)))
"#;

/// Image with the server's interpreter.
const IMAGE: &str = "host:python3,sh,sleep";

struct Manager {
    place: Place,
}

impl Manager {
    /// `None`: no python3 is here.
    fn new() -> Option<Self> {
        need("python3").then(|| Self { place: Place::new() })
    }

    /// usnea with these arguments and new sockets.
    fn command(&self, words: &[&str]) -> Command {
        let _ = std::fs::remove_file(self.place.path("addresses"));
        let mut command = Command::new("python3");
        command.args(["-c", MANAGER, text(&crate::support::binary())]).args(words);
        self.place.prepare(&mut command);
        command
    }

    fn start(&self, words: &[&str]) -> Started {
        Started::new(&mut self.command(words), "")
    }

    fn run(&self, words: &[&str]) -> Ran {
        finish(&mut self.command(words), "")
    }

    /// Numbers of the TCP and of the UDP port.
    fn ports(&self) -> (u16, u16) {
        assert!(within(LIMIT, || self.place.path("addresses").exists()), "no manager");
        let text = self.place.read("addresses");
        let mut numbers = text.split_whitespace().map(|number| number.parse().unwrap());
        (numbers.next().unwrap(), numbers.next().unwrap())
    }

    fn unix(&self) -> UnixStream {
        let stream = UnixStream::connect(self.place.path("unix")).expect("a server");
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream
    }

    /// Asks the server on each socket.
    #[track_caller]
    fn asks(&self) {
        let (tcp, udp) = self.ports();
        let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
        datagrams.set_read_timeout(Some(LIMIT)).unwrap();
        datagrams.send_to(b"one", ("127.0.0.1", udp)).unwrap();
        let mut room = [0; 100];
        let length = datagrams.recv(&mut room).expect("an answer to a datagram");
        assert_eq!(&room[..length], b"names one");
        let mut stream = TcpStream::connect(("127.0.0.1", tcp)).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        assert_eq!(talk(&mut stream, "two"), "web two");
        assert_eq!(talk(&mut self.unix(), "three"), "local three");
    }

    /// Ends a server that has been asked. By then it has closed its TCP socket: nobody else may have it.
    #[track_caller]
    fn ends(&self, status: &str, holder: Holder) {
        let mut stream = self.unix();
        let mut room = [0; 6];
        stream.read_exact(&mut room).expect("a server");
        // A connection would wait for the next server where the monitor has the socket.
        if holder == Holder::Nobody {
            let connected = TcpStream::connect(("127.0.0.1", self.ports().0)).is_ok();
            assert!(!connected, "a socket that the server has closed");
        }
        stream.write_all(status.as_bytes()).unwrap();
    }

    fn clean(&self) {
        self.place.usnea(&["rm", "--all", "--force", "-t", "0"]).works();
        self.place.nothing_is_left();
    }
}

/// Process that keeps the sockets beside the server.
#[derive(PartialEq, Eq)]
enum Holder {
    Nobody,
    Monitor,
}

fn talk(stream: &mut (impl Read + Write), words: &str) -> String {
    stream.write_all(words.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn a_server_in_the_foreground_serves_on_the_sockets_that_usnea_was_started_with() {
    let Some(manager) = Manager::new() else { return };
    let namings: [&[&str]; 4] = [
        &["--network", "none"],
        &["--init"],
        &["--user", "0:0", "--name", "box"],
        &["--pid", "host"],
    ];
    for options in namings {
        let words = [&["run", "--rm"], options, &[IMAGE, "python3", "-c", SERVER]].concat();
        let server = manager.start(&words);
        manager.asks();
        manager.ends("7", Holder::Nobody);
        let ran = server.end();
        assert_eq!(ran.status, 7, "{options:?} {ran:?}");
        manager.place.nothing_is_left();
    }
}

#[test]
fn a_container_in_another_range_of_ids_serves_on_the_sockets() {
    let Some(manager) = Manager::new() else { return };
    if !need_subids() {
        return;
    }
    let words = ["run", "--rm", "--userns", "auto", IMAGE, "python3", "-c", SERVER];
    let server = manager.start(&words);
    manager.asks();
    manager.ends("0", Holder::Nobody);
    server.end().works();
}

#[test]
fn a_detached_container_has_the_sockets_alone() {
    let Some(manager) = Manager::new() else { return };
    let words = ["run", "-d", "--name", "box", IMAGE, "python3", "-c", SERVER];
    manager.run(&words).works();
    manager.asks();
    manager.ends("3", Holder::Nobody);
    assert_eq!(manager.place.usnea(&["wait", "box"]).works(), "3");
    // Started again without a manager, it has none.
    manager.place.usnea(&["start", "--attach", "box"]).exits(1);
    let ran = manager.place.usnea(&["logs", "box"]);
    assert!(ran.stderr.contains("KeyError: 'LISTEN_FDS'"), "{ran:?}");
    manager.clean();
}

#[test]
fn a_start_gives_the_sockets_to_the_containers_that_it_names() {
    let Some(manager) = Manager::new() else { return };
    let place = &manager.place;
    let beside =
        "import os; print(os.environ.get('LISTEN_FDS'), os.path.exists('/proc/self/fd/3'))";
    place.usnea(&["create", "--name", "beside", IMAGE, "python3", "-c", beside]).works();
    let words = ["create", "--name", "box", "--requires", "beside"];
    place.usnea(&[&words[..], &[IMAGE, "python3", "-c", SERVER]].concat()).works();
    manager.run(&["start", "box"]).works();
    manager.asks();
    manager.ends("4", Holder::Nobody);
    assert_eq!(place.usnea(&["wait", "box"]).works(), "4");
    place.usnea(&["wait", "beside"]).works();
    // Number 3 is the folder that is being listed, or nothing.
    assert!(place.usnea(&["logs", "beside"]).works().starts_with("None"));
    let attached = manager.start(&["start", "--attach", "box"]);
    manager.asks();
    manager.ends("5", Holder::Nobody);
    attached.end().exits(5);
    manager.clean();
}

#[test]
fn a_container_that_is_restarted_gets_its_sockets_again() {
    let Some(manager) = Manager::new() else { return };
    let words = ["run", "-d", "--name", "box", "--restart", "on-failure", IMAGE];
    manager.run(&[&words[..], &["python3", "-c", SERVER]].concat()).works();
    for status in ["1", "2", "0"] {
        manager.asks();
        manager.ends(status, Holder::Monitor);
    }
    assert!(within(LIMIT, || manager.place.usnea(&["wait", "box"]).stdout == "0\n"));
    let is_left = || TcpStream::connect(("127.0.0.1", manager.ports().0)).is_ok();
    assert!(within(LIMIT, || !is_left()), "a monitor is left");
    manager.clean();
}

#[test]
fn a_command_of_exec_has_the_sockets_and_its_own_pid() {
    let Some(manager) = Manager::new() else { return };
    manager.place.usnea(&["run", "-d", "--name", "box", IMAGE, "sleep", "1000"]).works();
    let server = manager.start(&["exec", "box", "python3", "-c", SERVER]);
    manager.asks();
    manager.ends("6", Holder::Nobody);
    server.end().exits(6);
    manager.clean();
}

#[test]
fn descriptors_that_were_chosen_go_before_the_sockets() {
    let Some(manager) = Manager::new() else { return };
    let show = "echo \"$LISTEN_FDS.$LISTEN_PID\"; for n in 3 4 5; do [ -e /proc/self/fd/$n ] && echo $n; done; :";
    let image = manager.place.image();
    let run = |options: &[&str]| {
        manager.run(&[&["run", "--rm"], options, &[&image, "sh", "-c", show]].concat())
    };
    assert_eq!(run(&[]).works(), "3.1\n3\n4\n5");
    let ran = run(&["--preserve-fd", "4"]);
    assert_eq!(ran.works(), ".\n4");
    assert!(ran.stderr.contains("warning: the sockets of LISTEN_FDS are ignored"), "{ran:?}");
}

#[test]
fn sockets_of_another_process_are_not_the_containers() {
    let Some(manager) = Manager::new() else { return };
    let show = "echo \"$LISTEN_FDS.$LISTEN_PID\"; [ -e /proc/self/fd/3 ] || echo none";
    let image = manager.place.image();
    let words = ["run", "--rm", &image, "sh", "-c", show];
    let with = |name: &str, value: &str| finish(manager.command(&words).env(name, value), "");
    assert_eq!(with("LISTEN_PID", "1").works(), ".\nnone");
    with("LISTEN_FDS", "many").fails_with(125, &["LISTEN_FDS: 'many'"]);
    with("LISTEN_FDS", "40").fails_with(125, &["LISTEN_FDS: descriptor"]);
}
