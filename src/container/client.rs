//! Client of a container: the streams and signals of a command of usnea that runs, attaches or executes.

use crate::engine::CallerStreams;
use crate::error::{Error, Result};
use crate::spec::ContainerOptions;

/// Receiver of signals that reach this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignalProxy {
    /// The command of the container.
    On,
    /// This process itself.
    Off,
}

/// Client that waits for a container's end.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    /// Streams of the client.
    pub streams: CallerStreams<'a>,
    /// Receiver of the client's signals.
    pub proxy: SignalProxy,
}

/// Refuses an interactive terminal if the client's input is not a terminal.
pub(super) fn check_terminal(options: &ContainerOptions, streams: CallerStreams<'_>) -> Result<()> {
    if options.tty && options.interactive && !rustix::termios::isatty(streams.input) {
        return Err(Error::invalid("-it: standard input is not a terminal")
            .hint("leave -t out to feed the command from a file or a pipe"));
    }
    Ok(())
}
