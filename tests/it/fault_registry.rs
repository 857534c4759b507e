//! A registry that misbehaves as it is told: a small HTTP/1.1 server on loopback whose every answer is the test's own.
//!
//! It also serves tests that run the program (`--tls-verify=false`): it is a thread and a port, nothing more.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Heard {
    /// GET
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The fields, names in small letters.
    pub headers: Vec<(String, String)>,
    /// What came with it.
    pub body: Vec<u8>,
}

impl Heard {
    /// A field's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// N of `Range: bytes=N-`.
    pub fn from(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

/// One piece of an answer.
#[derive(Clone, Debug)]
pub enum Piece {
    /// These bytes, as they are.
    Send(Vec<u8>),
    /// Nothing for so long.
    Wait(Duration),
    /// Nothing until this is true.
    Until(Arc<AtomicBool>),
    /// These bytes again and again, until the other side has enough.
    Endless(Vec<u8>),
}

/// An answer, sent piece by piece; then the connection is closed.
pub type Pieces = Vec<Piece>;

/// An answer with this status line's end (`200 OK`), these fields, and a body of its length.
pub fn answer(status: &str, fields: &[(&str, &str)], body: &[u8]) -> Pieces {
    vec![Piece::Send([head(status, fields, body.len()), body.to_vec()].concat())]
}

/// The head alone, promising a body of `length`.
pub fn head(status: &str, fields: &[(&str, &str)], length: usize) -> Vec<u8> {
    let mut text =
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n");
    for (name, value) in fields {
        text += &format!("{name}: {value}\r\n");
    }
    (text + "\r\n").into_bytes()
}

/// The server. Its thread ends with the test program.
pub struct FaultRegistry {
    /// `127.0.0.1:PORT`
    pub host: String,
    heard: Arc<Mutex<Vec<Heard>>>,
}

impl FaultRegistry {
    /// Starts it; `behave` is asked for each answer, with the request and how many came before it.
    pub fn start(behave: impl Fn(&Heard, usize) -> Pieces + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let host = listener.local_addr().expect("an address").to_string();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (behave, all) = (Arc::new(behave), heard.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (behave, all) = (behave.clone(), all.clone());
                std::thread::spawn(move || {
                    // Who speaks TLS is told that this is HTTP, and leaves.
                    let Some(request) = hear(&stream) else {
                        return send(&stream, answer("400 Bad Request", &[], b""));
                    };
                    let before = {
                        let mut all = all.lock().expect("no panic before");
                        all.push(request.clone());
                        all.len() - 1
                    };
                    send(&stream, behave(&request, before));
                });
            }
        });
        Self { host, heard }
    }

    /// All requests so far.
    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().expect("no panic before").clone()
    }
}

fn hear(stream: &TcpStream) -> Option<Heard> {
    let mut reader = BufReader::new(stream);
    let mut line = || {
        let mut bytes = Vec::new();
        // TLS begins with a byte that no method has.
        if reader.fill_buf().ok()?.first()? == &0x16 {
            return None;
        }
        reader.read_until(b'\n', &mut bytes).ok()?;
        String::from_utf8(bytes).ok().map(|text| text.trim_end().to_owned())
    };
    let first = line()?;
    let mut words = first.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let text = line()?;
        let Some((name, value)) = text.split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut request = Heard { method, path, headers, body: Vec::new() };
    let length = request.header("content-length").map_or(Some(0), |text| text.parse().ok())?;
    reader.take(length).read_to_end(&mut request.body).ok()?;
    Some(request)
}

fn send(mut stream: &TcpStream, pieces: Pieces) {
    for piece in pieces {
        let sent = match piece {
            Piece::Send(bytes) => stream.write_all(&bytes),
            Piece::Wait(time) => {
                std::thread::sleep(time);
                Ok(())
            }
            Piece::Until(go) => {
                // Bounded: a test that failed sets nothing.
                for _ in 0..6000 {
                    if go.load(Ordering::Relaxed) {
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(10));
                }
                Ok(())
            }
            Piece::Endless(bytes) => loop {
                if let Err(error) = stream.write_all(&bytes) {
                    break Err(error);
                }
            },
        };
        // The other side has enough.
        if sent.is_err() {
            return;
        }
    }
}
