//! Flags of `stop` and `restart`: how a container is asked to end.

use crate::cli::flags::selection::{Selected, open};
use crate::container::{Container, Stopping, Usnea};
use crate::error::Result;
use crate::sys::signal;

/// Value of flags that name a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignalFlag(pub i32);

impl std::str::FromStr for SignalFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        signal::number(text).map(Self).ok_or_else(|| format!("'{text}' is no signal"))
    }
}

/// Signal and time limit of a stop.
#[derive(clap::Args)]
pub struct StopFlags {
    /// Seconds to wait before the container is killed; -1: no limit. Default: the container's own, else 10.
    #[arg(
        short,
        long = "time",
        visible_alias = "timeout",
        value_name = "SECONDS",
        allow_negative_numbers = true
    )]
    time: Option<i64>,

    /// Signal that asks the command to end. Default: the container's own, else SIGTERM.
    #[arg(short, long, value_name = "SIGNAL")]
    signal: Option<SignalFlag>,
}

impl StopFlags {
    /// Asks a container to end. Returns no stop for a container that does not run.
    pub fn begin(
        &self,
        usnea: &Usnea,
        selected: &Selected,
    ) -> Result<(Container, Option<Stopping>)> {
        let container = open(usnea, selected)?;
        let signal = self.signal.map(|signal| signal.0);
        let stopping = Stopping::begin(&container, signal, self.time)?;
        Ok((container, stopping))
    }
}
