//! References: whatever is accepted is shown in a form that means the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use usnea::image::reference::{DOCKER_HUB, Reference, TypedReference};

fuzz_target!(|text: &str| {
    let Ok(typed) = text.parse::<TypedReference>() else { return };
    let reference = typed.in_registry(DOCKER_HUB);
    let shown = reference.to_string();
    assert_eq!(shown.parse::<Reference>().expect("what we show"), reference);
    let familiar = reference.familiar();
    assert_eq!(familiar.parse::<Reference>().expect("its short form"), reference, "{familiar}");
    for bad in ["//", " ", "\0", "\x1b"] {
        assert!(!shown.contains(bad), "{shown:?}");
    }
    // A tag may have two dots in its midst: it has no slash.
    assert!(!reference.name().contains(".."), "{shown:?}");
});
