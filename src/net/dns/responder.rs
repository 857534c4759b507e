//! Responder: sockets, clients and pending questions, driven by the poll loop of its owner.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use super::bounds::{CLIENTS, PENDING, PENDING_STREAMS};
use super::client::DnsClient;
use super::decide::{Verdict, decide};
use super::directory::{Asker, Directory, Upstream};
use super::event_set::{DnsEndpoint, EventSet};
use super::exchange::{ExchangeTurn, PendingQuestion, ReturnPath, UpstreamServer};
use super::host_servers::{HostServers, MOST_SERVERS};
use super::message::{DnsTransport, code_of};
use super::sockets::{DNS_PORT, DnsSockets, FLAGS};

/// Packets read from a socket in one turn: the owner has other work too.
const MOST_PACKETS: usize = 64;
/// Connections accepted from a socket in one turn.
const MOST_ACCEPTED: usize = 16;
/// Time without new connections after one could not be accepted, for lack of descriptors or memory.
const REST: Duration = Duration::from_secs(1);
/// Bytes of answers that clients have not fetched over TCP, in total.
const MOST_UNSENT: usize = 4 << 20;
/// Network with its sockets, each with its number.
#[derive(Debug)]
struct ServedNetwork {
    key: Arc<str>,
    udp: Vec<(u64, OwnedFd)>,
    tcp: Vec<(u64, OwnedFd)>,
}

/// DNS responder of any number of networks: answers local names, and asks servers for all others. Has no thread and
/// never waits: the owner polls [`Responder::as_fd`] for input, until [`Responder::deadline`], and then calls
/// [`Responder::turn`]. Servers are asked over the network namespace of the caller, or over the directory's sockets.
#[derive(Debug)]
pub struct Responder {
    events: EventSet,
    networks: Vec<ServedNetwork>,
    clients: BTreeMap<u64, DnsClient>,
    pending: BTreeMap<u64, PendingQuestion>,
    host: HostServers,
    /// Number of the next socket.
    next: u64,
    /// Source of the order of several addresses. Not a counter: two names asked for in turns would never change.
    order: RandomState,
    answers: u64,
    /// Connections to look at before the turn ends.
    stirred: Vec<u64>,
    /// End of the time without new connections.
    resting: Option<Instant>,
    room: Vec<u8>,
}

impl Responder {
    /// Creates a responder without networks. `resolv_conf` names the host's servers: /etc/resolv.conf. Errors: EMFILE.
    pub fn new(resolv_conf: impl Into<PathBuf>) -> io::Result<Self> {
        Self::over(HostServers::new(resolv_conf.into(), DNS_PORT))
    }

    /// Creates a responder that asks these servers of the host.
    pub(super) fn over(host: HostServers) -> io::Result<Self> {
        Ok(Self {
            events: EventSet::new()?,
            networks: Vec::new(),
            clients: BTreeMap::new(),
            pending: BTreeMap::new(),
            host,
            next: 0,
            order: RandomState::new(),
            answers: 0,
            stirred: Vec::new(),
            resting: None,
            room: vec![0; u16::MAX.into()],
        })
    }

    /// Serves a network from these sockets, instead of earlier ones. Errors: ENOSPC (epoll_ctl(2)).
    pub fn attach(&mut self, network: &str, sockets: DnsSockets) -> io::Result<()> {
        self.detach(network);
        let mut served = ServedNetwork { key: network.into(), udp: Vec::new(), tcp: Vec::new() };
        for socket in sockets.udp {
            let number = self.number();
            self.events.add(&socket, DnsEndpoint::Socket(number), EventFlags::IN)?;
            served.udp.push((number, socket));
        }
        for socket in sockets.tcp {
            let number = self.number();
            self.events.add(&socket, DnsEndpoint::Listener(number), EventFlags::IN)?;
            served.tcp.push((number, socket));
        }
        self.networks.push(served);
        Ok(())
    }

    /// Stops serving a network, and returns its sockets. Its clients and their questions are dropped. `None`: not
    /// attached.
    pub fn detach(&mut self, network: &str) -> Option<DnsSockets> {
        let index = self.networks.iter().position(|served| &*served.key == network)?;
        let served = self.networks.remove(index);
        let of_network = self.clients.iter().filter(|(_, client)| client.network == served.key);
        let of_network: Vec<_> = of_network.map(|(number, _)| *number).collect();
        for number in of_network {
            self.close_client(number);
        }
        let is_here = |path: ReturnPath| match path {
            ReturnPath::Packet { socket, .. } => served.udp.iter().any(|(one, _)| *one == socket),
            ReturnPath::Connection(_) => false,
        };
        self.drop_pending(is_here);
        let mut sockets = DnsSockets::default();
        for (from, to) in [(served.udp, &mut sockets.udp), (served.tcp, &mut sockets.tcp)] {
            for (_, socket) in from {
                self.events.remove(&socket);
                to.push(socket);
            }
        }
        Some(sockets)
    }

