//! Profiles in docker's format: an error, or a filter that the kernel takes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use usnea::security::seccomp::{Filter, ProfileTarget, resolve};

fuzz_target!(|text: &str| {
    let bounding = ["SYS_ADMIN", "CHOWN"].iter().filter_map(|name| {
        serde_json::from_value(serde_json::Value::from(format!("CAP_{name}"))).ok()
    });
    let bounding = bounding.collect();
    let Ok(config) = resolve(text, &ProfileTarget::here(&bounding)) else { return };
    if let Ok(filter) = Filter::of_config(&config, None) {
        // seccomp(2): BPF_MAXINSNS, and a last instruction that returns.
        assert!((1..=4096).contains(&filter.program.len()));
        assert_eq!(filter.program.last().expect("an instruction").code, 0x06);
    }
});
