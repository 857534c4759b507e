//! Attach protocol: requests of clients and messages of the monitor, alone and by a socket.
#![no_main]

use libfuzzer_sys::fuzz_target;
use usnea::monitor::clients::Clients;
use usnea::monitor::log::Source;
use usnea::monitor::protocol::{self, MonitorMessage, Pace, Request};

fuzz_target!(|packets: Vec<&[u8]>| {
    let (ours, theirs) = protocol::pair().expect("a socket pair");
    let mut clients = Clients::default();
    clients.add(theirs, Some(Pace::Waits));
    let mut room = [0; 4096];
    for packet in packets {
        if let Some(request) = Request::parse(packet) {
            assert_eq!(request.bytes(), packet);
        }
        if let Some(message) = MonitorMessage::parse(packet) {
            assert_eq!(message.bytes(), packet);
        }
        if protocol::send(&ours, packet).is_err() {
            return;
        }
        drop(clients.hear(0, &mut room));
        clients.tell(Source::Error, packet);
        clients.flush(0);
        clients.tell_end(packet.len() as u8);
    }
});
