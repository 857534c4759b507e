//! Steps that concern the process alone: working folder, limits, credentials.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::Mode;

use crate::engine::command::{credentials, filter, keyring};
use crate::engine::plan::step::Step;
use crate::engine::step_error::StepResult;
use crate::sys::process;

/// Enters the working folder, and makes it where it is missing (docker makes it too).
pub fn enter_folder(path: &Path) -> StepResult {
    if rustix::process::chdir(path) == Err(rustix::io::Errno::NOENT) {
        std::fs::create_dir_all(path)?;
    }
    go_to_folder(path)
}

/// Enters the working folder. Errors: EXDEV when the folder is not below the root: its path would not begin with "/"
/// (CVE-2024-21626).
pub fn go_to_folder(path: &Path) -> StepResult {
    rustix::process::chdir(path)?;
    let here = rustix::process::getcwd(Vec::new())?;
    if !here.as_bytes().starts_with(b"/") {
        return Err(io::Error::from_raw_os_error(libc::EXDEV).into());
    }
    Ok(())
}

/// Carries out a step that concerns the process alone; ignores all other steps.
pub fn prepare(step: &Step, steps: &[Step]) -> StepResult {
    match step {
        Step::Limit(limit) => {
            nix::sys::resource::setrlimit(limit.resource, limit.soft, limit.hard)?;
        }
        Step::Personality(persona) => process::set_personality(*persona)?,
        Step::Umask(mask) => drop(rustix::process::umask(Mode::from_raw_mode(*mask))),
        Step::Credentials(who) => {
            // Before the capabilities that this may need are dropped.
            keyring::replace_session()?;
            credentials::become_restricted(who, filter::pending_filter(steps))?;
        }
        Step::NoNewPrivileges => process::set_no_new_privileges()?,
        _ => {}
    }
    Ok(())
}

/// Makes the command's user the owner of the terminal, which screen(1) and gpg(1) open by its name.
pub fn give_terminal(terminal: &OwnedFd, steps: &[Step]) -> StepResult {
    let user = steps.iter().find_map(|step| match step {
        Step::Credentials(who) => Some(rustix::fs::Uid::from_raw(who.uid)),
        _ => None,
    });
    Ok(rustix::fs::fchown(terminal, user, None)?)
}
