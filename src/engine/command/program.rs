//! Exec of the command's program.

use std::convert::Infallible;
use std::ffi::CString;
use std::io;

use rustix::fs::{Access, Mode, OFlags};

use crate::engine::plan::process::ExecCommand;
use crate::engine::step_error::StepResult;
use crate::sys::process;

/// Executes the command with `environment` as execvpe(3) does, with the container's own PATH. Refuses usnea's own
/// program: by a link to /proc/self/exe the container could overwrite the user's usnea (CVE-2019-5736).
pub fn run_program(command: &ExecCommand, environment: &[CString]) -> StepResult<Infallible> {
    let arguments: Vec<_> = command.arguments.iter().map(|text| text.as_c_str()).collect();
    let environment: Vec<_> = environment.iter().map(|text| text.as_c_str()).collect();
    try_candidates(command, |candidate| match CString::new(candidate) {
        Ok(program) => Err(process::exec(&program, &arguments, &environment)),
        Err(_) => Err(io::Error::from_raw_os_error(libc::EINVAL)),
    })
}

/// Checks that [`run_program`] would find a program. Errors: no such program, or its file may not be executed.
pub fn find_program(command: &ExecCommand) -> StepResult {
    try_candidates(command, |candidate| {
        rustix::fs::access(candidate, Access::EXEC_OK)?;
        let stat = rustix::fs::stat(candidate)?;
        match rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file() {
            true => Ok(()),
            false => Err(io::Error::from_raw_os_error(libc::EACCES)),
        }
    })
}

/// Returns the paths of the files that may be the program, in the order of execvp(3).
pub fn candidates(command: &ExecCommand) -> Vec<String> {
    let name = command.arguments[0].to_string_lossy();
    let path = |folder: &str| format!("{folder}/{name}");
    if name.contains('/') {
        return vec![name.to_string()];
    }
    let variable =
        command.environment.iter().find_map(|text| text.to_str().ok()?.strip_prefix("PATH="));
    let folders = variable.unwrap_or_default().split(':');
    folders.filter(|folder| !folder.is_empty()).map(path).collect()
}

/// Calls `attempt` for each file that may be the program, until one succeeds. Errors: the one that execvp(3) would
/// report.
fn try_candidates<T>(
    command: &ExecCommand,
    attempt: impl Fn(&str) -> io::Result<T>,
) -> StepResult<T> {
    let mut last = io::Error::from_raw_os_error(libc::ENOENT);
    for candidate in candidates(command) {
        let tried =
            refuse_own_program(&candidate, command.own_program).and_then(|()| attempt(&candidate));
        let error = match tried {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        match error.raw_os_error() {
            Some(libc::ENOENT | libc::ENOTDIR) => {}
            // execvp(3): EACCES is remembered, and the search continues.
            Some(libc::EACCES) => last = error,
            _ => return Err(error.into()),
        }
    }
    Err(last.into())
}

/// Refuses usnea's own program, also as an interpreter: follows `#!` lines as the kernel does (binfmt_script: at most
/// five).
fn refuse_own_program(program: &str, own_program: (u64, u64)) -> io::Result<()> {
    let mut program = program.to_owned();
    for _ in 0..5 {
        let stat = rustix::fs::stat(&*program)?;
        if (stat.st_dev, stat.st_ino) == own_program {
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
