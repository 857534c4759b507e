//! Last steps of a launch: working folder, credentials, and exec of the command.

use std::convert::Infallible;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::engine::command::{filter, keyring};
use crate::engine::step_error::{Done, On};
use crate::engine::{Command, Credentials, Groups, Step};
use crate::sys::process;

/// Enters the working folder, and makes it where it is missing (docker makes it too).
pub fn enter_folder(path: &Path) -> Done {
    if rustix::process::chdir(path) == Err(rustix::io::Errno::NOENT) {
        std::fs::create_dir_all(path)?;
    }
    go_to_folder(path)
}

/// Enters the working folder. Errors: EXDEV when the folder is not below the root: its path would not begin with "/"
/// (CVE-2024-21626).
pub fn go_to_folder(path: &Path) -> Done {
    rustix::process::chdir(path)?;
    let here = rustix::process::getcwd(Vec::new())?;
    if !here.as_bytes().starts_with(b"/") {
        return Err(io::Error::from_raw_os_error(libc::EXDEV).into());
    }
    Ok(())
}

/// Carries out a step that concerns the process alone; ignores all other steps.
pub fn prepare(step: &Step, steps: &[Step]) -> Done {
    match step {
        Step::Limit(limit) => {
            nix::sys::resource::setrlimit(limit.resource, limit.soft, limit.hard)?;
        }
        Step::Personality(persona) => process::set_personality(*persona)?,
        Step::Umask(mask) => drop(rustix::process::umask(Mode::from_raw_mode(*mask))),
        Step::Credentials(who) => {
            // Before the capabilities that this may need are dropped.
            keyring::leave()?;
            become_restricted(who, filter::ahead(steps))?;
        }
        Step::NoNewPrivileges => process::set_no_new_privileges()?,
        _ => {}
    }
    Ok(())
}

/// Makes the command's user the owner of the terminal, which screen(1) and gpg(1) open by its name.
pub fn give_terminal(terminal: &OwnedFd, steps: &[Step]) -> Done {
    let user = steps.iter().find_map(|step| match step {
        Step::Credentials(who) => Some(rustix::fs::Uid::from_raw(who.uid)),
        _ => None,
    });
    Ok(rustix::fs::fchown(terminal, user, None)?)
}

/// State of the system call filter: one that is still to be installed without no_new_privs needs CAP_SYS_ADMIN.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ahead {
    /// A filter is still to be installed: CAP_SYS_ADMIN stays until then.
    Filter,
    /// No later step needs an extra capability.
    Nothing,
}

/// Drops capabilities and becomes the command's user. Order matters: the bounding set needs CAP_SETPCAP, the groups
/// CAP_SETGID, the user CAP_SETUID; the remaining sets are reduced last. Verifies the IDs at the end: a wrong user must
/// not go unnoticed (CVE-2026-30892).
pub fn become_restricted(who: &Credentials, ahead: Ahead) -> Done {
    use caps::CapSet;
    let failed = |_: caps::errors::CapsError| io::Error::from_raw_os_error(libc::EPERM);
    for capability in caps::all() {
        if !who.bounding.contains(&capability) {
            match caps::drop(None, CapSet::Bounding, capability) {
                Ok(()) => {}
                Err(_) if !caps::has_cap(None, CapSet::Bounding, capability).unwrap_or(false) => {} // unknown here
                Err(error) => return Err(failed(error)).on(|| format!("drop {capability}")),
            }
        }
    }
    process::keep_capabilities()?;
    if let Groups::Set(groups) = &who.groups {
        let groups: Vec<nix::unistd::Gid> = groups.iter().map(|gid| (*gid).into()).collect();
        nix::unistd::setgroups(&groups).on(|| "setgroups")?;
    }
    process::become_user(who.uid, who.gid).on(|| format!("{}:{}", who.uid, who.gid))?;
    // CVE-2022-27649, CVE-2022-29162: inheritable and ambient are empty unless the config names capabilities for them.
    caps::clear(None, CapSet::Ambient).map_err(failed).on(|| "clear ambient")?;
    caps::set(None, CapSet::Inheritable, &who.inheritable)
        .map_err(failed)
        .on(|| "set inheritable")?;
    hold(who, ahead)?;
    for capability in &who.ambient {
        caps::raise(None, CapSet::Ambient, *capability)
            .map_err(failed)
            .on(|| format!("raise {capability}"))?;
    }
    let (user, group) = (nix::unistd::getresuid()?, nix::unistd::getresgid()?);
    let is_all = |ids: [u32; 3], id: u32| ids.iter().all(|now| *now == id);
    if is_all([user.real.as_raw(), user.effective.as_raw(), user.saved.as_raw()], who.uid)
        && is_all([group.real.as_raw(), group.effective.as_raw(), group.saved.as_raw()], who.gid)
    {
        return Ok(());
    }
    Err(io::Error::from_raw_os_error(libc::EPERM)).on(|| "the user did not change")
}

