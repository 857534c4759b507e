//! `exec`.

use std::path::PathBuf;

use super::{Inherited, block_signals};
use crate::cli::output::streams;
use crate::error::{Error, Result};
use crate::fail;
use crate::oci::{self, OciCaller, OciExecRequest, Runtime};

/// Run another command in a running container
///
/// Runs the process of --process, or the process of the container's config.json changed by COMMAND and the options.
#[derive(clap::Args)]
pub struct ExecArguments {
    /// File with the process, in the format of `process` in config.json.
    #[arg(short, long, value_name = "FILE")]
    process: Option<PathBuf>,

    /// Exit when the command runs.
    #[arg(short, long)]
    detach: bool,

    /// Allocate a terminal.
    #[arg(short, long)]
    tty: bool,

    /// Working directory in the container.
    #[arg(long, value_name = "DIR")]
    cwd: Option<PathBuf>,

    /// Add an environment variable.
    #[arg(short, long, value_name = "KEY=VALUE")]
    env: Vec<String>,

    /// User and group IDs.
    #[arg(short, long, value_name = "UID[:GID]")]
    user: Option<String>,

    /// Add supplementary group IDs.
    #[arg(short = 'g', long, value_name = "GID", value_delimiter = ',')]
    additional_gids: Vec<u32>,

    /// Add a capability.
    #[arg(short, long, value_name = "CAP")]
    cap: Vec<String>,

    /// Set no_new_privs.
    #[arg(long)]
    no_new_privs: bool,

    /// Write the process ID of the command to this file.
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,

    /// Send the master of the command's pseudo-terminal to this socket.
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,

    /// Pass N additional file descriptors (from 3 on, after those of $LISTEN_FDS) to the command.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true,
          value_parser = clap::value_parser!(u32).range(..=1_048_573))]
    preserve_fds: u32,

    /// The container. COMMAND and all words after it are the command's: options end at CONTAINER.
    #[arg(value_names = ["CONTAINER", "COMMAND"], num_args = 1.., required = true, trailing_var_arg = true)]
    words: Vec<String>,
}

/// Runs the command; returns its exit status.
pub fn run(arguments: ExecArguments, runtime: &Runtime) -> Result<u8> {
    let inherited = Inherited::keep(arguments.preserve_fds)?;
    let signals = block_signals()?;
    let mut words = arguments.words.into_iter();
    let Some(id) = words.next() else { fail!(Invalid: "no container given") };
    let request = OciExecRequest {
        id,
        process: arguments.process,
        arguments: words.collect(),
        cwd: arguments.cwd,
        env: arguments.env,
        user: arguments.user.as_deref().map(user).transpose()?,
        additional_gids: arguments.additional_gids,
        capabilities: arguments.cap,
        tty: arguments.tty,
        no_new_privileges: arguments.no_new_privs,
        detach: arguments.detach,
        pid_file: arguments.pid_file,
        console_socket: arguments.console_socket,
        preserve_fds: inherited.count,
        sockets: inherited.sockets,
    };
    oci::exec(runtime, &request, OciCaller { streams: streams::of_process(), signals: &signals })
}

fn user(text: &str) -> Result<(u32, Option<u32>)> {
    let number = |text: &str| {
        text.parse::<u32>().map_err(|_| {
            Error::invalid(format!("'{}' is no number", text.escape_debug())).within("--user")
        })
    };
    match text.split_once(':') {
        Some((user, group)) => Ok((number(user)?, Some(number(group)?))),
        None => Ok((number(text)?, None)),
    }
}
