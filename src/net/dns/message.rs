//! DNS messages: reading of questions from packets that nobody has checked, and writing of answers (RFC 1035, RFC 6891).

use std::net::IpAddr;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, PTR};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

/// Length of the header in bytes.
const HEADER: usize = 12;
/// Largest answer over UDP to a client without EDNS, in bytes (RFC 1035, 4.2.1).
const PLAIN_LIMIT: u16 = 512;
/// Largest answer of our own over UDP, in bytes: passes without fragments (DNS flag day 2020).
const OWN_LIMIT: u16 = 1232;
/// Most records after the question: OPT, and a signature of some kind.
const MOST_ADDITIONAL: u16 = 4;
/// Seconds for which a client may keep an answer: members come and go.
const TTL: u32 = 5;
/// Length in bytes of an AAAA record with a compressed name; A is shorter.
const ADDRESS_RECORD: usize = 28;

/// Largest question that is read, in bytes. Real ones have fewer than 1000: a name of 255 and options.
pub const MOST_QUESTION: usize = 4096;

/// Transport of a question, which is also the transport of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsTransport {
    /// A packet for each message.
    Udp,
    /// Messages with their length before them.
    Tcp,
}

/// Reason for not treating a packet as a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NoQuestion {
    /// No question at all, such as an answer: silence, lest two responders talk to each other forever.
    Ignored,
    /// Refused with this answer.
    Refused(Vec<u8>),
}

/// Question with all that its answer depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsQuestion {
    id: u16,
    query: Query,
    recursion_desired: bool,
    checking_disabled: bool,
    edns: Option<ClientEdns>,
    transport: DnsTransport,
    /// Question section as received: the answer of a server has the same.
    section: Vec<u8>,
}

/// EDNS settings of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ClientEdns {
    payload: u16,
    dnssec_ok: bool,
}

/// Header of any packet: ID, flags, and the counts of questions, answers, authorities and additional records.
struct RawHeader {
    id: u16,
    flags: u16,
    counts: [u16; 4],
}

const IS_ANSWER: u16 = 0x8000;
const OPCODE: u16 = 0x7800;
const RECURSION_DESIRED: u16 = 0x0100;
const CODE: u16 = 0x000f;

impl RawHeader {
    fn read(packet: &[u8]) -> Option<Self> {
        let header = packet.get(..HEADER)?;
        let word = |index: usize| u16::from_be_bytes([header[index], header[index + 1]]);
        Some(Self { id: word(0), flags: word(2), counts: [word(4), word(6), word(8), word(10)] })
    }

    /// Builds an answer of the header alone: not longer than any question, so nobody gains by a forged source.
    fn refuse(&self, code: ResponseCode) -> NoQuestion {
        let flags =
            IS_ANSWER | self.flags & (OPCODE | RECURSION_DESIRED) | u16::from(code.low()) & CODE;
        let mut answer = [self.id.to_be_bytes(), flags.to_be_bytes()].concat();
        answer.resize(HEADER, 0);
        NoQuestion::Refused(answer)
    }
}

impl DnsQuestion {
    /// Reads the question of a packet.
    pub(super) fn read(packet: &[u8], transport: DnsTransport) -> Result<Self, NoQuestion> {
        let header = RawHeader::read(packet).ok_or(NoQuestion::Ignored)?;
        if header.flags & IS_ANSWER != 0 {
            return Err(NoQuestion::Ignored);
        }
        if header.flags & OPCODE != 0 {
            return Err(header.refuse(ResponseCode::NotImp));
        }
        // Before the reader makes room for as many records as the header claims.
        let [questions, answers, authorities, additional] = header.counts;
        let is_plausible = questions == 1 && answers == 0 && authorities == 0;
        if !is_plausible || additional > MOST_ADDITIONAL || packet.len() > MOST_QUESTION {
            return Err(header.refuse(ResponseCode::FormErr));
        }
        let question = Self::read_plausible(packet, transport);
        let (question, version) = question.ok_or_else(|| header.refuse(ResponseCode::FormErr))?;
        if version > 0 {
            return Err(NoQuestion::Refused(question.answer_code(ResponseCode::BADVERS)));
        }
        Ok(question)
    }

