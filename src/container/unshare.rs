//! `usnea unshare`: runs a command in the base user namespace, in which files of containers have the owners that
//! containers see.

use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::container::Usnea;
use crate::error::{Context, Error, Result, STATUS_CANNOT_INVOKE, STATUS_NOT_FOUND};
use crate::sys::namespace;
use crate::sys::process::{self, Ended, Forked};
use crate::userns::{self};

/// Runs a command there, with a mount namespace of its own; returns its exit status. The command is killed when usnea
/// is.
pub fn unshare(usnea: &Usnea, command: &[String]) -> Result<u8> {
    let (program, arguments) =
        command.split_first().ok_or_else(|| Error::invalid("no command is given"))?;
    userns::in_base(usnea.base()?, || {
        namespace::unshare_mounts().context(|| "cannot make a mount namespace")?;
        match process::fork().context(|| "cannot fork")? {
            Forked::Child => become_command(program, arguments),
            Forked::Parent(child) => {
                match child.wait().context(|| "cannot wait for the command")? {
                    Ended::Exited(status) => Ok(status as u8),
                    // Rule of a shell: 128 plus the signal.
                    Ended::Killed(signal) => Ok((128 + signal) as u8),
                }
            }
        }
    })
}

/// Executes the command, or logs the error: only the exit status reaches the parent.
fn become_command(program: &str, arguments: &[String]) -> ! {
    if process::set_parent_death_signal(libc::SIGKILL).is_err() {
        process::exit_now(1);
    }
    let error = Command::new(program).args(arguments).exec();
    let is_missing = error.kind() == std::io::ErrorKind::NotFound;
    log::error!("{}: {}", program.escape_debug(), Error::from(error));
    process::exit_now(if is_missing { STATUS_NOT_FOUND } else { STATUS_CANNOT_INVOKE }.into())
}
