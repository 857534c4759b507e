//! Questions to servers.

use super::*;

#[test]
fn other_names_are_asked_of_the_server_as_they_are() {
    let server = Upstreams::answering("1.2.3.4");
    let served = Served::start(Upstreams::upstream(&[&server]));
    let client = served.client();
    for name in ["Example.ORG", "single"] {
        let sent = with_edns(question(name, RecordType::A), 1400);
        let answer = exchange(&client, &sent);
        assert_eq!(addresses(&answer), ["1.2.3.4"]);
        assert_eq!(answer.answers[0].ttl, 300);
        let seen = server.seen.lock().unwrap().last().unwrap().0.clone();
        assert_eq!(seen[2..], sent.to_vec().unwrap()[2..]);
    }
    let answer = served.ask("example.org", RecordType::TXT);
    assert_eq!(answer.queries[0].query_type(), RecordType::TXT);
}

#[test]
fn each_question_has_an_id_and_a_port_of_its_own() {
    let server = Upstreams::answering("1.2.3.4");
    let served = Served::start(Upstreams::upstream(&[&server]));
    for _ in 0..50 {
        served.ask("example.org", RecordType::A);
    }
    let seen = server.seen.lock().unwrap();
    let ids: std::collections::BTreeSet<_> =
        seen.iter().map(|(packet, _)| [packet[0], packet[1]]).collect();
    let ports: std::collections::BTreeSet<_> = seen.iter().map(|(_, port)| port).collect();
    // 50 of 65536: fewer than 45 different ones come by chance in no lifetime.
    assert!(ids.len() > 45 && ports.len() > 40, "{} {}", ids.len(), ports.len());
}

#[test]
fn forged_answers_are_not_believed() {
    let server = Upstreams::start(|packet| {
        let honest = answer_to(packet, "1.2.3.4");
        let forged = answer_to(packet, "6.6.6.6");
        let mut wrong_id = forged.clone();
        wrong_id.metadata.id ^= 1;
        let mut wrong_name = forged.clone();
        wrong_name.queries[0].set_name(Name::from_ascii("evil.org.").unwrap());
        let mut wrong_type = forged.clone();
        wrong_type.queries[0].set_query_type(RecordType::from(0x21));
        let mut no_answer = forged.clone();
        no_answer.metadata.message_type = MessageType::Query;
        let mut no_question = forged.clone();
        no_question.queries.clear();
        let mut two_questions = forged.clone();
        two_questions.queries.push(forged.queries[0].clone());
        let forged = [wrong_id, wrong_name, wrong_type, no_answer, no_question, two_questions];
        let forged = forged.iter().map(|message| message.to_vec().unwrap());
        forged.chain([packet[..11].to_vec(), Vec::new(), honest.to_vec().unwrap()]).collect()
    });
    let served = Served::start(Upstreams::upstream(&[&server]));
    assert_eq!(addresses(&served.ask("example.org", RecordType::A)), ["1.2.3.4"]);
}

#[test]
fn packets_of_others_are_no_answers() {
    let server = Upstreams::start(|packet| vec![packet.to_vec()]);
    let served = Served::start(Upstreams::upstream(&[&server]));
    let client = served.client();
    client.send(&question("example.org", RecordType::A).to_vec().unwrap()).unwrap();
    while server.count() == 0 {
        std::thread::yield_now();
    }
    let (packet, port) = server.seen.lock().unwrap()[0].clone();
    let forged = answer_to(&packet, "6.6.6.6").to_vec().unwrap();
    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    other.send_to(&forged, ("127.0.0.1", port)).unwrap();
    // The server repeats the question, which is no answer: no server has one in the end.
    assert_eq!(code(&receive(&client)), ResponseCode::ServFail);
}

#[test]
fn the_next_server_is_asked_when_one_does_not_help() {
    let good = Upstreams::answering("1.2.3.4");
    let silent = Upstreams::silent();
    let gone = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let failing = [ResponseCode::ServFail, ResponseCode::Refused]
        .map(|code| Upstreams::start(move |packet| vec![code_to(packet, code).to_vec().unwrap()]));
    for bad in [silent.address, gone, failing[0].address, failing[1].address] {
        let served = Served::start(Upstream::Servers(vec![bad, good.address]));
        assert_eq!(addresses(&served.ask("example.org", RecordType::A)), ["1.2.3.4"]);
    }
    let served =
        Served::start(Upstreams::upstream(&[&failing[1], &failing[0], &failing[1], &good]));
    let answer = served.ask("example.org", RecordType::A);
    assert_eq!(code(&answer), ResponseCode::ServFail, "three servers are asked");
}

