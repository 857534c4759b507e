//! Packets of any content.

use hickory_proto::rr::DNSClass;
use proptest::prelude::*;

use super::*;
use crate::net::dns::message::NoQuestion;
use crate::net::dns::{DnsQuestion, DnsTransport, Verdict, decide};

const ASKER: Asker<'static> =
    Asker { network: "net", client: IpAddr::V4(std::net::Ipv4Addr::LOCALHOST) };

fn verdict(packet: &[u8], transport: DnsTransport) -> Verdict {
    decide(packet, transport, ASKER, &mut Names::new(Upstream::Host), 0)
}

fn refusal(packet: &[u8]) -> ResponseCode {
    match verdict(packet, DnsTransport::Udp) {
        Verdict::Answer(answer) => {
            assert!(answer.len() <= packet.len(), "longer than the question");
            code(&Message::from_vec(&answer).unwrap())
        }
        other => panic!("{other:?}"),
    }
}

/// Checks what holds for every packet.
fn check(packet: &[u8], transport: DnsTransport) {
    match verdict(packet, transport) {
        Verdict::Ignore => assert!(packet.len() < 12 || packet[2] & 0x80 != 0),
        Verdict::Answer(answer) => {
            let message = Message::from_vec(&answer).expect("an answer that can be read");
            assert_eq!(message.metadata.message_type, MessageType::Response);
            assert_eq!(message.metadata.id.to_be_bytes(), packet[..2]);
            let limit = match (DnsQuestion::read(packet, transport), transport) {
                (_, DnsTransport::Tcp) => 65535,
                (Ok(question), DnsTransport::Udp) => question.limit().min(1232),
                (Err(_), DnsTransport::Udp) => 512,
            };
            assert!(answer.len() <= limit, "{} of {limit}", answer.len());
            assert_eq!(verdict(&answer, transport), Verdict::Ignore, "no answer to an answer");
        }
        Verdict::Relay(question, upstream) => {
            assert_eq!(upstream, Upstream::Host);
            assert!(packet.len() <= crate::net::dns::MOST_QUESTION);
            assert!(!question.is_answered_by(packet, message_id(packet)));
            let mut answer = packet.to_vec();
            answer[2] |= 0x80;
            assert!(question.is_answered_by(&answer, message_id(packet)));
            assert!(!question.is_answered_by(&answer, !message_id(packet)));
            answer.resize(70_000, 0);
            assert!(question.pass_on(answer).len() <= question.limit());
        }
    }
}

fn message_id(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[0], packet[1]])
}

#[test]
fn answers_get_no_answer() {
    let mut message = question("web", RecordType::A);
    message.metadata.message_type = MessageType::Response;
    let packet = message.to_vec().unwrap();
    assert_eq!(verdict(&packet, DnsTransport::Udp), Verdict::Ignore);
    assert_eq!(verdict(&packet[..11], DnsTransport::Udp), Verdict::Ignore);
    assert_eq!(verdict(&[], DnsTransport::Udp), Verdict::Ignore);
}

#[test]
fn other_operations_are_not_implemented() {
    for operation in [OpCode::Update, OpCode::Notify, OpCode::Status] {
        let mut message = question("web", RecordType::SOA);
        message.metadata.op_code = operation;
        assert_eq!(refusal(&message.to_vec().unwrap()), ResponseCode::NotImp);
    }
}

#[test]
fn malformed_questions_are_refused() {
    let plain = question("web", RecordType::A);
    let packet = plain.to_vec().unwrap();
    let mut two = plain.clone();
    two.add_query(plain.queries[0].clone());
    let mut none = plain.clone();
    none.queries.clear();
    let mut answered = plain.clone();
    let owner = Name::root();
    answered.add_answer(Record::from_rdata(owner, 1, RData::A(A([1, 2, 3, 4].into()))));
    let crowded = {
        let mut packet = packet.clone();
        packet[11] = 0xff;
        packet
    };
    let loops = {
        // The name is a pointer to itself.
        let mut packet = packet[..12].to_vec();
        packet.extend([0xc0, 12, 0, 1, 0, 1]);
        packet
    };
    let backward = {
        // The name continues in the header, which is zero there.
        let mut packet = packet[..12].to_vec();
        packet.extend([3, b'w', b'e', b'b', 0xc0, 10, 0, 1, 0, 1]);
        packet
    };
    let twice = {
        let mut packet = with_edns(plain.clone(), 1232).to_vec().unwrap();
        packet.extend_from_within(packet.len() - 11..);
        packet[11] = 2;
        packet
    };
    let trailing = [&packet[..], b"x"].concat();
    let long = [&packet[..], &[0; 5000]].concat();
    for packet in [
        two.to_vec().unwrap(),
        none.to_vec().unwrap(),
        answered.to_vec().unwrap(),
        crowded,
        loops,
        backward,
        twice,
        trailing,
        long,
        packet[..packet.len() - 1].to_vec(),
    ] {
        assert_eq!(refusal(&packet), ResponseCode::FormErr, "{packet:?}");
    }
}

