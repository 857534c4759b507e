//! Clients attached to the monitor. Each client is buffered by its socket alone, plus one pending message for a client
//! that must not miss output ([`Pace::Waits`]). Until that message is sent, the command's output is not read. Other
//! clients miss what their socket has no room for, and receive the number of lost bytes.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use super::log::Source;
use super::protocol::{self, MonitorMessage, Pace, Request};

/// Connection of one attached client.
#[derive(Debug)]
pub struct AttachedClient {
    socket: OwnedFd,
    /// Pace of an attached client. `None`: the client waits for the end only.
    pace: Option<Pace>,
    /// Message that the socket had no room for; empty when nothing is pending.
    pending: Vec<u8>,
    lost: u64,
}

/// All connections of the monitor.
#[derive(Debug, Default)]
pub struct Clients(Vec<AttachedClient>);

/// Request of a client that concerns the command.
#[derive(Debug, PartialEq, Eq)]
pub enum Wish {
    /// Pass these bytes to the command's standard input.
    Input(Vec<u8>),
    /// Close the command's standard input.
    CloseInput,
    /// Resize the terminal to so many rows and columns.
    Window(u16, u16),
    /// Report the end of the command, at once if the command has ended already.
    Wait,
    /// Bring the command's output into the log, and confirm.
    CatchUp,
    /// Change the networks: JSON.
    Networks(Vec<u8>),
}

impl Clients {
    /// Adds a client that was connected before the command ran.
    pub fn add(&mut self, socket: OwnedFd, pace: Option<Pace>) {
        self.0.push(AttachedClient { socket, pace, pending: Vec::new(), lost: 0 });
    }

    /// Accepts the client that waits at `listener`, if any.
    pub fn accept(&mut self, listener: &OwnedFd) {
        // A single client each turn, as poll(2) reports: many new clients do not hold up the others.
        if let Some(socket) = protocol::accept(listener) {
            self.add(socket, None);
        }
    }

    /// Number of connections.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Returns the socket of a client, and whether a message is pending for that socket.
    pub fn socket(&self, index: usize) -> Option<(BorrowedFd<'_>, bool)> {
        self.0.get(index).map(|client| (client.socket.as_fd(), !client.pending.is_empty()))
    }

    /// True if the command's output must wait for a slow client.
    pub fn are_full(&self) -> bool {
        self.0.iter().any(|client| !client.pending.is_empty())
    }

    /// Sends output of the command to all attached clients.
    pub fn tell(&mut self, source: Source, bytes: &[u8]) {
        if self.0.iter().all(|client| client.pace.is_none()) {
            return;
        }
        let told = match source {
            Source::Error => MonitorMessage::Error(bytes),
            _ => MonitorMessage::Output(bytes),
        };
        let message = told.bytes();
        self.0.retain_mut(|client| match client.pace {
            None => true,
            Some(pace) => client.hear(&message, pace, bytes.len() as u64),
        });
    }

    /// Sends the exit status to all clients; a client without room gets the status later.
    pub fn tell_end(&mut self, status: u8) {
        let message = MonitorMessage::Ended(status).bytes();
        self.0.retain_mut(|client| client.hear(&message, Pace::Waits, 0));
    }

    /// Sends the pending message of a client.
    pub fn flush(&mut self, index: usize) {
        let Some(client) = self.0.get_mut(index) else { return };
        let message = std::mem::take(&mut client.pending);
        // An empty message would read as the end of the connection.
        if !message.is_empty() && !client.hear(&message, Pace::Waits, 0) {
            self.0.remove(index);
        }
    }

