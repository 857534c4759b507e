//! Question to a server: one socket and one server at a time, then the next server.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketType};

use super::message::{DnsQuestion, DnsTransport, set_id};
use super::sockets::{FLAGS, family_of};

/// Time for an answer over UDP. Clients ask again after 5 s (resolv.conf(5)), so a second server has its turn before.
const DATAGRAM_TIME: Duration = Duration::from_secs(2);
/// Time for an answer over TCP, with the connection: a lost packet costs one second.
const STREAM_TIME: Duration = Duration::from_secs(4);
/// Packets read in one turn: only forgeries come in numbers.
const MOST_PACKETS: usize = 8;

/// Way back to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReturnPath {
    /// Packet from the network's socket of this number to the client.
    Packet { socket: u64, to: SocketAddr },
    /// TCP connection of this number.
    Connection(u64),
}

/// Question of a client, for which servers are asked.
#[derive(Debug)]
pub(super) struct PendingQuestion {
    pub(super) path: ReturnPath,
    pub(super) client: IpAddr,
    pub(super) question: DnsQuestion,
    packet: Vec<u8>,
    /// Servers not yet asked.
    servers: std::vec::IntoIter<UpstreamServer>,
    pub(super) exchange: Option<UpstreamExchange>,
}

/// Server to ask.
#[derive(Debug)]
pub(super) struct UpstreamServer {
    pub(super) address: SocketAddr,
    /// Socket in the server's network. `None`: the server is asked over the network of this process.
    pub(super) socket: Option<OwnedFd>,
}

/// Result of an event on the socket.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ExchangeTurn {
    /// No answer yet; these events are waited for.
    Wait(EventFlags),
    /// Answer, with the ID of the exchange.
    Answered(Vec<u8>),
    /// Server cannot be asked.
    Failed,
}

impl PendingQuestion {
    /// Prepares the question for these servers. A single one is asked twice over UDP: a packet may get lost.
    pub(super) fn new(
        path: ReturnPath,
        client: IpAddr,
        question: DnsQuestion,
        packet: &[u8],
        mut servers: Vec<UpstreamServer>,
    ) -> Self {
        if let ([server], DnsTransport::Udp) = (&servers[..], question.transport()) {
            let socket = server.socket.as_ref().and_then(|socket| socket.try_clone().ok());
            servers.push(UpstreamServer { address: server.address, socket });
        }
        let servers = servers.into_iter();
        Self { path, client, question, packet: packet.to_vec(), servers, exchange: None }
    }

    /// Asks the next server that can be reached. `None`: no server is left.
    pub(super) fn ask_next(&mut self) -> Option<&UpstreamExchange> {
        self.exchange = None;
        let transport = self.question.transport();
        let packet = &self.packet;
        let exchange =
            self.servers.find_map(|server| UpstreamExchange::begin(server, packet, transport).ok());
        self.exchange = exchange;
        self.exchange.as_ref()
    }

    /// True if another server can be asked.
    pub(super) fn has_next(&self) -> bool {
        !self.servers.as_slice().is_empty()
    }

    /// Handles an event on the socket.
    pub(super) fn turn(&mut self, room: &mut [u8]) -> ExchangeTurn {
        match &mut self.exchange {
            Some(exchange) => exchange.turn(&self.question, room),
            None => ExchangeTurn::Failed,
        }
    }
}

/// Question to one server, on a socket of its own: its port is as hard to guess as the ID.
#[derive(Debug)]
pub(super) struct UpstreamExchange {
    pub(super) socket: OwnedFd,
    id: u16,
    pub(super) deadline: Instant,
    /// Bytes under way over TCP; `None`: UDP.
    stream: Option<StreamBytes>,
}

#[derive(Debug, Default)]
struct StreamBytes {
    unsent: Vec<u8>,
    answer: Vec<u8>,
}

