//! TCP connection of a client: questions and answers, each with its length before it (RFC 1035, 4.2.2; RFC 7766).

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use super::message::MOST_QUESTION;

/// Time after which a connection without any traffic is closed.
const IDLE: Duration = Duration::from_secs(10);
/// Questions of one connection that servers are asked at the same time.
const MOST_ASKED: usize = 4;
/// Bytes of answers that the client has not fetched, beyond which no more of its questions are read.
const MOST_UNSENT: usize = 16 << 10;
/// Bytes of questions held: the largest one with its length.
const MOST_INPUT: usize = 2 + MOST_QUESTION;

/// Connection of a client.
#[derive(Debug)]
pub(super) struct DnsClient {
    pub(super) socket: OwnedFd,
    pub(super) address: IpAddr,
    pub(super) network: Arc<str>,
    input: Vec<u8>,
    output: Vec<u8>,
    /// Questions for which servers are being asked.
    pub(super) asked: usize,
    is_input_over: bool,
    last: Instant,
    /// Events that the event set waits for.
    pub(super) events: EventFlags,
}

/// Frame longer than any question.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FrameTooLong;

impl DnsClient {
    pub(super) fn new(socket: OwnedFd, address: IpAddr, network: Arc<str>) -> Self {
        Self {
            socket,
            address,
            network,
            input: Vec::new(),
            output: Vec::new(),
            asked: 0,
            is_input_over: false,
            last: Instant::now(),
            events: EventFlags::IN,
        }
    }

    /// Reads what the client has sent, once. Errors: the connection is broken.
    pub(super) fn receive(&mut self, room: &mut [u8]) -> io::Result<()> {
        let free = MOST_INPUT - self.input.len();
        if free == 0 || self.is_input_over {
            return Ok(());
        }
        let room = &mut room[..free];
        match rustix::net::recv(&self.socket, &mut *room, RecvFlags::DONTWAIT) {
            Ok((_, 0)) => self.is_input_over = true,
            Ok((_, length)) => {
                self.input.extend_from_slice(&room[..length]);
                self.last = Instant::now();
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Takes the next question. `None`: none is complete, or the client has to fetch answers first.
    pub(super) fn next_question(&mut self) -> Result<Option<Vec<u8>>, FrameTooLong> {
        if !self.takes_questions() {
            return Ok(None);
        }
        let Some((length, rest)) = self.input.split_first_chunk::<2>() else { return Ok(None) };
        let length = u16::from_be_bytes(*length).into();
        if length > MOST_QUESTION {
            return Err(FrameTooLong);
        }
        let Some(question) = rest.get(..length).map(<[u8]>::to_vec) else { return Ok(None) };
        self.input.drain(..2 + length);
        Ok(Some(question))
    }

    fn takes_questions(&self) -> bool {
        self.asked < MOST_ASKED && self.output.len() < MOST_UNSENT
    }

    /// Queues an answer.
    pub(super) fn answer(&mut self, answer: &[u8]) {
        if let Ok(length) = u16::try_from(answer.len()) {
            self.output.extend_from_slice(&length.to_be_bytes());
            self.output.extend_from_slice(answer);
        }
    }

    /// Returns the number of bytes that the client has not fetched.
    pub(super) fn unsent(&self) -> usize {
        self.output.len()
    }

    /// Sends as much as the connection takes. Errors: the connection is broken.
    pub(super) fn send(&mut self) -> io::Result<()> {
        if self.output.is_empty() {
            return Ok(());
        }
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match rustix::net::send(&self.socket, &self.output, flags) {
            Ok(length) => {
                self.output.drain(..length);
                self.last = Instant::now();
                if self.output.is_empty() {
                    self.output = Vec::new();
                }
                Ok(())
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the events to wait for. Input is waited for only where it would be read.
    pub(super) fn wishes(&self) -> EventFlags {
        let mut wishes = EventFlags::empty();
        if self.takes_questions() && !self.is_input_over && self.input.len() < MOST_INPUT {
            wishes |= EventFlags::IN;
        }
        if !self.output.is_empty() {
            wishes |= EventFlags::OUT;
        }
        wishes
    }

    /// True if the client asks no more and has all answers.
    pub(super) fn is_over(&self) -> bool {
        self.is_input_over && self.asked == 0 && self.output.is_empty()
    }

    /// Returns the time at which the connection is closed. `None`: an answer is on its way.
    pub(super) fn deadline(&self) -> Option<Instant> {
        (self.asked == 0 || !self.output.is_empty()).then(|| self.last + IDLE)
    }
}
