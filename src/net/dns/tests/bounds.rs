//! Bounds: what is held for clients does not grow.

use super::*;

/// Descriptors of this process that are sockets asking `server`.
fn asking(server: SocketAddr) -> usize {
    let peer = |number: &str| {
        let path = format!("/proc/self/fd/{number}");
        std::fs::read_link(path).ok().filter(|link| link.to_string_lossy().starts_with("socket:"))
    };
    let inodes: std::collections::BTreeSet<String> = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .flatten()
        .filter_map(|entry| peer(&entry.file_name().to_string_lossy()))
        .map(|link| {
            link.to_string_lossy().trim_start_matches("socket:[").trim_end_matches(']').to_owned()
        })
        .collect();
    let remote = format!("0100007F:{:04X}", server.port());
    let table = std::fs::read_to_string("/proc/self/net/udp").unwrap();
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    // A row may come twice when other sockets are closed between two reads.
    let asking = rows.filter(|row| row.get(2) == Some(&&*remote)).map(|row| row[9].to_owned());
    asking.collect::<std::collections::BTreeSet<_>>().intersection(&inodes).count()
}

#[test]
fn a_flood_displaces_the_floods_own_questions() {
    let server = Upstreams::start(|packet| {
        let message = Message::from_vec(packet).unwrap();
        let is_slow = message.queries[0].name().to_ascii().starts_with("flood");
        if is_slow { Vec::new() } else { vec![answer_to(packet, "1.2.3.4").to_vec().unwrap()] }
    });
    // Two servers, the first silent for all: every question waits.
    let silent = Upstreams::silent();
    let served = Served::start(Upstreams::upstream(&[&silent, &server]));
    let patient = client_of(ip("127.0.0.3"), served.udp);
    patient.send(&question("example.org", RecordType::A).to_vec().unwrap()).unwrap();
    let flood = client_of(ip("127.0.0.2"), served.udp);
    let mut message = question("flood.org", RecordType::A);
    let mut most = 0;
    for id in 0..400 {
        message.metadata.id = id;
        flood.send(&message.to_vec().unwrap()).unwrap();
        if id >= 128 {
            let answer = receive(&flood);
            assert_eq!((answer.metadata.id, code(&answer)), (id - 128, ResponseCode::ServFail));
            most = most.max(asking(silent.address));
        }
    }
    assert!(most <= 129, "{most} sockets");
    assert_eq!(addresses(&receive(&patient)), ["1.2.3.4"]);
}

#[test]
fn floods_of_many_clients_displace_the_oldest_questions() {
    let silent = Upstreams::silent();
    let served = Served::start(Upstreams::upstream(&[&silent]));
    let clients: Vec<_> =
        (1..=6).map(|n| client_of(ip(&format!("127.0.1.{n}")), served.udp)).collect();
    let mut message = question("flood.org", RecordType::A);
    // In turns, so that no client has more than its share: 600 questions for 512 places.
    for id in 0..100 {
        for client in &clients {
            message.metadata.id = id;
            client.send(&message.to_vec().unwrap()).unwrap();
        }
        // The kernel's buffers are not what is tested.
        while silent.count() < 6 * usize::from(id) {
            std::thread::yield_now();
        }
    }
    for client in &clients {
        for id in 0..14 {
            let answer = receive(client);
            assert_eq!((answer.metadata.id, code(&answer)), (id, ResponseCode::ServFail));
        }
    }
    assert!(asking(silent.address) <= 512);
}

#[test]
fn a_client_that_leaves_takes_its_questions_with_it() {
    let silent = Upstreams::silent();
    let (sockets, _, tcp) = sockets("127.0.0.1");
    let mut responder = Responder::over(HostServers::new("/nonexistent".into(), 1)).unwrap();
    responder.attach("net", sockets).unwrap();
    assert_eq!(responder.deadline(), None);
    let mut names = Names::new(Upstreams::upstream(&[&silent]));
    let mut stream = TcpStream::connect(tcp).unwrap();
    send_frame(&mut stream, &question("example.org", RecordType::A).to_vec().unwrap());
    while silent.count() == 0 {
        drive(&mut responder, &mut names);
    }
    assert!(responder.deadline().is_some());
    // Reset, not just closed: nobody reads an answer.
    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    drop(stream);
    while responder.deadline().is_some() {
        drive(&mut responder, &mut names);
    }
}

#[test]
fn an_idle_connection_has_an_end() {
    let (sockets, _, tcp) = sockets("127.0.0.1");
    let mut responder = Responder::over(HostServers::new("/nonexistent".into(), 1)).unwrap();
    responder.attach("net", sockets).unwrap();
    let before = Instant::now();
    let stream = TcpStream::connect(tcp).unwrap();
    let mut names = Names::new(Upstream::None);
    while responder.deadline().is_none() {
        drive(&mut responder, &mut names);
    }
    let end = responder.deadline().unwrap();
    assert!(end > before && end <= Instant::now() + Duration::from_secs(10));
    drop(stream);
    while responder.deadline().is_some() {
        drive(&mut responder, &mut names);
    }
}

#[test]
fn an_idle_responder_has_nothing_to_do() {
    let served = Served::start(Upstream::None);
    served.ask("web", RecordType::A);
    let responder = served.stop();
    assert_eq!(responder.deadline(), None);
    let mut fds = [PollFd::from_borrowed_fd(responder.as_fd(), PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    assert_eq!(poll(&mut fds, Some(&now)).unwrap(), 0);
}
