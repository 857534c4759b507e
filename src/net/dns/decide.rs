//! Decision on a single packet: silence, an answer, or a question to a server. No input or output.

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;

use super::directory::{Asker, Directory, ReverseName, Upstream};
use super::message::{DnsQuestion, DnsTransport, NoQuestion};

/// Reaction to a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No answer.
    Ignore,
    /// Answer at once.
    Answer(Vec<u8>),
    /// Question for these servers, which are not [`Upstream::None`].
    Relay(DnsQuestion, Upstream),
}

/// Decides on a packet of a client. Several addresses of one name are rotated by `rotation` places.
pub fn decide(
    packet: &[u8],
    transport: DnsTransport,
    asker: Asker<'_>,
    directory: &mut impl Directory,
    rotation: u64,
) -> Verdict {
    let question = match DnsQuestion::read(packet, transport) {
        Ok(question) => question,
        Err(NoQuestion::Ignored) => return Verdict::Ignore,
        Err(NoQuestion::Refused(answer)) => return Verdict::Answer(answer),
    };
    // A transfer is an answer of many messages, and nobody transfers zones through a stub.
    if matches!(question.kind(), RecordType::AXFR | RecordType::IXFR) {
        return Verdict::Answer(question.answer_code(ResponseCode::Refused));
    }
    let local = if question.is_internet() {
        answer_locally(&question, asker, directory, rotation)
    } else {
        None
    };
    if let Some(answer) = local {
        return Verdict::Answer(answer);
    }
    match directory.upstream(asker) {
        Upstream::None => Verdict::Answer(question.answer_code(ResponseCode::NXDomain)),
        upstream => Verdict::Relay(question, upstream),
    }
}

/// Answers from the directory. `None`: neither name nor address is local. A name without a dot is no exception: docker
/// asks the servers for it too. Hosts of the site may have such names.
fn answer_locally(
    question: &DnsQuestion,
    asker: Asker<'_>,
    directory: &mut impl Directory,
    rotation: u64,
) -> Option<Vec<u8>> {
    if let Some(address) = question.reverse_address() {
        return match directory.name_of(asker, address) {
            ReverseName::Known(name) => Some(question.answer_name(&name)),
            ReverseName::Unknown => Some(question.answer_code(ResponseCode::NXDomain)),
            ReverseName::Foreign => None,
        };
    }
    let mut addresses = directory.addresses(asker, &question.host_name()?)?;
    if !addresses.is_empty() {
        let places = rotation % addresses.len() as u64;
        addresses.rotate_left(places as usize);
    }
    Some(question.answer_addresses(&addresses))
}
