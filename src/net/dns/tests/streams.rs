//! TCP connections of clients.

use super::*;

#[test]
fn a_connection_carries_several_questions_in_any_pieces() {
    let server = Upstreams::answering("1.2.3.4");
    let served = Served::start(Upstreams::upstream(&[&server]));
    let mut stream = served.connect();
    stream.set_nodelay(true).unwrap();
    let mut bytes = Vec::new();
    for id in 0..40 {
        let name = if id % 2 == 0 { "web_1" } else { "example.org" };
        let mut message = question(name, RecordType::A);
        message.metadata.id = id;
        let message = message.to_vec().unwrap();
        bytes.extend_from_slice(&(message.len() as u16).to_be_bytes());
        bytes.extend(message);
    }
    let mut rest = &bytes[..];
    for length in (1..).take_while(|length| *length < 50) {
        let (piece, left) = rest.split_at(length.min(rest.len()));
        stream.write_all(piece).unwrap();
        rest = left;
    }
    stream.write_all(rest).unwrap();
    // Answers of servers come later, so in another order (RFC 7766, 7).
    let mut answered = std::collections::BTreeSet::new();
    for _ in 0..40 {
        let answer = Message::from_vec(&receive_frame(&mut stream)).unwrap();
        let id = answer.metadata.id;
        let expected = if id.is_multiple_of(2) { "10.89.0.2" } else { "1.2.3.4" };
        assert_eq!(addresses(&answer), [expected]);
        answered.insert(id);
    }
    assert_eq!(answered.len(), 40);
}

#[test]
fn a_client_that_asks_no_more_gets_its_answers_first() {
    let server = Upstreams::answering("1.2.3.4");
    let served = Served::start(Upstreams::upstream(&[&server]));
    let mut stream = served.connect();
    send_frame(&mut stream, &question("example.org", RecordType::A).to_vec().unwrap());
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let answer = Message::from_vec(&receive_frame(&mut stream)).unwrap();
    assert_eq!(addresses(&answer), ["1.2.3.4"]);
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_frame_longer_than_any_question_ends_the_connection() {
    let served = Served::start(Upstream::None);
    let mut stream = served.connect();
    stream.write_all(&[0xff, 0xff, 1, 2, 3]).unwrap();
    assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)));
    assert_eq!(addresses(&served.ask("web_1", RecordType::A)), ["10.89.0.2"]);
}

#[test]
fn a_client_that_fetches_no_answers_is_not_read_from() {
    let served = Served::start(Upstream::None);
    let mut stream = served.connect();
    stream.set_nonblocking(true).unwrap();
    let message = question("many", RecordType::A).to_vec().unwrap();
    let frame = [&(message.len() as u16).to_be_bytes()[..], &message].concat();
    let mut sent = 0;
    // 3 KB of answers for 22 bytes of a question: the buffers of the kernel are full some time.
    let blocked = loop {
        match stream.write(&frame) {
            Ok(length) if length == frame.len() => sent += 1,
            Ok(_) => break true,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break true,
            Err(_) => break false,
        }
        assert!(sent < 10_000_000);
    };
    assert!(blocked, "the connection is held");
    assert_eq!(addresses(&served.ask("web_1", RecordType::A)), ["10.89.0.2"]);
}

#[test]
fn a_client_of_one_address_has_sixteen_connections() {
    let served = Served::start(Upstream::None);
    let message = question("web_1", RecordType::A).to_vec().unwrap();
    let mut streams: Vec<_> = (0..20).map(|_| served.connect()).collect();
    let mut last = streams.pop().unwrap();
    send_frame(&mut last, &message);
    receive_frame(&mut last);
    for (index, mut stream) in streams.into_iter().enumerate() {
        if index < 4 {
            assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)), "{index}");
        } else {
            send_frame(&mut stream, &message);
            receive_frame(&mut stream);
        }
    }
}

#[test]
fn a_server_that_breaks_off_is_followed_by_the_next() {
    let mut cut = vec![0; 20];
    cut[..2].copy_from_slice(b"xx");
    let bad = Upstreams::start(move |_| vec![cut.clone()]);
    let none = Upstreams::silent();
    let good = Upstreams::answering("1.2.3.4");
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for bad in [bad.address, none.address, gone] {
        let served = Served::start(Upstream::Servers(vec![bad, good.address]));
        let mut stream = served.connect();
        send_frame(&mut stream, &question("example.org", RecordType::A).to_vec().unwrap());
        let answer = Message::from_vec(&receive_frame(&mut stream)).unwrap();
        assert_eq!(addresses(&answer), ["1.2.3.4"]);
    }
}