    /// Reads the question and the client's version of EDNS. `None`: malformed.
    fn read_plausible(packet: &[u8], transport: DnsTransport) -> Option<(Self, u8)> {
        let mut decoder = BinDecoder::new(packet);
        let message = Message::read(&mut decoder).ok()?;
        if !decoder.is_empty() {
            return None;
        }
        let [query] = <[Query; 1]>::try_from(message.queries).ok()?;
        // Type and class follow the name. A shorter section has a name with a pointer, into the header.
        let name = query.name().iter().map(|label| 1 + label.len()).sum::<usize>() + 1;
        let section = packet.get(HEADER..HEADER + name + 4)?;
        if Query::read(&mut BinDecoder::new(section)).ok()? != query {
            return None;
        }
        let edns = message.edns.as_ref().map(|edns| ClientEdns {
            payload: edns.max_payload(),
            dnssec_ok: edns.flags().dnssec_ok,
        });
        let question = Self {
            id: message.metadata.id,
            query,
            recursion_desired: message.metadata.recursion_desired,
            checking_disabled: message.metadata.checking_disabled,
            edns,
            transport,
            section: section.to_vec(),
        };
        Some((question, message.edns.map_or(0, |edns| edns.version())))
    }

    /// Returns the type of the records asked for.
    pub(super) fn kind(&self) -> RecordType {
        self.query.query_type()
    }

    /// Returns the transport of the question.
    pub(super) fn transport(&self) -> DnsTransport {
        self.transport
    }

    /// True if the question is about the Internet's names: all others are no business of ours.
    pub(super) fn is_internet(&self) -> bool {
        self.query.query_class() == DNSClass::IN
    }

    /// Returns the name in lower case, without the last dot. `None`: no name that a container can have.
    pub(super) fn host_name(&self) -> Option<String> {
        let mut text = String::new();
        for label in self.query.name().iter() {
            if !label.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'.') {
                return None;
            }
            let separator = if text.is_empty() { "" } else { "." };
            text.push_str(separator);
            text.extend(label.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
        }
        (!text.is_empty()).then_some(text)
    }

    /// Returns the address whose name is asked for: a full name in in-addr.arpa or ip6.arpa.
    pub(super) fn reverse_address(&self) -> Option<IpAddr> {
        let net = self.query.name().parse_arpa_name().ok()?;
        (net.prefix_len() == net.max_prefix_len()).then(|| net.addr())
    }

    /// Returns the size of the largest answer that the client takes, in bytes.
    pub fn limit(&self) -> usize {
        match (self.transport, self.edns) {
            (DnsTransport::Tcp, _) => u16::MAX.into(),
            (DnsTransport::Udp, None) => PLAIN_LIMIT.into(),
            (DnsTransport::Udp, Some(edns)) => edns.payload.max(PLAIN_LIMIT).into(),
        }
    }

    /// Builds an answer without records.
    pub(super) fn answer_code(&self, code: ResponseCode) -> Vec<u8> {
        let mut message = self.response();
        message.metadata.response_code = code;
        self.encode(message)
    }

    /// Builds the answer for a local name with these addresses: those of the family asked for, if any.
    pub(super) fn answer_addresses(&self, addresses: &[IpAddr]) -> Vec<u8> {
        let data = addresses.iter().filter_map(|address| match (address, self.kind()) {
            (IpAddr::V4(address), RecordType::A) => Some(RData::A(A(*address))),
            (IpAddr::V6(address), RecordType::AAAA) => Some(RData::AAAA(AAAA(*address))),
            _ => None,
        });
        self.answer_data(data)
    }

