//! An OCI bundle through `usnea::engine` alone: `library --bundle FOLDER` runs it, `library --explain FOLDER` prints the
//! steps. tests/it/oci_config.rs runs both.

use std::path::Path;

use log::LevelFilter;
use usnea::engine::{self, BundleIdentity, CallerStreams, LaunchOptions, Stdin};
use usnea::error::Result;
use usnea::spec;
use usnea::sys::signal::Signals;
use usnea::userns::Base;

/// Runs the bundle, or explains its steps; returns the exit status.
pub fn run(mode: &str, folder: &Path) -> u8 {
    env_logger::Builder::new().filter_level(LevelFilter::Warn).format_timestamp(None).init();
    bundle(mode, folder).unwrap_or_else(|error| {
        eprintln!("usnea: {error}");
        if let Some(hint) = error.hint_text() {
            eprintln!("hint: {hint}");
        }
        error.status()
    })
}

fn bundle(mode: &str, folder: &Path) -> Result<u8> {
    let folder = folder.canonicalize()?;
    let spec = spec::parse_config(&std::fs::read(folder.join("config.json"))?)?;
    let container = BundleIdentity::of_bundle("by-library", folder.clone());
    let options = LaunchOptions { stdin: Stdin::Ours, container, ..LaunchOptions::default() };
    let plan = engine::plan(&spec, Base::of_user()?, options)?;
    if mode == "--explain" {
        println!("{}", engine::explain(&plan, &folder, &[]));
        return Ok(0);
    }
    let signals = Signals::block(&engine::forwarded())?;
    let streams = CallerStreams {
        input: rustix::stdio::stdin(),
        output: rustix::stdio::stdout(),
        error: rustix::stdio::stderr(),
    };
    Ok(engine::run(&plan, streams, &signals, |_| None)?.status())
}