#[test]
fn a_lost_packet_is_sent_again_to_a_single_server() {
    let lost = AtomicBool::new(false);
    let server = Upstreams::start(move |packet| match lost.swap(true, Ordering::Relaxed) {
        false => Vec::new(),
        true => vec![answer_to(packet, "1.2.3.4").to_vec().unwrap()],
    });
    let served = Served::start(Upstreams::upstream(&[&server]));
    assert_eq!(addresses(&served.ask("example.org", RecordType::A)), ["1.2.3.4"]);
}

#[test]
fn errors_of_names_are_passed_on() {
    let server =
        Upstreams::start(|packet| vec![code_to(packet, ResponseCode::NXDomain).to_vec().unwrap()]);
    let served = Served::start(Upstreams::upstream(&[&server]));
    assert_eq!(code(&served.ask("none.org", RecordType::A)), ResponseCode::NXDomain);
    assert_eq!(server.count(), 1);
    // An old server, which repeats no question.
    let server = Upstreams::start(|packet| {
        let mut answer = code_to(packet, ResponseCode::FormErr);
        answer.queries.clear();
        vec![answer.to_vec().unwrap()]
    });
    let served = Served::start(Upstreams::upstream(&[&server]));
    assert_eq!(code(&served.ask("example.org", RecordType::A)), ResponseCode::FormErr);
}

#[test]
fn an_answer_too_long_for_the_client_is_asked_for_over_tcp() {
    let server = Upstreams::start(|packet| {
        let mut answer = answer_to(packet, "1.2.3.4");
        let record = answer.answers[0].clone();
        answer.add_answers(std::iter::repeat_n(record, 99));
        vec![answer.to_vec().unwrap()]
    });
    let served = Served::start(Upstreams::upstream(&[&server]));
    let client = served.client();
    let answer = exchange(&client, &question("example.org", RecordType::A));
    assert!(answer.metadata.truncation && answer.answers.is_empty());
    let whole = exchange(&client, &with_edns(question("example.org", RecordType::A), 4096));
    assert_eq!((whole.metadata.truncation, whole.answers.len()), (false, 100));
    let mut stream = served.connect();
    send_frame(&mut stream, &question("example.org", RecordType::A).to_vec().unwrap());
    let answer = Message::from_vec(&receive_frame(&mut stream)).unwrap();
    assert_eq!((answer.metadata.id, answer.answers.len()), (0x1234, 100));
}

#[test]
fn the_hosts_servers_are_those_of_its_file_now() {
    let (one, two) = (Upstreams::answering("1.1.1.1"), "127.0.0.2");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("resolv.conf");
    let port = one.address.port();
    let other = UdpSocket::bind((ip(two), port)).unwrap();
    other.set_read_timeout(Some(PATIENCE)).unwrap();
    std::fs::write(&path, "nameserver 127.0.0.1\n").unwrap();
    let served = Served::over(HostServers::new(path.clone(), port), "127.0.0.1", Upstream::Host);
    assert_eq!(addresses(&served.ask("example.org", RecordType::A)), ["1.1.1.1"]);
    std::fs::write(&path, format!("nameserver {two}\n")).unwrap();
    let client = served.client();
    client.send(&question("example.org", RecordType::A).to_vec().unwrap()).unwrap();
    let mut room = [0; 512];
    let (length, from) = other.recv_from(&mut room).unwrap();
    other.send_to(&answer_to(&room[..length], "2.2.2.2").to_vec().unwrap(), from).unwrap();
    assert_eq!(addresses(&receive(&client)), ["2.2.2.2"]);
}

#[test]
fn transfers_are_refused() {
    let server = Upstreams::answering("1.2.3.4");
    let served = Served::start(Upstreams::upstream(&[&server]));
    for kind in [RecordType::AXFR, RecordType::IXFR] {
        assert_eq!(code(&served.ask("example.org", kind)), ResponseCode::Refused);
    }
    assert_eq!(server.count(), 0);
}
