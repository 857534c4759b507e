//! Exec of the command's program.

use std::convert::Infallible;
use std::io;

use rustix::fs::{Mode, OFlags};

use crate::engine::plan::process::ExecCommand;
use crate::engine::step_error::StepResult;
use crate::sys::process;

/// Executes the command as execvpe(3) does, with the container's own PATH. Refuses usnea's own program: a link to
/// /proc/self/exe would put the user's usnea within the container's reach (CVE-2019-5736).
pub fn run_program(command: &ExecCommand) -> StepResult<Infallible> {
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