#[test]
fn names_of_other_classes_and_odd_labels_are_not_local() {
    let mut chaos = question("web", RecordType::A);
    chaos.queries[0].set_query_class(DNSClass::CH);
    let mut odd = question("x", RecordType::A);
    let labels = [&b"a.dotted"[..], b"name"];
    odd.queries[0].set_name(Name::from_labels(labels).unwrap());
    let mut foreign = question("x", RecordType::A);
    foreign.queries[0].set_name(Name::from_labels([&b"w\xe9b"[..]]).unwrap());
    for message in [chaos, odd, foreign] {
        let verdict = verdict(&message.to_vec().unwrap(), DnsTransport::Udp);
        assert!(matches!(verdict, Verdict::Relay(..)), "{verdict:?}");
    }
    assert!(matches!(DnsQuestion::read(&[0; 12], DnsTransport::Udp), Err(NoQuestion::Refused(_))));
}

#[test]
fn hostile_packets_do_not_stop_the_responder() {
    let served = Served::start(Upstream::None);
    let client = served.client();
    let whole = with_edns(question("web", RecordType::A), 1232).to_vec().unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    for length in 0..whole.len() {
        client.send(&whole[..length]).unwrap();
    }
    client.send(&[0xff; 60_000]).unwrap();
    // No answer for those without a header, and one for each of the others.
    for _ in 12..whole.len() {
        assert_eq!(code(&receive(&client)), ResponseCode::FormErr);
    }
    assert_eq!(addresses(&exchange(&client, &question("web_2", RecordType::A))), ["10.89.0.3"]);
}

fn transport() -> impl Strategy<Value = DnsTransport> {
    prop_oneof![Just(DnsTransport::Udp), Just(DnsTransport::Tcp)]
}

prop_compose! {
    /// Question that may be well-formed, with any name, type and EDNS settings.
    fn likely_question()(
        id in any::<u16>(),
        labels in proptest::collection::vec(prop_oneof![
            "[a-zA-Z0-9_-]{1,63}".prop_map(String::into_bytes),
            proptest::collection::vec(any::<u8>(), 1..63),
            prop_oneof![Just("web"), Just("many"), Just("in-addr"), Just("arpa"), Just("10"), Just("ip6")]
                .prop_map(|label| label.as_bytes().to_vec()),
        ], 0..6),
        kind in prop_oneof![Just(1), Just(28), Just(12), Just(255), any::<u16>()],
        edns in proptest::option::of((any::<u16>(), 0u8..3, any::<bool>())),
    ) -> Vec<u8> {
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        let name = Name::from_labels(labels).unwrap_or_default();
        message.add_query(Query::query(name, RecordType::from(kind)));
        if let Some((payload, version, dnssec)) = edns {
            let mut edns = Edns::new();
            edns.set_max_payload(payload).set_version(version).set_dnssec_ok(dnssec);
            message.set_edns(edns);
        }
        message.to_vec().unwrap()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_get_one_answer_at_most(
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
        transport in transport(),
    ) {
        check(&bytes, transport);
    }

    #[test]
    fn any_question_gets_one_answer_that_fits(packet in likely_question(), transport in transport()) {
        check(&packet, transport);
    }

    #[test]
    fn damaged_questions_get_one_answer_at_most(
        packet in likely_question(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        transport in transport(),
    ) {
        let mut packet = packet;
        for (at, byte) in damage {
            let at = at.index(packet.len());
            packet[at] = byte;
        }
        check(&packet, transport);
    }

    #[test]
    fn questions_over_sockets_get_one_answer(packets in proptest::collection::vec(likely_question(), 1..20)) {
        // Shared by all cases: each server has a thread and sockets of its own.
        static SERVED: std::sync::LazyLock<Served> = std::sync::LazyLock::new(|| Served::start(Upstream::None));
        let client = SERVED.client();
        for packet in &packets {
            client.send(packet).unwrap();
        }
        let mut room = [0; 65535];
        for packet in &packets {
            let length = client.recv(&mut room).expect("an answer");
            prop_assert_eq!(&room[..2], &packet[..2]);
            prop_assert!(length <= 1232);
        }
        client.set_nonblocking(true).unwrap();
        prop_assert!(client.recv(&mut room).is_err());
    }
}
