//! Files of `--env-file`: an error in one line, or variables that exec(2) takes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use usnea::spec::{self, EntryOptions};

fuzz_target!(|bytes: &[u8]| {
    let folder = usnea_fuzz::folder();
    let path = folder.path().join("file");
    std::fs::write(&path, bytes).expect("a file");
    let config = r#"{"ociVersion":"1.2.0","root":{"path":"/"},
        "process":{"user":{"uid":0,"gid":0},"args":["x"],"env":["PATH=/bin"],"cwd":"/"},"linux":{}}"#;
    let spec = spec::parse_config(config.as_bytes()).expect("a config");
    let options = EntryOptions { env_file: vec![path], ..EntryOptions::default() };
    match spec::entry(&spec, &options, None, &["true".to_owned()]) {
        Ok(process) => {
            for variable in process.env().iter().flatten() {
                let (name, _) = variable.split_once('=').expect("NAME=VALUE");
                assert!(!name.is_empty() && !variable.contains('\0'), "{variable:?}");
            }
        }
        Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
    }
});
