//! `usnea cdi generate`: prints a specification of this machine's graphics processors.

use crate::cli::output::print;
use crate::container::cdi_devices::host_gpus::{GpuVendor, specification};
use crate::error::{Error, ErrorKind, Result};

/// Print a specification of this machine's graphics processors
///
/// Makes a specification of the Container Device Interface in JSON from the device files and, for NVIDIA's, from the
/// libraries of the driver: of NVIDIA's processors, else of AMD's. --gpus of run and create does so by itself on a
/// machine without specifications.
#[derive(clap::Args)]
pub struct Arguments {
    /// Only of this vendor.
    #[arg(long, value_enum)]
    vendor: Option<VendorName>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum VendorName {
    Nvidia,
    Amd,
}

/// Prints the specification; returns the exit status.
pub fn run(arguments: &Arguments) -> Result<u8> {
    let vendors = match arguments.vendor {
        None => GpuVendor::ALL.to_vec(),
        Some(VendorName::Nvidia) => vec![GpuVendor::Nvidia],
        Some(VendorName::Amd) => vec![GpuVendor::Amd],
    };
    for vendor in vendors {
        if let Some(text) = specification(vendor)? {
            return print(&format!("{text}\n"));
        }
    }
    Err(Error::new("this machine has no graphics processors").of_kind(ErrorKind::NotFound))
}
