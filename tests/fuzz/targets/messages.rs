//! Messages between the processes of a launch: what is read is sent again as the same bytes, or as a part of them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use usnea::engine::messages::{ChildMessage, ParentMessage, WireMessage};

fuzz_target!(|bytes: &[u8]| {
    // The first byte: with a descriptor or without.
    let [choice, bytes @ ..] = bytes else { return };
    let descriptor = || (choice % 2 == 0).then(|| std::fs::File::open("/dev/null").expect("null").into());
    if let Some(message) = ParentMessage::decode(bytes, descriptor()) {
        assert_eq!(message.encode().0, bytes);
    }
    let Some(message) = ChildMessage::decode(bytes, descriptor()) else { return };
    let (again, _) = message.encode();
    if let ChildMessage::Failed(failure) = &message {
        let Some(ChildMessage::Failed(read)) = ChildMessage::decode(&again, None) else { panic!("{failure:?}") };
        assert_eq!((read.errno, read.step as u32), (failure.errno, failure.step as u32));
        assert!(failure.what.starts_with(read.what.trim_end_matches('\u{fffd}')));
    } else {
        assert!(bytes.starts_with(&again), "{bytes:?} {again:?}");
    }
});
