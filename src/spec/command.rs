//! Command line of a container, and what it tells: whether the container boots systemd.

use std::path::Path;

use super::inputs::SpecInputs;
use crate::error::{Error, Result};

/// Annotation, "true": the container is prepared for systemd.
pub const SYSTEMD: &str = "usnea.systemd";

/// Signal by which systemd shuts down as process 1 (systemd(1)).
pub(super) const HALT: &str = "SIGRTMIN+3";

/// Paths of an init that is systemd (podman's list).
const INITS: [&str; 3] = ["/sbin/init", "/usr/sbin/init", "/usr/local/sbin/init"];

/// Preparation of a container for systemd (`--systemd`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum SystemdMode {
    /// The container is prepared if its command is systemd.
    #[default]
    #[value(aliases = ["1", "t", "T", "TRUE", "True"])]
    True,
    /// The container is not prepared.
    #[value(aliases = ["0", "f", "F", "FALSE", "False"])]
    False,
    /// The container is prepared, whatever its command.
    Always,
}

/// True if the container is prepared for systemd as its command.
pub(super) fn runs_systemd(inputs: &SpecInputs<'_>) -> bool {
    let is_systemd = |word: &str| {
        INITS.contains(&word) || Path::new(word).file_name().is_some_and(|name| name == "systemd")
    };
    match inputs.options.systemd {
        SystemdMode::False => false,
        SystemdMode::Always => true,
        // With `--init`, systemd would not be process 1, and would refuse to run.
        SystemdMode::True if inputs.options.init => false,
        SystemdMode::True => {
            args(inputs).is_ok_and(|args| args.first().is_some_and(|word| is_systemd(word)))
        }
    }
}

/// Returns the command line by docker's rules: an entrypoint from the options removes the image's command too.
pub(super) fn args(inputs: &SpecInputs<'_>) -> Result<Vec<String>> {
    let (entrypoint, cmd) = match &inputs.options.entrypoint {
        Some(entrypoint) => (entrypoint.words(), &[][..]),
        None => (&inputs.image.entrypoint[..], &inputs.image.cmd[..]),
    };
    let command = if inputs.command.is_empty() { cmd } else { inputs.command };
    let args = [entrypoint, command].concat();
    match args.first().map(String::as_str) {
        None => Err(Error::invalid("no command given")
            .hint("write the command after the image, such as: sh")),
        Some("") => Err(Error::invalid("the command is an empty word")),
        Some(_) => Ok(args),
    }
}
