//! policy.json: what cannot be read refuses, never accepts.
#![no_main]

use libfuzzer_sys::fuzz_target;
use usnea::image::policy::{ImageOrigin, SignaturePolicy};

fuzz_target!(|bytes: &[u8]| {
    let folder = usnea_fuzz::folder();
    let path = folder.path().join("policy.json");
    std::fs::write(&path, bytes).expect("a file");
    let Ok(policy) = SignaturePolicy::load_from(&path) else { return };
    for name in ["debian", "quay.io/a/b:1", "localhost:5000/x"] {
        let origin = ImageOrigin::registry(&name.parse().expect("a name"));
        assert!(!policy.requirements(&origin).is_empty(), "no requirement is no permission");
        let _ = policy.check_before(&origin);
    }
});
