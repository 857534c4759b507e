//! config.json: an error in one line, or a plan that can be explained. The planner opens what the config names for
//! reading at most, and makes nothing. The host's ID 0 stands for the caller's own, which a plan may map.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use usnea::engine::{self, StartTrigger, BundleIdentity, LaunchOptions, Lifetime};

fuzz_target!(|text: &str| {
    let text = text.replace("\"hostID\":0", &format!("\"hostID\":{}", rustix::process::geteuid().as_raw()));
    let spec = match usnea::oci::parse(text.as_bytes(), Path::new("/")) {
        Ok(spec) => spec,
        Err(error) => return assert!(!error.to_string().contains('\n'), "{error}"),
    };
    let options = LaunchOptions {
        begin: StartTrigger::AtStart,
        container: BundleIdentity::of_bundle("c", "/".into()),
        lifetime: Lifetime::Independent,
        ..LaunchOptions::default()
    };
    match engine::plan_bundle(&spec, options) {
        Ok(plan) => assert!(!engine::explain(&plan, Path::new("/"), &[]).is_empty()),
        Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
    }
});
