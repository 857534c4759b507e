//! auth.json and docker's config.json: logins read from it, one stored and found again, one removed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use usnea::image::credentials::{AUTH_FILES, Logins, CredentialPaths};

fuzz_target!(|bytes: &[u8]| {
    let folder = usnea_fuzz::folder();
    let path = folder.path().join("auth.json");
    std::fs::write(&path, bytes).expect("a file");
    // No folder of programs: no helper is ever started.
    let shelves = CredentialPaths { named: Some(path), ..CredentialPaths::default() };
    assert!(shelves.programs.folders.is_empty());
    let logins = Logins::new(vec![AUTH_FILES.to_owned()], shelves);
    for (host, path) in
        [("docker.io", "library/debian"), ("quay.io", "a/b"), ("localhost:5000", "x")]
    {
        let _ = logins.find(host, path);
    }
    if logins.store("quay.io", "", "user", "pass:word").is_ok() {
        let found = logins.find_stored("quay.io", "").expect("readable").expect("what was stored");
        assert_eq!(found.username.as_deref(), Some("user"));
    }
    let _ = logins.erase("quay.io", "");
});
