//! Tests against real oracles: `ldd` for the libraries, `chroot` for the start of programs.

mod libraries;
mod refusals;
mod roots;
mod store;

use super::*;

/// Makes a request by names, in a PATH that does not depend on the user who runs the tests.
fn request(programs: &[&str]) -> HostRequest {
    let programs: Vec<String> = programs.iter().map(|name| (*name).to_owned()).collect();
    let mut request = HostRequest::new(&programs);
    request.surroundings.search = Some("/usr/sbin:/usr/bin:/sbin:/bin".into());
    request.surroundings.term = Some("xterm-256color".into());
    request
}

fn new_store() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn error_of(programs: &[&str]) -> String {
    plan(&request(programs)).err().unwrap().to_string()
}
