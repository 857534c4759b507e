//! Answers for local names and addresses.

use super::*;

#[test]
fn a_name_has_its_addresses_in_either_case() {
    let served = Served::start(Upstream::None);
    for name in ["web_1", "WEB_1.", "Web_1"] {
        let answer = served.ask(name, RecordType::A);
        assert_eq!(addresses(&answer), ["10.89.0.2"]);
        assert_eq!(addresses(&served.ask(name, RecordType::AAAA)), ["fd00:89::2"]);
        // The client checks the letters that it chose (draft-vixie-dnsext-dns0x20).
        assert!(answer.queries[0].name().to_ascii().starts_with(name), "{answer}");
        assert!(answer.answers[0].name.eq_case(answer.queries[0].name()));
        assert!(answer.metadata.authoritative && answer.metadata.recursion_available);
        assert!(answer.metadata.recursion_desired && answer.edns.is_none());
    }
    assert_eq!(addresses(&served.ask("a.dotted.name", RecordType::A)), ["10.89.0.4"]);
    assert_eq!(addresses(&served.ask("me", RecordType::A)), ["127.0.0.1"]);
}

#[test]
fn a_name_without_records_of_a_type_exists() {
    let served = Served::start(Upstream::None);
    let kinds = [RecordType::AAAA, RecordType::ANY, RecordType::MX, RecordType::HTTPS];
    for kind in kinds {
        let answer = served.ask("web_2", kind);
        assert_eq!((code(&answer), answer.answers.len()), (ResponseCode::NoError, 0), "{kind}");
    }
}

#[test]
fn several_addresses_come_in_changing_order() {
    let served = Served::start(Upstream::None);
    let mut firsts = std::collections::BTreeSet::new();
    // By chance all are equal once in 2^99 runs.
    for _ in 0..100 {
        let answer = served.ask("web", RecordType::A);
        let mut all = addresses(&answer);
        firsts.insert(all[0].clone());
        all.sort();
        assert_eq!(all, ["10.89.0.2", "10.89.0.3"]);
    }
    assert_eq!(firsts.len(), 2);
}

#[test]
fn addresses_have_names() {
    let server = Upstreams::answering("1.2.3.4");
    let served = Served::start(Upstreams::upstream(&[&server]));
    let v6 = "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.9.8.0.0.0.0.d.f.ip6.ARPA";
    for name in ["2.0.89.10.in-addr.arpa.", v6] {
        let answer = served.ask(name, RecordType::PTR);
        let RData::PTR(name) = &answer.answers[0].data else { panic!("{answer}") };
        assert_eq!(name.to_ascii(), "web_1.");
        assert!(served.ask("2.0.89.10.in-addr.arpa.", RecordType::A).answers.is_empty());
    }
    let answer = served.ask("9.0.89.10.in-addr.arpa.", RecordType::PTR);
    assert_eq!(code(&answer), ResponseCode::NXDomain);
    assert_eq!(server.count(), 0);
    served.ask("9.1.89.10.in-addr.arpa.", RecordType::PTR);
    served.ask("89.10.in-addr.arpa.", RecordType::SOA);
    assert_eq!(server.count(), 2);
}

#[test]
fn without_servers_other_names_do_not_exist() {
    let served = Served::start(Upstream::None);
    assert_eq!(code(&served.ask("example.org", RecordType::A)), ResponseCode::NXDomain);
    assert_eq!(code(&served.ask(".", RecordType::NS)), ResponseCode::NXDomain);
}

#[test]
fn an_answer_over_udp_is_as_long_as_the_client_takes() {
    let served = Served::start(Upstream::None);
    let client = served.client();
    let plain = question("many", RecordType::A);
    let mut counts = Vec::new();
    for (message, most) in [
        (plain.clone(), 512),
        (with_edns(plain.clone(), 100), 512),
        (with_edns(plain.clone(), 700), 700),
        (with_edns(plain.clone(), 4096), 1232),
    ] {
        client.send(&message.to_vec().unwrap()).unwrap();
        let mut room = [0; 65535];
        let length = client.recv(&mut room).unwrap();
        // No room is wasted: a record has 16 bytes.
        assert!(length <= most && length + 16 > most, "{length} of {most}");
        let answer = Message::from_vec(&room[..length]).unwrap();
        assert!(answer.metadata.truncation);
        assert_eq!(answer.edns.is_some(), message.edns.is_some());
        counts.push(answer.answers.len());
    }
    assert_eq!(counts, [30, 29, 41, 74]);
    let mut stream = served.connect();
    send_frame(&mut stream, &plain.to_vec().unwrap());
    let answer = Message::from_vec(&receive_frame(&mut stream)).unwrap();
    assert_eq!((answer.answers.len(), answer.metadata.truncation), (200, false));
}

