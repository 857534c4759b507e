//! `usnea kill`: sends a signal to containers.

use crate::cli::flags::selection::{Selection, each_in_state};
use crate::cli::flags::stop::SignalFlag;
use crate::container::{self, Usnea};
use crate::error::Result;
use crate::monitor::Status;

/// Send a signal to containers
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    selection: Selection,

    /// Signal name or number.
    #[arg(short, long, value_name = "SIGNAL", default_value = "KILL")]
    signal: SignalFlag,
}

/// Sends containers a signal.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    let signal = arguments.signal.0;
    each_in_state(&arguments.selection, usnea, Status::is_running, |container| {
        container::kill(container, signal)
    })
}