    /// Returns the keys of the attached networks.
    pub fn networks(&self) -> impl Iterator<Item = &str> {
        self.networks.iter().map(|served| &*served.key)
    }

    /// Returns the time at which [`Responder::turn`] must be called without any event. `None`: never.
    pub fn deadline(&self) -> Option<Instant> {
        let exchanges = self.pending.values().filter_map(|one| one.exchange.as_ref());
        let exchanges = exchanges.map(|exchange| exchange.deadline);
        let clients = self.clients.values().filter_map(DnsClient::deadline);
        exchanges.chain(clients).chain(self.resting).min()
    }

    /// Handles what has arrived and what is overdue: a bounded amount of work. More is left for the next turn.
    pub fn turn(&mut self, directory: &mut impl Directory) {
        let now = Instant::now();
        if self.resting.is_some_and(|end| end <= now) {
            self.rest_until(None);
        }
        for endpoint in self.events.ready() {
            match endpoint {
                DnsEndpoint::Socket(number) => self.hear_packets(number, directory),
                DnsEndpoint::Listener(number) => self.accept(number),
                DnsEndpoint::Client(number) => self.hear_client(number),
                DnsEndpoint::Exchange(number) => self.hear_server(number),
            }
        }
        self.expire(now);
        while let Some(number) = self.stirred.pop() {
            self.serve_client(number, directory);
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn hear_packets(&mut self, number: u64, directory: &mut impl Directory) {
        let mut room = std::mem::take(&mut self.room);
        for _ in 0..MOST_PACKETS {
            let found = self.networks.iter().find_map(|served| {
                let (_, socket) = served.udp.iter().find(|(one, _)| *one == number)?;
                Some((Arc::clone(&served.key), socket))
            });
            let Some((network, socket)) = found else { break };
            let came = rustix::net::recvfrom(socket, &mut room[..], RecvFlags::DONTWAIT);
            let Ok((_, length, from)) = came else { break };
            let from = from.and_then(|from| SocketAddr::try_from(from).ok());
            // Nobody hears at port 0.
            let Some(to) = from.filter(|from| from.port() != 0) else { continue };
            let packet = &room[..length.min(room.len())];
            let path = ReturnPath::Packet { socket: number, to };
            let asker = Asker { network: &network, client: to.ip() };
            self.hear(packet, path, asker, directory);
        }
        self.room = room;
    }

    fn hear(
        &mut self,
        packet: &[u8],
        path: ReturnPath,
        asker: Asker<'_>,
        directory: &mut impl Directory,
    ) {
        let transport = match path {
            ReturnPath::Packet { .. } => DnsTransport::Udp,
            ReturnPath::Connection(_) => DnsTransport::Tcp,
        };
        self.answers = self.answers.wrapping_add(1);
        let rotation = self.order.hash_one(self.answers);
        match decide(packet, transport, asker, directory, rotation) {
            Verdict::Ignore => {}
            Verdict::Answer(answer) => self.reply(path, &answer),
            Verdict::Relay(question, upstream) => {
                let servers = match upstream {
                    Upstream::None => Vec::new(),
                    Upstream::Host => self.host.now().to_vec(),
                    Upstream::Servers(servers) => servers,
                };
                let server = |address| UpstreamServer {
                    address,
                    socket: directory.inner_socket(asker, address, transport),
                };
                let servers = servers.into_iter().take(MOST_SERVERS).map(server).collect();
                self.relay(PendingQuestion::new(path, asker.client, question, packet, servers));
            }
        }
    }

    /// Sends an answer. One that the socket does not take is lost, as any packet may be: the client asks again.
    fn reply(&mut self, path: ReturnPath, answer: &[u8]) {
        match path {
            ReturnPath::Packet { socket, to } => {
                let mut sockets = self.networks.iter().flat_map(|served| &served.udp);
                if let Some((_, socket)) = sockets.find(|(number, _)| *number == socket) {
                    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                    let _ = rustix::net::sendto(socket, answer, flags, &to);
                }
            }
            ReturnPath::Connection(number) => {
                let Some(client) = self.clients.get_mut(&number) else { return };
                client.answer(answer);
                self.stirred.push(number);
                let unsent = self.clients.values().map(DnsClient::unsent).sum::<usize>();
                let largest = self.clients.iter().max_by_key(|(_, client)| client.unsent());
                if let Some((number, _)) = largest.filter(|_| unsent > MOST_UNSENT) {
                    self.close_client(*number);
                }
            }
        }
    }

    fn relay(&mut self, question: PendingQuestion) {
        let entries = self.pending.iter().map(|(number, one)| (*number, one.client));
        let displaced = PENDING.displaced(question.client, entries);
        let displaced = displaced.or_else(|| {
            let is_stream = |one: &PendingQuestion| one.question.transport() == DnsTransport::Tcp;
            let streams = self.pending.iter().filter(|(_, one)| is_stream(one));
            let streams = streams.map(|(number, one)| (*number, one.client));
            let is_bound = is_stream(&question);
            is_bound.then(|| PENDING_STREAMS.displaced(question.client, streams)).flatten()
        });
        if let Some(displaced) = displaced {
            self.finish(displaced, None);
        }
        if let ReturnPath::Connection(number) = question.path
            && let Some(client) = self.clients.get_mut(&number)
        {
            client.asked += 1;
        }
        let number = self.number();
        self.pending.insert(number, question);
        self.ask_next(number);
    }

    /// Asks the next server, or tells the client that there is none.
    fn ask_next(&mut self, number: u64) {
        let Some(question) = self.pending.get_mut(&number) else { return };
        if let Some(exchange) = &question.exchange {
            self.events.remove(&exchange.socket);
        }
        let added = question.ask_next().map(|exchange| {
            let endpoint = DnsEndpoint::Exchange(number);
            self.events.add(&exchange.socket, endpoint, exchange.wishes())
        });
        if !matches!(added, Some(Ok(()))) {
            self.finish(number, None);
        }
    }

    fn hear_server(&mut self, number: u64) {
        let Some(question) = self.pending.get_mut(&number) else { return };
        match question.turn(&mut self.room) {
            ExchangeTurn::Wait(wishes) => {
                if let Some(exchange) = &question.exchange {
                    let endpoint = DnsEndpoint::Exchange(number);
                    let _ = self.events.modify(&exchange.socket, endpoint, wishes);
                }
            }
            ExchangeTurn::Answered(answer) => match code_of(&answer) {
                ResponseCode::ServFail | ResponseCode::Refused if question.has_next() => {
                    self.ask_next(number);
                }
                ResponseCode::Refused => self.finish(number, None),
                _ => self.finish(number, Some(answer)),
            },
            ExchangeTurn::Failed => self.ask_next(number),
        }
    }

    /// Ends a pending question with the answer of a server. `None`: no server has one.
    fn finish(&mut self, number: u64, answer: Option<Vec<u8>>) {
        let Some(pending) = self.pending.remove(&number) else { return };
        if let Some(exchange) = &pending.exchange {
            self.events.remove(&exchange.socket);
        }
        if let ReturnPath::Connection(number) = pending.path
            && let Some(client) = self.clients.get_mut(&number)
        {
            client.asked -= 1;
        }
        let answer = match answer {
            Some(answer) => pending.question.pass_on(answer),
            None => pending.question.answer_code(ResponseCode::ServFail),
        };
        self.reply(pending.path, &answer);
    }

    fn drop_pending(&mut self, is_dropped: impl Fn(ReturnPath) -> bool) {
        let events = &self.events;
        self.pending.retain(|_, pending| {
            let is_kept = !is_dropped(pending.path);
            if let Some(exchange) = pending.exchange.as_ref().filter(|_| !is_kept) {
                events.remove(&exchange.socket);
            }
            is_kept
        });
    }

    fn accept(&mut self, number: u64) {
        for _ in 0..MOST_ACCEPTED {
            let found = self.networks.iter().find_map(|served| {
                let (_, socket) = served.tcp.iter().find(|(one, _)| *one == number)?;
                Some((Arc::clone(&served.key), socket))
            });
            let Some((network, listener)) = found else { return };
            match rustix::net::acceptfrom_with(listener, FLAGS) {
                Ok((socket, Some(from))) => {
                    if let Ok(from) = SocketAddr::try_from(from) {
                        self.add_client(DnsClient::new(socket, from.ip(), network));
                    }
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                    // The listener stays ready, so the loop would spin.
                    self.rest_until(Some(Instant::now() + REST));
                    return;
                }
                // A connection that was given up meanwhile (accept(2)).
                Ok((_, None)) | Err(_) => {}
            }
        }
    }

    /// Stops listening for connections until `end`, or listens again.
    fn rest_until(&mut self, end: Option<Instant>) {
        self.resting = end;
        let events = if end.is_some() { EventFlags::empty() } else { EventFlags::IN };
        for (number, listener) in self.networks.iter().flat_map(|served| &served.tcp) {
            let _ = self.events.modify(listener, DnsEndpoint::Listener(*number), events);
        }
    }

    fn add_client(&mut self, client: DnsClient) {
        let entries = self.clients.iter().map(|(number, one)| (*number, one.address));
        if let Some(displaced) = CLIENTS.displaced(client.address, entries) {
            self.close_client(displaced);
        }
        let number = self.number();
        if self.events.add(&client.socket, DnsEndpoint::Client(number), client.events).is_ok() {
            self.clients.insert(number, client);
        }
    }

    fn hear_client(&mut self, number: u64) {
        let Some(client) = self.clients.get_mut(&number) else { return };
        match client.receive(&mut self.room) {
            Ok(()) => self.stirred.push(number),
            Err(_) => self.close_client(number),
        }
    }

    /// Answers the questions of a connection that are complete, and sends what it takes.
    fn serve_client(&mut self, number: u64, directory: &mut impl Directory) {
        while let Some(client) = self.clients.get_mut(&number) {
            let Ok(question) = client.next_question() else { return self.close_client(number) };
            let Some(question) = question else { break };
            let (network, address) = (Arc::clone(&client.network), client.address);
            let asker = Asker { network: &network, client: address };
            self.hear(&question, ReturnPath::Connection(number), asker, directory);
        }
        let Some(client) = self.clients.get_mut(&number) else { return };
        if client.send().is_err() || client.is_over() {
            return self.close_client(number);
        }
        let wishes = client.wishes();
        if wishes != client.events {
            client.events = wishes;
            let _ = self.events.modify(&client.socket, DnsEndpoint::Client(number), wishes);
        }
    }

    fn close_client(&mut self, number: u64) {
        if let Some(client) = self.clients.remove(&number) {
            self.events.remove(&client.socket);
            self.drop_pending(|path| path == ReturnPath::Connection(number));
        }
    }

    fn expire(&mut self, now: Instant) {
        let is_over = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        let silent = self.pending.iter().filter(|(_, pending)| {
            is_over(pending.exchange.as_ref().map(|exchange| exchange.deadline))
        });
        for number in silent.map(|(number, _)| *number).collect::<Vec<_>>() {
            self.ask_next(number);
        }
        let idle = self.clients.iter().filter(|(_, client)| is_over(client.deadline()));
        for number in idle.map(|(number, _)| *number).collect::<Vec<_>>() {
            self.close_client(number);
        }
    }
}

impl AsFd for Responder {
    /// Returns the descriptor that is ready for input when [`Responder::turn`] has work.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, TcpStream};

    use super::super::ReverseName;
    use super::*;

    struct Nobody;

    impl Directory for Nobody {
        fn addresses(&mut self, _: Asker<'_>, _: &str) -> Option<Vec<IpAddr>> {
            None
        }

        fn name_of(&mut self, _: Asker<'_>, _: IpAddr) -> ReverseName {
            ReverseName::Foreign
        }

        fn upstream(&mut self, _: Asker<'_>) -> Upstream {
            Upstream::None
        }
    }

    #[test]
    fn connections_wait_while_none_can_be_accepted() {
        let sockets = DnsSockets::bind(&[(Ipv4Addr::LOCALHOST, 0).into()]).unwrap();
        let listener = rustix::net::getsockname(&sockets.tcp[0]).unwrap();
        let mut responder = Responder::new("/nonexistent").unwrap();
        responder.attach("net", sockets).unwrap();
        let end = Instant::now() + Duration::from_millis(50);
        responder.rest_until(Some(end));
        let _client = TcpStream::connect(SocketAddr::try_from(listener).unwrap()).unwrap();
        // The owner sleeps until the deadline, instead of being woken for a connection that it cannot take.
        assert_eq!(responder.events.ready(), []);
        assert_eq!(responder.deadline(), Some(end));
        while Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        responder.turn(&mut Nobody);
        assert!(responder.resting.is_none());
        assert_eq!(responder.clients.len(), 1);
    }
}
