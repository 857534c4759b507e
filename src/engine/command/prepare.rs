//! Steps that change only the process itself: working folder, limits, credentials.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};

use crate::engine::command::{credentials, filter, keyring};
use crate::engine::plan::SessionKeyring;
use crate::engine::plan::process::SecurityLabel;
use crate::engine::plan::step::Step;
use crate::engine::step_error::{OnObject, StepError, StepResult};
use crate::sys::inode::PROC_SUPER_MAGIC;
use crate::sys::{process, schedule};

/// Enters the working folder, and makes it where it is missing (docker makes it too).
pub fn enter_folder(path: &Path) -> StepResult {
    if rustix::process::chdir(path) == Err(rustix::io::Errno::NOENT) {
        std::fs::create_dir_all(path)?;
    }
    go_to_folder(path)
}

/// Enters the working folder, which must exist. Errors: EXDEV for a folder that is not below the root. The kernel shows
/// such a folder by a path that does not begin with "/" (CVE-2024-21626).
pub fn go_to_folder(path: &Path) -> StepResult {
    rustix::process::chdir(path)?;
    let here = rustix::process::getcwd(Vec::new())?;
    if !here.as_bytes().starts_with(b"/") {
        return Err(io::Error::from_raw_os_error(libc::EXDEV).into());
    }
    Ok(())
}

/// Carries out a step that changes only the process itself; ignores all other steps.
pub fn prepare(step: &Step, steps: &[Step]) -> StepResult {
    match step {
        Step::Limit(limit) => {
            nix::sys::resource::setrlimit(limit.resource, limit.soft, limit.hard)?;
        }
        Step::Scheduler(attributes) => {
            schedule::set_scheduler(*attributes).on(|| "config.json: process.scheduler")?;
        }
        Step::IoPriority(priority) => schedule::set_io_priority(priority.class, priority.level)
            .on(|| "config.json: process.ioPriority")?,
        Step::CpuAffinity(list) => schedule::set_affinity(list.numbers.iter().copied())
            .on(|| "config.json: process.execCPUAffinity")?,
        Step::MemoryPolicy(policy) => {
            schedule::set_memory_policy(policy.mode, &policy.nodes.numbers)
                .on(|| "config.json: linux.memoryPolicy")?;
        }
        Step::SecurityLabel(label) => {
            set_label(label).on(|| format!("config.json: {}", label.place))?
        }
        Step::Personality(persona) => process::set_personality(*persona)?,
        Step::Umask(mask) => drop(rustix::process::umask(Mode::from_raw_mode(*mask))),
        Step::Landlock(domain) => {
            domain.enter().map_err(|failure| StepError {
                what: failure.path,
                ..StepError::from(failure.error)
            })?;
        }
        Step::Credentials(who) => {
            if who.keyring == SessionKeyring::New {
                // First: it may need capabilities that the next step drops.
                keyring::replace_session(steps)?;
            }
            credentials::drop_privileges(who, filter::pending_filter(steps))?;
        }
        Step::NoNewPrivileges => process::set_no_new_privileges()?,
        _ => {}
    }
    Ok(())
}

/// Writes a label through procfs. Checks that the file is in procfs itself. A mount of the container over /proc, or
/// over a part of it, must not receive the label (CVE-2019-16884).
fn set_label(label: &SecurityLabel) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let proc = rustix::fs::open("/proc", flags, Mode::empty())?;
    if rustix::fs::fstatfs(&proc)?.f_type != PROC_SUPER_MAGIC {
        return Err(io::Error::from_raw_os_error(libc::EXDEV));
    }
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let own = rustix::process::getpid();
    let mut last = io::Error::from_raw_os_error(libc::ENOENT);
    for file in label.files {
        let path = format!("{own}/attr/{file}");
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        match rustix::fs::openat2(&proc, path, flags, Mode::empty(), resolve) {
            Ok(file) => {
                rustix::io::write(&file, label.value.as_bytes())?;
                return Ok(());
            }
            Err(errno) => last = errno.into(),
        }
    }
    Err(last)
}

/// Makes the command's user the owner of the terminal: screen(1) and gpg(1) open it by its name.
pub fn give_terminal(terminal: &OwnedFd, steps: &[Step]) -> StepResult {
    let user = steps.iter().find_map(|step| match step {
        Step::Credentials(who) => Some(rustix::fs::Uid::from_raw(who.uid)),
        _ => None,
    });
    Ok(rustix::fs::fchown(terminal, user, None)?)
}
