//! `--change`: instructions applied to a config, one a line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use usnea::image::instruction::{ConfigChange, apply};

fuzz_target!(|text: &str| {
    let changes: Vec<ConfigChange> = text.split('\u{1}').filter_map(|line| line.parse().ok()).collect();
    let config = r#"{"architecture":"amd64","os":"linux","config":{"Env":["PATH=/bin","A=b"],"Shell":["/bin/x","-c"],
        "WorkingDir":"/w","Cmd":["x"]},"rootfs":{"type":"layers","diff_ids":[]}}"#;
    let mut document = serde_json::from_str(config).expect("JSON");
    if apply(&mut document, &changes).is_ok() {
        let bytes = serde_json::to_vec(&document).expect("JSON");
        usnea::image::manifest::parse_config(&bytes, 0).expect("a config that we can read");
    }
});