impl UpstreamExchange {
    /// Sends the question, over TCP as soon as the connection is there.
    fn begin(server: UpstreamServer, packet: &[u8], transport: DnsTransport) -> io::Result<Self> {
        let time = match transport {
            DnsTransport::Udp => DATAGRAM_TIME,
            DnsTransport::Tcp => STREAM_TIME,
        };
        let UpstreamServer { address: server, socket } = server;
        let socket = socket.map_or_else(|| open(server, transport), Ok)?;
        let mut id = [0; 2];
        rustix::rand::getrandom(&mut id[..], rustix::rand::GetRandomFlags::empty())?;
        let id = u16::from_ne_bytes(id);
        let mut packet = packet.to_vec();
        set_id(&mut packet, id);
        // Only packets of the server arrive at a connected socket, and the kernel chooses a random port.
        let connected = rustix::net::connect(&socket, &server);
        let stream = match transport {
            DnsTransport::Udp => {
                connected?;
                rustix::net::send(&socket, &packet, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?;
                None
            }
            DnsTransport::Tcp => {
                if !matches!(connected, Ok(()) | Err(Errno::INPROGRESS)) {
                    connected?;
                }
                let length = u16::try_from(packet.len()).map_err(io::Error::other)?;
                packet.splice(..0, length.to_be_bytes());
                Some(StreamBytes { unsent: packet, answer: Vec::new() })
            }
        };
        Ok(Self { socket, id, deadline: Instant::now() + time, stream })
    }

    /// Returns the events to wait for.
    pub(super) fn wishes(&self) -> EventFlags {
        match &self.stream {
            Some(stream) if !stream.unsent.is_empty() => EventFlags::OUT,
            _ => EventFlags::IN,
        }
    }

    fn turn(&mut self, question: &DnsQuestion, room: &mut [u8]) -> ExchangeTurn {
        let answer = match &mut self.stream {
            Some(stream) => stream.turn(&self.socket, room),
            None => return self.receive(question, room),
        };
        match answer {
            Ok(None) => ExchangeTurn::Wait(self.wishes()),
            Ok(Some(answer)) if question.is_answered_by(&answer, self.id) => {
                ExchangeTurn::Answered(answer)
            }
            Ok(Some(_)) | Err(_) => ExchangeTurn::Failed,
        }
    }

    /// Reads packets until one answers the question: others are forged, or late.
    fn receive(&self, question: &DnsQuestion, room: &mut [u8]) -> ExchangeTurn {
        for _ in 0..MOST_PACKETS {
            match rustix::net::recv(&self.socket, &mut *room, RecvFlags::DONTWAIT) {
                Ok((_, length)) => {
                    let packet = &room[..length.min(room.len())];
                    if question.is_answered_by(packet, self.id) {
                        return ExchangeTurn::Answered(packet.to_vec());
                    }
                }
                Err(Errno::AGAIN | Errno::INTR) => break,
                // ECONNREFUSED: no server there.
                Err(_) => return ExchangeTurn::Failed,
            }
        }
        ExchangeTurn::Wait(EventFlags::IN)
    }
}

/// Opens a socket for a server in the current network namespace.
pub fn open(server: SocketAddr, transport: DnsTransport) -> io::Result<OwnedFd> {
    let kind = match transport {
        DnsTransport::Udp => SocketType::DGRAM,
        DnsTransport::Tcp => SocketType::STREAM,
    };
    Ok(rustix::net::socket_with(family_of(server), kind, FLAGS, None)?)
}

impl StreamBytes {
    /// Sends or receives once. Returns the answer when it is complete.
    fn turn(&mut self, socket: &OwnedFd, room: &mut [u8]) -> io::Result<Option<Vec<u8>>> {
        if !self.unsent.is_empty() {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match rustix::net::send(socket, &self.unsent, flags) {
                Ok(length) => drop(self.unsent.drain(..length)),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            return Ok(None);
        }
        match rustix::net::recv(socket, &mut *room, RecvFlags::DONTWAIT) {
            Ok((_, 0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok((_, length)) => self.answer.extend_from_slice(&room[..length]),
            Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let Some((length, rest)) = self.answer.split_first_chunk::<2>() else { return Ok(None) };
        Ok(rest.get(..u16::from_be_bytes(*length).into()).map(<[u8]>::to_vec))
    }
}
