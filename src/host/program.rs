//! Paths of the host's programs that usnea may run by itself. The system's folders come first, then entries of PATH
//! that no other user can write to. Runs such a program and reads its answer, within a time limit.

use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Folders of a system's programs, the usual one first.
const SYSTEM_FOLDERS: [&str; 5] = ["/usr/bin", "/bin", "/usr/sbin", "/sbin", "/usr/local/bin"];

/// Returns the absolute path of the first program `name` that `suits`. Takes one system call in the usual case.
pub fn find(name: &str, suits: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    candidates(name).find(|path| suits(path))
}

/// Returns every path where `name` may be found, in order. Reads PATH only when the system's folders do not suffice.
pub fn candidates(name: &str) -> impl Iterator<Item = PathBuf> {
    let of_system = SYSTEM_FOLDERS.iter().map(PathBuf::from);
    let of_path = std::iter::once_with(trusted_folders_of_path).flatten();
    let name = name.to_owned();
    of_system.chain(of_path).map(move |folder| folder.join(&name))
}

fn trusted_folders_of_path() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .filter(|folder| folder.is_absolute() && only_we_or_root_write(folder))
        .collect()
}

fn only_we_or_root_write(folder: &Path) -> bool {
    let me = rustix::process::getuid().as_raw();
    // A folder's group may write: it is root's (Debian's /usr/local/bin is root:staff with 02775) or the caller's
    // alone.
    std::fs::metadata(folder)
        .is_ok_and(|stat| (stat.uid() == 0 || stat.uid() == me) && stat.mode() & 0o002 == 0)
}

/// Answer of a short-lived program.
#[derive(Debug)]
pub struct ProgramOutput {
    /// Exit status.
    pub status: ExitStatus,
    /// Standard output.
    pub output: String,
    /// Standard error.
    pub complaint: String,
}

/// Runs a program that answers in a few lines. Errors: the program cannot be started; TimedOut after `patience`.
pub fn ask(command: &mut Command, patience: Duration) -> io::Result<ProgramOutput> {
    let deadline = Instant::now() + patience;
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut pause = Duration::from_micros(200);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() > deadline {
            // kill(2) fails for a setuid program, and therefore its end is not awaited.
            let _ = child.kill();
            return Err(io::ErrorKind::TimedOut.into());
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    };
    Ok(ProgramOutput {
        status,
        output: child.stdout.take().map(what_is_there).unwrap_or_default(),
        complaint: child.stderr.take().map(what_is_there).unwrap_or_default(),
    })
}

/// Returns the bytes in the pipe of a program that has ended. Never waits: the program's children may keep the pipe
/// open for ever.
fn what_is_there(mut pipe: impl Read + std::os::fd::AsFd) -> String {
    let mut bytes = Vec::new();
    if rustix::fs::fcntl_setfl(&pipe, rustix::fs::OFlags::NONBLOCK).is_ok() {
        // The error is WouldBlock; the bytes before it are kept.
        let _ = pipe.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_folder_that_others_write_is_not_trusted() {
        let folder = tempfile::tempdir().unwrap();
        let set =
            |mode| std::fs::set_permissions(&folder, PermissionsExt::from_mode(mode)).unwrap();
        set(0o755);
        assert!(only_we_or_root_write(folder.path()));
        set(0o777);
        assert!(!only_we_or_root_write(folder.path()));
    }

    #[test]
    fn a_program_that_hangs_is_given_up() {
        let mut command = Command::new("/bin/sleep");
        let asked = Instant::now();
        let error = ask(command.arg("10"), Duration::from_millis(50)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(asked.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn an_answer_is_read_although_a_child_keeps_the_pipe_open() {
        let mut command = Command::new("/bin/sh");
        let answer =
            ask(command.args(["-c", "sleep 3 & echo yes; echo no >&2"]), Duration::from_secs(2))
                .unwrap();
        assert_eq!((answer.output.as_str(), answer.complaint.as_str()), ("yes\n", "no\n"));
    }

    #[test]
    fn the_systems_folders_come_first() {
        assert_eq!(candidates("newuidmap").next(), Some("/usr/bin/newuidmap".into()));
    }
}
