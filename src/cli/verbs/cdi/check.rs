//! `usnea cdi check`: checks the files of specifications.

use crate::cli::output::print;
use crate::container::cdi_devices;
use crate::error::Result;

/// Check the files of the Container Device Interface
///
/// Prints a line for each file that cannot be used, and for each device that two files of a directory have. Exits with 1
/// if there is one. What the devices need is checked when a container gets them.
#[derive(clap::Args)]
pub struct Arguments {}

/// Prints the faults; returns the exit status.
pub fn run(_: &Arguments) -> Result<u8> {
    let registry = cdi_devices::registry();
    let broken =
        registry.broken.iter().map(|(path, error)| format!("{}: {error}\n", path.display()));
    let rivals = registry.devices().filter_map(|device| {
        let rival = device.rival?.display();
        Some(format!("{}: in {} and in {rival}\n", device.name, device.file.display()))
    });
    let faults: Vec<String> = broken.chain(rivals).collect();
    print(&faults.concat())?;
    Ok(u8::from(!faults.is_empty()))
}