#[test]
fn a_newer_version_of_edns_is_refused() {
    let served = Served::start(Upstream::None);
    let mut message = with_edns(question("web", RecordType::A), 1232);
    message.edns.as_mut().unwrap().set_version(1).set_dnssec_ok(true);
    let answer = exchange(&served.client(), &message);
    // BADVERS has the number of BADSIG.
    assert_eq!(u16::from(code(&answer)), 16);
    let edns = answer.edns.unwrap();
    assert_eq!((edns.version(), edns.flags().dnssec_ok), (0, true));
}

#[test]
fn ipv6_clients_are_answered() {
    let host = HostServers::new("/nonexistent".into(), 1);
    let served = Served::over(host, "::1", Upstream::None);
    assert_eq!(addresses(&served.ask("me", RecordType::AAAA)), ["::1"]);
}

#[test]
fn ten_thousand_questions_lose_no_answer() {
    const WINDOW: usize = 64;
    let served = Served::start(Upstream::None);
    let client = served.client();
    let mut message = question("web_1", RecordType::A);
    let mut answered = std::collections::BTreeSet::new();
    for id in 0..10_000 {
        message.metadata.id = id;
        client.send(&message.to_vec().unwrap()).unwrap();
        while usize::from(id) >= answered.len() + WINDOW {
            answered.insert(receive(&client).metadata.id);
        }
    }
    while answered.len() < 10_000 {
        answered.insert(receive(&client).metadata.id);
    }
}

#[test]
fn detached_sockets_serve_again_elsewhere() {
    let served = Served::start(Upstream::None);
    let (udp, tcp) = (served.udp, served.tcp);
    let mut first = served.stop();
    assert_eq!(first.networks().collect::<Vec<_>>(), ["net"]);
    assert!(first.detach("other").is_none());
    let fds = first.detach("net").unwrap().into_fds();
    assert_eq!(first.networks().count(), 0);
    let mut second = Responder::new("/nonexistent").unwrap();
    second.attach("net", DnsSockets::from_fds(fds.into_iter().rev()).unwrap()).unwrap();
    let mut names = Names::new(Upstream::None);
    let client = client_of(ip("127.0.0.1"), udp);
    let message = question("web_1", RecordType::A).to_vec().unwrap();
    client.send(&message).unwrap();
    let mut stream = TcpStream::connect(tcp).unwrap();
    send_frame(&mut stream, &message);
    // Accepted, read, answered; the old responder must not take them.
    for _ in 0..10 {
        first.turn(&mut names);
        drive(&mut second, &mut names);
    }
    assert_eq!(addresses(&receive(&client)), ["10.89.0.2"]);
    let answer = Message::from_vec(&receive_frame(&mut stream)).unwrap();
    assert_eq!(addresses(&answer), ["10.89.0.2"]);
}

#[test]
fn responders_share_an_address() {
    let (one, udp, tcp) = sockets("127.0.0.1");
    let others = [DnsSockets::bind(&[udp]).unwrap(), DnsSockets::bind(&[tcp]).unwrap()];
    drop(others);
    let mut responder = Responder::new("/nonexistent").unwrap();
    responder.attach("net", one).unwrap();
    let client = client_of(ip("127.0.0.1"), udp);
    client.send(&question("web_1", RecordType::A).to_vec().unwrap()).unwrap();
    for _ in 0..3 {
        drive(&mut responder, &mut Names::new(Upstream::None));
    }
    assert_eq!(addresses(&receive(&client)), ["10.89.0.2"]);
}
