//! What the benchmarks share: who starts the candidates, from where, and how their memory is measured.
//!
//! Peak memory is measured in a pass of its own: the benchmark starts itself once for each candidate, and asks the kernel
//! for the largest of all processes below (never less than its own size, which every child has before exec).

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::User;

/// The hidden argument of the memory pass: run what follows, print the peak.
pub const MEASURE: &str = "--measure-memory-of";

/// What is measured and what measures memory, where every user can run it: a checkout may lie in a closed home.
pub struct Programs {
    pub usnea: PathBuf,
    pub bench: PathBuf,
}

impl Programs {
    pub fn published_in(place: &Path) -> Self {
        let copy = |from: PathBuf, name: &str| {
            let to = place.join(name);
            fs::copy(from, &to).expect("a copy of a program");
            open_to_all(&to);
            to
        };
        Self {
            // USNEA_BIN: a build that was made before, to be measured instead.
            usnea: copy(
                std::env::var_os("USNEA_BIN").unwrap_or(env!("CARGO_BIN_EXE_usnea").into()).into(),
                "usnea",
            ),
            bench: copy(std::env::current_exe().expect("this program"), "bench"),
        }
    }
}

pub fn open_to_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("open to all");
}

/// Who starts the candidates.
pub struct Runner {
    pub user: User,
    /// First subordinate user and group ID and how many, where there are some.
    pub ids: Option<(Range, Range)>,
}

pub type Range = (u32, u32);

impl Runner {
    /// As root the two users of the tests, as far as they are there; else the caller.
    pub fn all() -> Vec<Self> {
        let user = |name: &str| User::from_name(name).ok().flatten();
        let users: Vec<User> = if nix::unistd::geteuid().is_root() {
            ["usnea-test", "usnea-test-bare"].iter().filter_map(|name| user(name)).collect()
        } else {
            User::from_uid(nix::unistd::getuid()).ok().flatten().into_iter().collect()
        };
        assert!(!users.is_empty(), "no ordinary user to measure as: tests/run makes two");
        let runner = |user: User| {
            let ids = range("/etc/subuid", &user).zip(range("/etc/subgid", &user));
            Self { user, ids }
        };
        users.into_iter().map(runner).collect()
    }

    pub fn kind(&self) -> &'static str {
        if self.ids.is_some() { "with subordinate IDs" } else { "single-ID map" }
    }

    /// A command of this user. Every candidate is made here, so that starting costs all the same.
    pub fn command(&self, candidate: &[String], folder: &Path) -> Command {
        let mut command = Command::new(&candidate[0]);
        command
            .args(&candidate[1..])
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
            .env("HOME", folder)
            .env("XDG_RUNTIME_DIR", folder.join("run"))
            .current_dir(folder)
            .uid(self.user.uid.as_raw())
            .gid(self.user.gid.as_raw())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    }
}

pub fn range(file: &str, user: &User) -> Option<Range> {
    let text = fs::read_to_string(file).ok()?;
    let number = user.uid.to_string();
    text.lines().find_map(|line| match line.split(':').collect::<Vec<_>>()[..] {
        [owner, first, count] if owner == user.name || owner == number => {
            Some((first.parse().ok()?, count.parse().ok()?))
        }
        _ => None,
    })
}

pub fn try_once(mut command: Command) -> Result<(), String> {
    match command.output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err("not installed".into()),
        Err(error) => Err(error.to_string()),
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{}: {}", output.status, said(&output.stderr))),
    }
}

pub fn said(stderr: &[u8]) -> String {
    String::from_utf8_lossy(stderr).lines().next().unwrap_or("no word").to_owned()
}

/// The largest resident size of any process of one run of `words`, MB.
pub fn peak_megabytes(
    programs: &Programs,
    runner: &Runner,
    folder: &Path,
    words: &[String],
) -> f64 {
    let itself = [programs.bench.display().to_string(), MEASURE.to_owned()];
    let mut command = runner.command(&[&itself, words].concat(), folder);
    let output = command.stdout(Stdio::piped()).output().expect("this program again");
    let kilobytes = String::from_utf8_lossy(&output.stdout).trim().parse::<f64>();
    kilobytes.map_or(f64::NAN, |kilobytes| kilobytes / 1024.0)
}

/// The other end of [`peak_megabytes`].
pub fn measure_memory_of(words: &[String]) -> ExitCode {
    let ended = Command::new(&words[0]).args(&words[1..]).stdout(Stdio::null()).status();
    if !ended.is_ok_and(|status| status.success()) {
        return ExitCode::FAILURE;
    }
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("getrusage");
    println!("{}", usage.max_rss());
    ExitCode::SUCCESS
}
