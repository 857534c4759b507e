//! `usnea attach`: attaches to a running container.

use crate::cli::flags::attach::detach_keys;
use crate::cli::flags::selection::named_or_newest;
use crate::cli::output::streams;
use crate::container::{self, Attachment, SignalProxy, Usnea};
use crate::engine;
use crate::error::{Context, Result};
use crate::sys::signal::Signals;

/// Attach to a running container
///
/// Connects standard input, output and error to the container; the exit status is the container's. The container does
/// not wait for a slow reader: a warning tells how much output was missed.
#[derive(clap::Args)]
pub struct Arguments {
    /// The container.
    #[arg(value_name = "CONTAINER", required_unless_present = "latest")]
    container: Option<String>,

    /// Use the container that was created last.
    #[arg(short, long, conflicts_with = "container")]
    latest: bool,

    /// Key sequence for detaching. Default: that of the container, else ctrl-p,ctrl-q.
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,

    /// Do not attach standard input.
    #[arg(long)]
    no_stdin: bool,

    /// Forward signals to the container.
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "BOOL", default_missing_value = "true",
          default_value = "true", hide_default_value = true, hide_possible_values = true)]
    sig_proxy: bool,
}

/// Attaches to a container; returns its exit status, or 0 after the detach keys.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    let container = named_or_newest(usnea, arguments.container.as_deref())?;
    let recorded = container.record.detach_keys.as_deref();
    let keys = detach_keys(arguments.detach_keys.as_deref().or(recorded))?;
    let signals = Signals::block(&engine::forwarded()).context(|| "cannot block signals")?;
    let attachment = Attachment {
        socket: container::connect_monitor(&container)?,
        streams: streams::of_process(),
        reads_input: !arguments.no_stdin && container.record.takes_input(),
        keys: keys.unwrap_or_default(),
        proxy: if arguments.sig_proxy { SignalProxy::On } else { SignalProxy::Off },
    };
    Ok(container::attach(&container, attachment, &signals)?.unwrap_or(0))
}
