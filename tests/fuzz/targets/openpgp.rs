//! Public keys of OpenPGP, and texts with signatures: no bytes panic. A key is followed by a zero byte and a text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use usnea::image::policy::{ImageOrigin, SignaturePolicy};

fuzz_target!(|bytes: &[u8]| {
    // Behind the longest prefix, since keys without armor have zeros.
    let Some(end) = bytes.iter().rposition(|byte| *byte == 0) else { return };
    let folder = usnea_fuzz::folder();
    let [key, policy] = ["key", "policy.json"].map(|name| folder.path().join(name));
    std::fs::write(&key, &bytes[..end]).expect("a file");
    let rule = serde_json::json!({"type": "signedBy", "keyType": "GPGKeys", "keyPath": key});
    std::fs::write(&policy, serde_json::json!({"default": [rule]}).to_string()).expect("a file");
    let policy = SignaturePolicy::load_from(&policy).expect("a policy");
    let origin = ImageOrigin::local("sif", &key, None).expect("the file");
    let _ = policy.verify_in_file(&origin, &|keys| {
        let statement = keys.open(&bytes[end + 1..], "type")?;
        assert!(statement.signer.is_some() && statement.content.len() < bytes.len() * 2);
        Ok(())
    });
});