    /// Receives a message of a client. `None`: no message, no request about the command, or the client has
    /// disconnected.
    pub fn hear(&mut self, index: usize, room: &mut [u8]) -> Option<Wish> {
        let client = self.0.get_mut(index)?;
        let flags = rustix::net::RecvFlags::DONTWAIT;
        let length = match rustix::net::recv(&client.socket, &mut *room, flags) {
            Ok((length, _)) if length > 0 => length,
            Err(Errno::AGAIN | Errno::INTR) => return None,
            _ => {
                self.0.remove(index);
                return None;
            }
        };
        match Request::parse(&room[..length]) {
            Some(Request::Attach(pace)) => {
                client.pace = Some(pace);
                None
            }
            Some(Request::Input(bytes)) => Some(Wish::Input(bytes.to_vec())),
            Some(Request::CloseInput) => Some(Wish::CloseInput),
            Some(Request::Window(rows, columns)) => Some(Wish::Window(rows, columns)),
            Some(Request::Wait) => Some(Wish::Wait),
            Some(Request::CatchUp) => Some(Wish::CatchUp),
            Some(Request::Networks(json)) => Some(Wish::Networks(json.to_vec())),
            // A client that does not speak this protocol is disconnected.
            None => {
                self.0.remove(index);
                None
            }
        }
    }
}

impl AttachedClient {
    /// Sends `message` as the pace allows. Returns false if the client has disconnected.
    fn hear(&mut self, message: &[u8], pace: Pace, bytes: u64) -> bool {
        if !self.pending.is_empty() {
            return true; // no output is read while a message is pending: this client cannot miss any
        }
        if self.lost > 0
            && protocol::send(&self.socket, &MonitorMessage::Lost(self.lost).bytes()).is_ok()
        {
            self.lost = 0;
        }
        if self.lost > 0 && bytes > 0 {
            self.lost += bytes;
            return true;
        }
        match (protocol::send(&self.socket, message), pace) {
            (Ok(()), _) => true,
            (Err(error), pace) if error.kind() == std::io::ErrorKind::WouldBlock => {
                match pace {
                    Pace::Waits => self.pending = message.to_vec(),
                    Pace::Drops => self.lost += bytes,
                }
                true
            }
            (Err(_), _) => false,
        }
    }
}

/// Sends an answer to one client.
pub fn answer(clients: &mut Clients, index: usize, told: &MonitorMessage<'_>) {
    if let Some(client) = clients.0.get_mut(index)
        && !client.hear(&told.bytes(), Pace::Waits, 0)
    {
        clients.0.remove(index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &OwnedFd) -> Option<Vec<u8>> {
        let mut room = vec![0; protocol::ROOM + 16];
        let flags = rustix::net::RecvFlags::DONTWAIT;
        let (length, _) = rustix::net::recv(socket, &mut room[..], flags).ok()?;
        room.truncate(length);
        Some(room)
    }

    #[test]
    fn a_slow_client_loses_output_and_gets_the_number_of_lost_bytes() {
        let (near, far) = protocol::pair().unwrap();
        let mut clients = Clients::default();
        clients.add(near, Some(Pace::Drops));
        let chunk = vec![b'x'; 8192];
        for _ in 0..100 {
            clients.tell(Source::Output, &chunk);
            assert!(!clients.are_full());
        }
        let mut seen = 0;
        while let Some(message) = heard(&far) {
            seen += message.len() - 1;
        }
        clients.tell(Source::Output, b"after");
        let lost = heard(&far).unwrap();
        assert_eq!(MonitorMessage::parse(&lost), Some(MonitorMessage::Lost(819_200 - seen as u64)));
        assert_eq!(
            MonitorMessage::parse(&heard(&far).unwrap()),
            Some(MonitorMessage::Output(b"after"))
        );
    }

    #[test]
    fn a_client_that_must_not_lose_output_is_waited_for() {
        let (near, far) = protocol::pair().unwrap();
        let mut clients = Clients::default();
        clients.add(near, Some(Pace::Waits));
        let chunk = vec![b'x'; 8192];
        let mut sent = 0;
        while !clients.are_full() {
            clients.tell(Source::Output, &chunk);
            sent += 1;
        }
        let mut seen = 0;
        while let Some(_message) = heard(&far) {
            seen += 1;
            clients.flush(0);
        }
        assert_eq!(seen, sent);
        assert!(!clients.are_full());
        drop(far);
        clients.tell(Source::Output, &chunk);
        assert_eq!(clients.count(), 0);
    }
}
