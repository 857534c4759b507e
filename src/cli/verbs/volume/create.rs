//! `usnea volume create`: makes a volume.

use std::collections::BTreeMap;

use crate::cli::output::print;
use crate::config;
use crate::container::Usnea;
use crate::container::volumes::{self, VolumeNaming};
use crate::error::{Error, Result};
use crate::spec::VolumeName;

/// Create a volume
///
/// An existing volume is left unchanged, as with docker.
#[derive(clap::Args)]
pub struct Arguments {
    /// Name of the volume. Default: 64 random hexadecimal digits.
    #[arg(value_name = "NAME")]
    name: Option<VolumeName>,

    /// Set a label.
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,

    /// Volume driver; only local is supported.
    #[arg(short, long, value_name = "DRIVER", default_value = "local")]
    driver: String,

    /// Driver options: none are supported.
    #[arg(short, long, value_name = "KEY=VALUE")]
    opt: Vec<String>,

    /// Accepted without effect: an existing volume is never an error.
    #[arg(long)]
    ignore: bool,
}

/// Makes a volume, and prints its name.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    if arguments.driver != "local" {
        let driver = arguments.driver.escape_debug();
        return Err(Error::invalid(format!("--driver {driver}: there is no such driver"))
            .hint("local, which keeps volumes in usnea's own folder"));
    }
    if let Some(option) = arguments.opt.first() {
        let option = option.escape_debug();
        return Err(Error::invalid(format!(
            "--opt {option}: a volume is a folder of usnea's, without options"
        ))
        .hint("-v /PATH:CONTAINER mounts a folder of the host, --tmpfs one in memory"));
    }
    let labels = arguments.label.iter().map(|label| {
        let (key, value) = label.split_once('=').unwrap_or((label, ""));
        match key {
            "" => Err(Error::invalid(format!("--label {}: it has no key", label.escape_debug()))),
            key => Ok((key.to_owned(), value.to_owned())),
        }
    });
    let labels = labels.collect::<Result<BTreeMap<_, _>>>()?;
    let (name, naming) = match &arguments.name {
        Some(name) => (name.clone(), VolumeNaming::Named),
        None => (volumes::random_name()?, VolumeNaming::Anonymous),
    };
    config::open_private(usnea.store()?)?;
    volumes::make(usnea, &name, &labels, naming)?;
    print(&format!("{name}\n"))
}
