//! Requested programs: found by name or path, and the interpreters of scripts.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::Access;

use super::seen::SeenFiles;
use crate::error::{Error, Result};
use crate::fail;

/// Search path when PATH is not set.
const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Length of a script's head that the kernel reads (BINPRM_BUF_SIZE).
const FIRST_LINE: u64 = 256;

/// Returns the path of the program `asked`: an absolute path itself, else the first executable file of that name in
/// `search` (PATH). Notes skipped paths in `seen`: a program put there later would come first.
pub fn find(requested: &str, search: Option<&OsStr>, seen: &mut SeenFiles) -> Result<PathBuf> {
    if requested.is_empty() {
        return Err(Error::invalid("the name of a program is empty")
            .hint("write host:PROGRAM[,PROGRAM...], like host:bash,ls"));
    }
    let path = Path::new(requested);
    if path.is_absolute() {
        return check(path).map(|()| path.to_owned());
    }
    if requested.contains('/') {
        let hint = "give its name, to be found in PATH, or its whole path from /";
        return Err(Error::invalid("neither a name nor an absolute path").hint(hint));
    }
    let mut refusal = None;
    for folder in search.unwrap_or(OsStr::new(USUAL_PATH)).as_bytes().split(|byte| *byte == b':') {
        // An empty or relative entry means the current working directory.
        if !folder.starts_with(b"/") {
            continue;
        }
        let path = Path::new(OsStr::from_bytes(folder)).join(requested);
        if path.is_file() {
            match check(&path) {
                Ok(()) => return Ok(path),
                Err(error) => _ = refusal.get_or_insert(error),
            }
        }
        seen.note_state_of(&path);
    }
    Err(refusal.unwrap_or_else(|| Error::not_found("not found in PATH")))
}

/// Checks that `path` is a file that the caller may execute and read. The kernel needs no right to read; a copy does.
fn check(path: &Path) -> Result<()> {
    let metadata = path.metadata()?;
    if metadata.is_dir() {
        fail!(Invalid: "{} is a folder, not a program", path.display());
    }
    if !metadata.is_file() {
        fail!(Invalid: "{} is not a file", path.display());
    }
    for (access, what) in [(Access::EXEC_OK, "executable"), (Access::READ_OK, "readable")] {
        match rustix::fs::access(path, access) {
            Ok(()) => {}
            Err(rustix::io::Errno::ACCESS) => {
                fail!(Refused: "{} is not {what} by you", path.display())
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// First line of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptHeader {
    /// Program that the kernel starts.
    pub interpreter: PathBuf,
    /// Program that `env`, where that is the interpreter, looks up in PATH.
    pub by_env: Option<String>,
}

/// Reads the `#!` line. `None`: no such line. Errors: the file cannot be read, or the line has no absolute path.
pub fn script(path: &Path) -> Result<Option<ScriptHeader>> {
    let mut head = Vec::new();
    File::open(path)?.take(FIRST_LINE).read_to_end(&mut head)?;
    parse(&head)
}

fn parse(head: &[u8]) -> Result<Option<ScriptHeader>> {
    let Some(line) = head.strip_prefix(b"#!") else {
        return Ok(None);
    };
    let line = line.split(|byte| matches!(byte, b'\n' | 0)).next().unwrap_or_default().trim_ascii();
    // The kernel ends the interpreter at the first blank and passes all the rest as one argument.
    let end = line.iter().position(|byte| matches!(byte, b' ' | b'\t')).unwrap_or(line.len());
    let interpreter = Path::new(OsStr::from_bytes(&line[..end]));
    if !interpreter.is_absolute() {
        fail!("its #! line names no absolute path");
    }
    let is_env = interpreter.file_name() == Some(OsStr::new("env"));
    let argument = String::from_utf8_lossy(&line[end..]).into_owned();
    Ok(Some(ScriptHeader {
        interpreter: interpreter.into(),
        by_env: is_env.then(|| started_by_env(&argument)).flatten(),
    }))
}

/// Returns the program in `env [-S] [-i] [NAME=VALUE] PROGRAM ...`: without -S, the kernel's one argument is the name.
fn started_by_env(argument: &str) -> Option<String> {
    let mut words = argument.split_whitespace();
    let name = words.find(|word| !word.starts_with('-') && !word.contains('='))?;
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<(String, Option<String>)> {
        let script = parse(text.as_bytes()).unwrap()?;
        Some((script.interpreter.to_str().unwrap().to_owned(), script.by_env))
    }

    #[test]
    fn the_first_line_is_read_as_the_kernel_does() {
        let plain = |path: &str| Some((path.to_owned(), None));
        assert_eq!(parsed("#!/bin/sh\necho"), plain("/bin/sh"));
        assert_eq!(parsed("#! \t/bin/sh -e x"), plain("/bin/sh"));
        assert_eq!(parsed("#!/usr/bin/perl\r\n"), plain("/usr/bin/perl"));
        assert_eq!(parsed("echo"), None);
        assert_eq!(parsed(""), None);
        for wrong in ["#!", "#!\n/bin/sh", "#! bin/sh"] {
            assert!(parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_program_that_env_starts_is_known() {
        for line in ["python3", "-S python3 -u", "-i python3", "-S A=b python3 C=d"] {
            let script = parsed(&format!("#!/usr/bin/env {line}\n")).unwrap();
            assert_eq!(script.1.as_deref(), Some("python3"), "{line}");
        }
        assert_eq!(parsed("#!/usr/bin/env\n").unwrap().1, None);
    }

    #[test]
    fn a_wrong_name_is_refused_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("plain"), "x").unwrap();
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        let say = |requested: &str| {
            find(requested, Some(folder.path().as_os_str()), &mut SeenFiles::default())
                .unwrap_err()
                .to_string()
        };
        assert_eq!(say(""), "the name of a program is empty");
        assert_eq!(say("nosuch"), "not found in PATH");
        assert_eq!(say("sub"), "not found in PATH");
        assert_eq!(say("./plain"), "neither a name nor an absolute path");
        assert_eq!(say("/nosuch/program"), "No such file or directory");
        assert!(say("plain").ends_with("/plain is not executable by you"));
        assert!(say("/usr").ends_with("is a folder, not a program"));
        assert!(say("/dev/null").ends_with("is not a file"));
    }
}
