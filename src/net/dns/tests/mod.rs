//! Responder over loopback sockets, with clients and servers of the tests' own.

mod bounds;
mod local;
mod packets;
mod relaying;
mod streams;

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::host_servers::HostServers;
use super::{Asker, Directory, DnsSockets, NameTable, Responder, ReverseName, Upstream};

/// Longest time that a test waits for a packet.
const PATIENCE: Duration = Duration::from_secs(20);

/// Directory of the tests: one table for the network "net", servers by choice.
#[derive(Clone)]
pub(super) struct Names {
    table: NameTable,
    upstream: Upstream,
}

impl Names {
    pub(super) fn new(upstream: Upstream) -> Self {
        let mut table = NameTable::default();
        table.add_subnet(ip("10.89.0.0"), 24);
        table.add_subnet(ip("fd00:89::"), 64);
        table.add_member(["web_1", "web"], &[ip("10.89.0.2"), ip("fd00:89::2")]);
        table.add_member(["web_2", "web"], &[ip("10.89.0.3")]);
        table.add_member(["a.dotted.name"], &[ip("10.89.0.4")]);
        let many: Vec<_> =
            (0..200).map(|n| ip(&format!("10.90.{}.{}", n / 100, n % 100))).collect();
        table.add("many", &many);
        Self { table, upstream }
    }
}

impl Directory for Names {
    fn addresses(&mut self, asker: Asker<'_>, name: &str) -> Option<Vec<IpAddr>> {
        assert_eq!(asker.network, "net");
        assert!(!name.ends_with('.') && !name.bytes().any(|byte| byte.is_ascii_uppercase()));
        if name == "me" {
            return Some(vec![asker.client]);
        }
        self.table.addresses(name).map(<[IpAddr]>::to_vec)
    }

    fn name_of(&mut self, _: Asker<'_>, address: IpAddr) -> ReverseName {
        self.table.name_of(address)
    }

    fn upstream(&mut self, _: Asker<'_>) -> Upstream {
        self.upstream.clone()
    }
}

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Responder in a thread, with the poll loop of an owner.
struct Served {
    udp: SocketAddr,
    tcp: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Responder>>,
}

/// Sockets on free ports, and their addresses.
fn sockets(address: &str) -> (DnsSockets, SocketAddr, SocketAddr) {
    let sockets = DnsSockets::bind(&[SocketAddr::new(ip(address), 0)]).unwrap();
    let local = |fd| SocketAddr::try_from(rustix::net::getsockname(fd).unwrap()).unwrap();
    let (udp, tcp) = (local(&sockets.udp[0]), local(&sockets.tcp[0]));
    (sockets, udp, tcp)
}

impl Served {
    fn start(upstream: Upstream) -> Self {
        Self::over(HostServers::new("/nonexistent".into(), 1), "127.0.0.1", upstream)
    }

    fn over(host: HostServers, address: &str, upstream: Upstream) -> Self {
        let (sockets, udp, tcp) = sockets(address);
        let stop = Arc::new(AtomicBool::new(false));
        let mut responder = Responder::over(host).unwrap();
        responder.attach("net", sockets).unwrap();
        let stopped = Arc::clone(&stop);
        let mut names = Names::new(upstream);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                drive(&mut responder, &mut names);
            }
            responder
        });
        Self { udp, tcp, stop, thread: Some(thread) }
    }

    fn client(&self) -> UdpSocket {
        let address: IpAddr = if self.udp.is_ipv4() { ip("127.0.0.1") } else { ip("::1") };
        client_of(address, self.udp)
    }

    fn ask(&self, name: &str, kind: RecordType) -> Message {
        exchange(&self.client(), &question(name, kind))
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.tcp).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn stop(mut self) -> Responder {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking());
        }
    }
}

/// A round of an owner's loop, which looks after other things too.
fn drive(responder: &mut Responder, names: &mut Names) {
    let left = responder.deadline().map(|end| end.saturating_duration_since(Instant::now()));
    let left = left.unwrap_or(PATIENCE).min(Duration::from_millis(20));
    let left = Timespec { tv_sec: 0, tv_nsec: left.subsec_nanos().into() };
    let mut fds = [PollFd::from_borrowed_fd(responder.as_fd(), PollFlags::IN)];
    poll(&mut fds, Some(&left)).unwrap();
    responder.turn(names);
}

fn client_of(address: IpAddr, server: SocketAddr) -> UdpSocket {
    let client = UdpSocket::bind((address, 0)).unwrap();
    client.connect(server).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
}

fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

