//! Those who are attached. Nothing is kept for anybody but what their socket holds, and one message of one who must not
//! miss any ([`Pace::Waits`]): as long as that is not gone, no more is read from the command. Others miss what they have
//! no room for, and are told how much.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use super::log::Source;
use super::talk::{self, Pace, Request, Told};

/// One of them.
#[derive(Debug)]
pub struct Client {
    socket: OwnedFd,
    /// `None`: only waits for the end.
    pace: Option<Pace>,
    /// What it had no room for.
    pending: Vec<u8>,
    lost: u64,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Clients(Vec<Client>);

/// What a client asks of the command.
#[derive(Debug, PartialEq, Eq)]
pub enum Wish {
    /// To read this.
    Input(Vec<u8>),
    /// To read no more.
    CloseInput,
    /// To have a window of so many rows and columns.
    Window(u16, u16),
    /// To say that it ended, where it has already.
    Wait,
    /// To bring its output into the log, and to say so.
    CatchUp,
}

impl Clients {
    /// Adds one who was there before the command ran.
    pub fn add(&mut self, socket: OwnedFd, pace: Option<Pace>) {
        self.0.push(Client { socket, pace, pending: Vec::new(), lost: 0 });
    }

    /// Lets in whoever waits at `listener`.
    pub fn accept(&mut self, listener: &OwnedFd) {
        // One by one, as poll(2) tells: others are not kept waiting by many who come.
        if let Some(socket) = talk::accept(listener) {
            self.add(socket, None);
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The socket of one of them, and whether it waits for room.
    pub fn socket(&self, index: usize) -> Option<(BorrowedFd<'_>, bool)> {
        self.0.get(index).map(|client| (client.socket.as_fd(), !client.pending.is_empty()))
    }

    /// Whether the command must wait for one of them.
    pub fn are_full(&self) -> bool {
        self.0.iter().any(|client| !client.pending.is_empty())
    }

    /// Tells all who are attached what the command wrote.
    pub fn tell(&mut self, source: Source, bytes: &[u8]) {
        if self.0.iter().all(|client| client.pace.is_none()) {
            return;
        }
        let told = match source {
            Source::Error => Told::Error(bytes),
            _ => Told::Output(bytes),
        };
        let message = told.bytes();
        self.0.retain_mut(|client| match client.pace {
            None => true,
            Some(pace) => client.hear(&message, pace, bytes.len() as u64),
        });
    }

    /// Tells everybody that it ended; one who has no room hears it later.
    pub fn tell_end(&mut self, status: u8) {
        let message = Told::Ended(status).bytes();
        self.0.retain_mut(|client| client.hear(&message, Pace::Waits, 0));
    }

    /// Sends what one of them had no room for.
    pub fn flush(&mut self, index: usize) {
        let Some(client) = self.0.get_mut(index) else { return };
        let message = std::mem::take(&mut client.pending);
        // An empty message would read as the end of the conversation.
        if !message.is_empty() && !client.hear(&message, Pace::Waits, 0) {
            self.0.remove(index);
        }
    }

    /// Hears one of them. `None`: it said nothing that is for others, or it is gone.
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
            // Who does not speak our language has nothing to ask.
            None => {
                self.0.remove(index);
                None
            }
        }
    }
}

impl Client {
    /// Whether it is still there.
    fn hear(&mut self, message: &[u8], pace: Pace, bytes: u64) -> bool {
        if !self.pending.is_empty() {
            return true; // nothing is read from the command meanwhile: there is nothing that could be missed
        }
        if self.lost > 0 && talk::send(&self.socket, &Told::Lost(self.lost).bytes()).is_ok() {
            self.lost = 0;
        }
        if self.lost > 0 && bytes > 0 {
            self.lost += bytes;
            return true;
        }
        match (talk::send(&self.socket, message), pace) {
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

/// Answers one client.
pub fn answer(clients: &mut Clients, index: usize, told: &Told<'_>) {
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
        let mut room = vec![0; talk::ROOM + 16];
        let flags = rustix::net::RecvFlags::DONTWAIT;
        let (length, _) = rustix::net::recv(socket, &mut room[..], flags).ok()?;
        room.truncate(length);
        Some(room)
    }

    #[test]
    fn one_who_is_slow_misses_something_and_is_told_how_much() {
        let (near, far) = talk::pair().unwrap();
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
        assert_eq!(Told::parse(&lost), Some(Told::Lost(819_200 - seen as u64)));
        assert_eq!(Told::parse(&heard(&far).unwrap()), Some(Told::Output(b"after")));
    }

    #[test]
    fn one_who_must_not_miss_anything_is_waited_for() {
        let (near, far) = talk::pair().unwrap();
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
        assert_eq!(clients.len(), 0);
    }
}