    /// Builds the answer for a local address with this name: without records if no PTR was asked for.
    pub(super) fn answer_name(&self, name: &str) -> Vec<u8> {
        let labels = name.trim_end_matches('.').split('.').map(str::as_bytes);
        let name = Name::from_labels(labels).ok();
        let data = name.filter(|_| self.kind() == RecordType::PTR);
        self.answer_data(data.map(|name| RData::PTR(PTR(name))))
    }

    fn answer_data(&self, data: impl IntoIterator<Item = RData>) -> Vec<u8> {
        let mut message = self.response();
        message.metadata.authoritative = true;
        let owner = self.query.name();
        message
            .add_answers(data.into_iter().map(|data| Record::from_rdata(owner.clone(), TTL, data)));
        self.encode(message)
    }

    /// Builds the answer that tells the client to ask again over TCP.
    fn answer_truncated(&self) -> Vec<u8> {
        let mut message = self.response();
        message.metadata.truncation = true;
        self.encode(message)
    }

    fn response(&self) -> Message {
        let mut message = Message::new(self.id, MessageType::Response, OpCode::Query);
        message.metadata.recursion_desired = self.recursion_desired;
        message.metadata.recursion_available = true;
        message.metadata.checking_disabled = self.checking_disabled;
        message.add_query(self.query.clone());
        if let Some(client) = self.edns {
            let mut edns = Edns::new();
            edns.set_max_payload(OWN_LIMIT);
            edns.set_dnssec_ok(client.dnssec_ok);
            message.set_edns(edns);
        }
        message
    }

    /// Encodes an answer. As many records are left as fit: a client that cannot ask over TCP has these at least.
    fn encode(&self, mut message: Message) -> Vec<u8> {
        let limit = match self.transport {
            DnsTransport::Tcp => self.limit(),
            DnsTransport::Udp => self.limit().min(OWN_LIMIT.into()),
        };
        loop {
            let bytes = message.to_vec().unwrap_or_default();
            let excess = bytes.len().saturating_sub(limit);
            if excess == 0 && !bytes.is_empty() || message.answers.is_empty() {
                return bytes;
            }
            message.metadata.truncation = true;
            let left = message.answers.len().saturating_sub((excess / ADDRESS_RECORD).max(1));
            message.answers.truncate(left);
        }
    }

    /// True if `packet` is a server's answer to this question, asked with this ID. Some servers leave out the question
    /// when they report an error.
    pub fn is_answered_by(&self, packet: &[u8], id: u16) -> bool {
        let Some(header) = RawHeader::read(packet) else { return false };
        if header.id != id || header.flags & IS_ANSWER == 0 || header.flags & OPCODE != 0 {
            return false;
        }
        match header.counts[0] {
            0 => header.flags & CODE != 0,
            1 => packet.get(HEADER..HEADER + self.section.len()).is_some_and(|section| {
                // Letters of either case in the name, but not in type and class.
                let (name, rest) = self.section.split_at(self.section.len() - 4);
                let (name_there, rest_there) = section.split_at(name.len());
                rest == rest_there && name.eq_ignore_ascii_case(name_there)
            }),
            _ => false,
        }
    }

    /// Makes a server's answer ours: with the client's ID, and not longer than the client takes. The answer has a
    /// header.
    pub fn pass_on(&self, mut answer: Vec<u8>) -> Vec<u8> {
        if answer.len() > self.limit() {
            return self.answer_truncated();
        }
        set_id(&mut answer, self.id);
        answer
    }
}

/// Sets the ID of a message that has a header.
pub(super) fn set_id(message: &mut [u8], id: u16) {
    message[..2].copy_from_slice(&id.to_be_bytes());
}

/// Returns the code of an answer that has a header.
pub(super) fn code_of(answer: &[u8]) -> ResponseCode {
    ResponseCode::from(0, answer[3] & CODE as u8)
}