fn with_edns(mut message: Message, payload: u16) -> Message {
    let mut edns = Edns::new();
    edns.set_max_payload(payload);
    message.set_edns(edns);
    message
}

fn exchange(client: &UdpSocket, message: &Message) -> Message {
    client.send(&message.to_vec().unwrap()).unwrap();
    let answer = receive(client);
    assert_eq!(answer.metadata.id, message.metadata.id);
    assert_eq!(answer.metadata.message_type, MessageType::Response);
    answer
}

fn receive(client: &UdpSocket) -> Message {
    let mut room = [0; 65535];
    let length = client.recv(&mut room).expect("an answer");
    Message::from_vec(&room[..length]).expect("a message")
}

fn send_frame(stream: &mut TcpStream, message: &[u8]) {
    let length = (message.len() as u16).to_be_bytes();
    stream.write_all(&[&length, message].concat()).unwrap();
}

fn receive_frame(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).expect("a frame");
    let mut frame = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut frame).expect("a whole frame");
    frame
}

/// Addresses in an answer, in its order.
fn addresses(answer: &Message) -> Vec<String> {
    let data = answer.answers.iter().map(|record| match &record.data {
        RData::A(address) => address.to_string(),
        RData::AAAA(address) => address.to_string(),
        other => panic!("no address: {other}"),
    });
    data.collect()
}

fn code(answer: &Message) -> ResponseCode {
    answer.metadata.response_code
}

/// Answer of a server with this address.
fn answer_to(packet: &[u8], address: &str) -> Message {
    let mut answer = Message::from_vec(packet).unwrap();
    answer.metadata.message_type = MessageType::Response;
    answer.metadata.recursion_available = true;
    let IpAddr::V4(address) = ip(address) else { panic!("no IPv4 address") };
    let name = answer.queries[0].name().clone();
    answer.add_answer(Record::from_rdata(name, 300, RData::A(A(address))));
    answer
}

/// Answer of a server with this code and no records.
fn code_to(packet: &[u8], code: ResponseCode) -> Message {
    let mut answer = Message::from_vec(packet).unwrap();
    answer.metadata.message_type = MessageType::Response;
    answer.metadata.response_code = code;
    answer
}

/// Question that a server has seen, and its source port.
type SeenQuestion = (Vec<u8>, u16);

type Reaction = dyn Fn(&[u8]) -> Vec<Vec<u8>> + Send + Sync;

/// Server of the host's side: UDP and TCP on one port.
struct Upstreams {
    address: SocketAddr,
    /// Questions, with their source ports.
    seen: Arc<Mutex<Vec<SeenQuestion>>>,
}

impl Upstreams {
    /// Starts a server that sends all packets that `react` makes of a question.
    fn start(react: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + Sync + 'static) -> Self {
        let react: Arc<Reaction> = Arc::new(react);
        let (listener, socket) = Self::sockets();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (of_udp, of_tcp) = (Arc::clone(&seen), Arc::clone(&seen));
        let by_tcp = Arc::clone(&react);
        // The threads end with the test's process: a server that is gone is a port that is refused.
        std::thread::spawn(move || {
            let mut room = [0; 65535];
            while let Ok((length, from)) = socket.recv_from(&mut room) {
                of_udp.lock().unwrap().push((room[..length].to_vec(), from.port()));
                for answer in react(&room[..length]) {
                    socket.send_to(&answer, from).unwrap();
                }
            }
        });
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (mut stream, react, seen) = (stream, Arc::clone(&by_tcp), Arc::clone(&of_tcp));
                std::thread::spawn(move || {
                    let port = stream.peer_addr().unwrap().port();
                    let packet = receive_frame(&mut stream);
                    seen.lock().unwrap().push((packet.clone(), port));
                    for answer in react(&packet) {
                        send_frame(&mut stream, &answer);
                    }
                });
            }
        });
        Self { address, seen }
    }

    /// Sockets of both protocols on a port that is free for both.
    fn sockets() -> (TcpListener, UdpSocket) {
        loop {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            if let Ok(socket) = UdpSocket::bind(listener.local_addr().unwrap()) {
                return (listener, socket);
            }
        }
    }

    /// Starts a server that knows every name, by this address.
    fn answering(address: &'static str) -> Self {
        Self::start(move |packet| vec![answer_to(packet, address).to_vec().unwrap()])
    }

    /// Starts a server that answers nothing.
    fn silent() -> Self {
        Self::start(|_| Vec::new())
    }

    fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    fn upstream(servers: &[&Self]) -> Upstream {
        Upstream::Servers(servers.iter().map(|server| server.address).collect())
    }
}
