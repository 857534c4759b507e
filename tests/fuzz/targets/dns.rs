//! DNS packets: those of clients, and those of servers that should answer them.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use libfuzzer_sys::fuzz_target;
use usnea::net::dns::{Asker, Directory, DnsTransport, NameTable, ReverseName, Upstream, Verdict, decide};

struct Names(NameTable);

impl Directory for Names {
    fn addresses(&mut self, _: Asker<'_>, name: &str) -> Option<Vec<IpAddr>> {
        assert!(name.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase()));
        self.0.addresses(name).map(<[IpAddr]>::to_vec)
    }

    fn name_of(&mut self, _: Asker<'_>, address: IpAddr) -> ReverseName {
        self.0.name_of(address)
    }

    fn upstream(&mut self, _: Asker<'_>) -> Upstream {
        Upstream::Servers(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 53))])
    }
}

fuzz_target!(|bytes: &[u8]| {
    // The first byte chooses the transport, the second where a server's answer begins.
    let [choice, split, rest @ ..] = bytes else { return };
    let transport = if choice % 2 == 0 { DnsTransport::Udp } else { DnsTransport::Tcp };
    let (packet, answer) = rest.split_at(usize::from(*split).min(rest.len()));
    let packet = if *split == 0 { rest } else { packet };
    let mut table = NameTable::default();
    table.add_member(["web"], &[Ipv4Addr::new(10, 89, 0, 2).into(), Ipv6Addr::LOCALHOST.into()]);
    let many: Vec<_> = (0..=255).map(|last| Ipv4Addr::new(10, 90, 0, last).into()).collect();
    table.add("many", &many);
    table.add_subnet(Ipv4Addr::new(10, 0, 0, 0).into(), 8);
    let mut names = Names(table);
    let asker = Asker { network: "net", client: Ipv4Addr::LOCALHOST.into() };
    match decide(packet, transport, asker, &mut names, 1) {
        Verdict::Ignore => assert!(packet.len() < 12 || packet[2] & 0x80 != 0),
        Verdict::Answer(own) => {
            assert_eq!(own[..2], packet[..2]);
            assert!(transport == DnsTransport::Tcp || own.len() <= 1232);
            assert_eq!(decide(&own, transport, asker, &mut names, 1), Verdict::Ignore);
        }
        Verdict::Relay(question, _) => {
            let id = u16::from_be_bytes([packet[0], packet[1]]);
            assert!(!question.is_answered_by(packet, id));
            if question.is_answered_by(answer, id) {
                assert!(question.pass_on(answer.to_vec()).len() <= question.limit());
            }
        }
    }
});
