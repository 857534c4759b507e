//! Frames of a spread, and lists of hosts: a frame that is read is sent as the same bytes, and the ledger takes any order.
#![no_main]

use libfuzzer_sys::fuzz_target;
use usnea::image::spread::frame::{HEADER, SpreadFrame};
use usnea::image::spread::host_list;
use usnea::image::spread::ledger::{Ledger, LedgerCursor};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(hosts) = std::str::from_utf8(bytes).map(host_list::expand)
        && let Ok(hosts) = hosts
    {
        assert!(!hosts.is_empty() && hosts.len() <= host_list::MOST_HOSTS);
    }
    let (ledger, mut rest) = (Ledger::default(), bytes);
    // The length has two bytes here.
    while let [kind, a, b, content @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*a, *b])).min(content.len());
        let (content, next) = content.split_at(length);
        rest = next;
        let Some(frame) = SpreadFrame::decode(*kind, content) else { continue };
        let again = frame.encode();
        assert_eq!((again[0], &again[HEADER..]), (*kind, content));
        let _ = ledger.enter(frame);
    }
    // Whatever was accepted is accepted by another rank.
    let other = Ledger::default();
    for frame in ledger.news(&mut LedgerCursor::default(), &[0, 1, 2], std::time::Duration::ZERO) {
        other.enter(frame).expect("a frame of a ledger");
    }
});
