//! Set of the responder's sockets, which is itself a single descriptor for the poll loop of the owner (epoll(7)).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

/// Events handled in one turn.
const MOST_EVENTS: usize = 64;

/// Socket of a responder. The number is never used again for another one, so an event that comes late finds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DnsEndpoint {
    /// UDP socket of a network.
    Socket(u64),
    /// Listening TCP socket of a network.
    Listener(u64),
    /// TCP connection of a client.
    Client(u64),
    /// Socket on which a server is asked.
    Exchange(u64),
}

impl DnsEndpoint {
    fn data(self) -> EventData {
        let (kind, number) = match self {
            Self::Socket(number) => (0, number),
            Self::Listener(number) => (1, number),
            Self::Client(number) => (2, number),
            Self::Exchange(number) => (3, number),
        };
        EventData::new_u64(number << 2 | kind)
    }

    fn of(data: EventData) -> Self {
        let (kind, number) = (data.u64() & 3, data.u64() >> 2);
        match kind {
            0 => Self::Socket(number),
            1 => Self::Listener(number),
            2 => Self::Client(number),
            _ => Self::Exchange(number),
        }
    }
}

/// Set of sockets, each with the events that are waited for.
#[derive(Debug)]
pub(super) struct EventSet(OwnedFd);

impl EventSet {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(epoll::create(CreateFlags::CLOEXEC)?))
    }

    pub(super) fn add(
        &self,
        fd: impl AsFd,
        endpoint: DnsEndpoint,
        events: EventFlags,
    ) -> io::Result<()> {
        Ok(epoll::add(&self.0, fd, endpoint.data(), events)?)
    }

    pub(super) fn modify(
        &self,
        fd: impl AsFd,
        endpoint: DnsEndpoint,
        events: EventFlags,
    ) -> io::Result<()> {
        Ok(epoll::modify(&self.0, fd, endpoint.data(), events)?)
    }

    /// Removes a socket before it is closed: a child between fork and exec has it open too, and so would keep it in the
    /// set.
    pub(super) fn remove(&self, fd: impl AsFd) {
        let _ = epoll::delete(&self.0, fd);
    }

    /// Returns the sockets that have events now. Never waits.
    pub(super) fn ready(&self) -> Vec<DnsEndpoint> {
        let none = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut events: Vec<Event> = Vec::with_capacity(MOST_EVENTS);
        let room = rustix::buffer::spare_capacity(&mut events);
        match epoll::wait(&self.0, room, Some(&none)) {
            Ok(_) => events.iter().map(|event| DnsEndpoint::of(event.data)).collect(),
            Err(_) => Vec::new(),
        }
    }
}

impl AsFd for EventSet {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
