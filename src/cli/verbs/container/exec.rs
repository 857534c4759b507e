//! `usnea exec`: a command in a running container.

use crate::cli::flags::attach::detach_keys;
use crate::cli::flags::selection::named_or_newest;
use crate::cli::output::streams;
use crate::container::{self, Audience, ExecRequest, Usnea};
use crate::engine::{Finish, Stdin};
use crate::error::{Error, Result};
use crate::security::Privileges;
use crate::spec::EntryOptions;

/// Run a command in a running container
///
/// The command gets the container's files, namespaces, environment and limits. usnea exits with its status: 126 if the
/// command cannot be invoked, 127 if it is not found, 125 for errors of usnea. The command is killed when the container
/// ends, or when usnea is killed; a command with a terminal gets a hangup instead.
#[derive(clap::Args)]
pub struct Arguments {
    /// Keep standard input open.
    #[arg(short, long)]
    interactive: bool,

    /// Allocate a pseudo-terminal.
    #[arg(short, long)]
    tty: bool,

    /// Run the command in the background.
    #[arg(short, long)]
    detach: bool,

    /// Use the container that was created last; all arguments are the command.
    #[arg(short, long)]
    latest: bool,

    #[command(flatten)]
    options: EntryOptions,

    /// Give the command all capabilities in the container's user namespace.
    #[arg(long)]
    privileged: bool,

    /// Pass N additional file descriptors (from 3 on) to the command.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true,
          value_parser = clap::value_parser!(u32).range(..=1_048_573))]
    preserve_fds: u32,

    /// Pass these open file descriptors to the command, under the same numbers.
    #[arg(long, value_name = "FD", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(3..=1_048_575))]
    preserve_fd: Vec<u32>,

    /// Key sequence to detach from the command. Default: the container's own, else ctrl-p,ctrl-q.
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,

    /// Omit the command from `usnea events`, as for a health check.
    #[arg(long, hide = true)]
    check: bool,

    /// The container. COMMAND and all words after it, those that begin with a hyphen too, are the command's: options end
    /// at CONTAINER.
    #[arg(value_names = ["CONTAINER", "COMMAND"], num_args = 1.., required = true, trailing_var_arg = true)]
    words: Vec<String>,
}

/// Runs the command; returns its exit status.
pub fn run(arguments: Arguments, usnea: &Usnea) -> Result<u8> {
    let Arguments { interactive, tty, detach, latest, words: mut command, .. } = arguments;
    let is_terminal = || rustix::termios::isatty(rustix::stdio::stdin());
    if tty && interactive && !detach && !is_terminal() {
        return Err(Error::invalid("-it: standard input is not a terminal")
            .hint("leave -t out to feed the command from a file or a pipe"));
    }
    if detach && interactive && !tty {
        return Err(Error::invalid(
            "-d and -i exclude each other: a detached command has no input",
        ));
    }
    let keys = detach_keys(arguments.detach_keys.as_deref())?;
    let name = (!latest).then(|| command.remove(0));
    let container = named_or_newest(usnea, name.as_deref())?;
    if command.is_empty() {
        return Err(Error::invalid("no command given")
            .hint("write the command after the container, such as: sh"));
    }
    let request = ExecRequest {
        command,
        options: arguments.options,
        privileges: if arguments.privileged { Privileges::All } else { Privileges::Containers },
        terminal: tty,
        stdin: if interactive { Stdin::Ours } else { Stdin::Null },
        preserve_fds: arguments.preserve_fds,
        preserve_fd: arguments.preserve_fd,
        sockets: usnea.sockets().cloned(),
        keys,
        finish: if detach { Finish::AtStart } else { Finish::AtEnd },
        audience: if arguments.check { Audience::Nobody } else { Audience::All },
    };
    container::exec(&container, request, streams::of_process())
}