/// Reduces the effective and permitted sets to those of `who`, plus CAP_SYS_ADMIN while a filter is ahead.
pub fn hold(who: &Credentials, ahead: Ahead) -> Done {
    use caps::{CapSet, Capability};
    let failed = |_: caps::errors::CapsError| io::Error::from_raw_os_error(libc::EPERM);
    let (mut effective, mut permitted) = (who.effective.clone(), who.permitted.clone());
    if ahead == Ahead::Filter {
        effective.insert(Capability::CAP_SYS_ADMIN);
        permitted.insert(Capability::CAP_SYS_ADMIN);
    }
    caps::set(None, CapSet::Effective, &effective).map_err(failed).on(|| "set effective")?;
    caps::set(None, CapSet::Permitted, &permitted).map_err(failed).on(|| "set permitted")
}

/// Executes the command as execvpe(3) does, with the container's own PATH. Refuses usnea's own program: a link to
/// /proc/self/exe would put the user's usnea within the container's reach (CVE-2019-5736).
pub fn run_program(command: &Command) -> Done<Infallible> {
    let name = command.arguments[0].to_string_lossy();
    let path = |folder: &str| {
        if folder.is_empty() { name.to_string() } else { format!("{folder}/{name}") }
    };
    let candidates: Vec<String> = if name.contains('/') {
        vec![name.to_string()]
    } else {
        let variable =
            command.environment.iter().find_map(|text| text.to_str().ok()?.strip_prefix("PATH="));
        variable
            .unwrap_or_default()
            .split(':')
            .filter(|folder| !folder.is_empty())
            .map(path)
            .collect()
    };
    let arguments: Vec<_> = command.arguments.iter().map(|text| text.as_c_str()).collect();
    let environment: Vec<_> = command.environment.iter().map(|text| text.as_c_str()).collect();
    let mut last = io::Error::from_raw_os_error(libc::ENOENT);
    for candidate in candidates {
        let error = match refuse_ourselves(&candidate, command.ourselves) {
            Ok(()) => match std::ffi::CString::new(candidate) {
                Ok(program) => process::exec(&program, &arguments, &environment),
                Err(_) => io::Error::from_raw_os_error(libc::EINVAL),
            },
            Err(error) => error,
        };
        match error.raw_os_error() {
            Some(libc::ENOENT | libc::ENOTDIR) => {}
            // execvp(3): a match without permission is remembered, and the search goes on.
            Some(libc::EACCES) => last = error,
            _ => return Err(error.into()),
        }
    }
    Err(last.into())
}

/// Refuses usnea's own program, also as an interpreter: follows `#!` lines as the kernel does (binfmt_script: at most
/// five).
fn refuse_ourselves(program: &str, ourselves: (u64, u64)) -> io::Result<()> {
    let mut program = program.to_owned();
    for _ in 0..5 {
        let stat = rustix::fs::stat(&*program)?;
        if (stat.st_dev, stat.st_ino) == ourselves {
            return Err(io::Error::from_raw_os_error(libc::EACCES));
        }
        let mut head = [0u8; 256];
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        if !rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file() {
            return Ok(()); // exec refuses such a file, and opening a device could have effects
        }
        // The kernel cannot read such a file (mode 0111) as a script either.
        let Ok(file) = rustix::fs::open(&*program, flags, Mode::empty()) else {
            return Ok(());
        };
        let length = rustix::io::read(&file, &mut head).unwrap_or(0);
        let Some(line) = head[..length].strip_prefix(b"#!") else {
            return Ok(());
        };
        let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let Ok(text) = std::str::from_utf8(line) else {
            return Ok(());
        };
        match text.split_ascii_whitespace().next() {
            Some(interpreter) => program = interpreter.to_owned(),
            None => return Ok(()),
        }
    }
    Ok(())
}
