//! What every test stands on: a [`Place`] of its own (store, roots, volumes), the built program run in it with a time
//! limit, and the check that nothing is left when the place goes.
//!
//! A test that lacks something of the machine says so through [`need`]; with USNEA_TESTS_MUST_RUN=1 that is a failure.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::small_root;

/// What is being torn down may still be seen for this long.
const SETTLING: Duration = Duration::from_secs(10);

/// No command of a test takes longer: what does is killed, and the test fails.
fn time_limit() -> Duration {
    // Emulated, the machine of tests/vm is ten times slower.
    let is_emulated = std::env::var_os("USNEA_TEST_MACHINE").is_some();
    Duration::from_secs(if is_emulated { 600 } else { 120 })
}

/// The program under test.
pub fn binary() -> PathBuf {
    std::env::var_os("USNEA_BIN").map_or_else(|| env!("CARGO_BIN_EXE_usnea").into(), PathBuf::from)
}

/// The source tree, for the tests that read it.
pub fn source() -> PathBuf {
    std::env::var_os("USNEA_SOURCE")
        .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from)
}

/// A folder of one test: removed at its end, after the check that nothing of ours is left in it or works in it.
pub struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    /// Makes the folder. The tests are about people without root, so root is refused.
    pub fn new() -> Self {
        assert!(
            !rustix::process::geteuid().is_root(),
            "these tests are for an ordinary user: run them by tests/run"
        );
        Self::for_root_of_a_namespace()
    }

    /// [`Place::new`], also for a test that runs as root of a user namespace.
    pub fn for_root_of_a_namespace() -> Self {
        let folder =
            tempfile::Builder::new().prefix("usnea-it-").tempdir().expect("a temporary folder");
        Self { folder }
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where usnea keeps its files here. It is usnea that makes it.
    pub fn store(&self) -> PathBuf {
        self.path("store")
    }

    /// Writes a file; the folders above it are made.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("the folders of a file");
        fs::write(&path, content).expect("a file");
        path
    }

    /// Makes a folder.
    pub fn folder(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).expect("a folder");
        path
    }

    /// What a file holds.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The root directory `root`, made by the first call.
    pub fn small_root(&self) -> PathBuf {
        let root = self.path("root");
        if !root.exists() {
            small_root::make(&root);
        }
        root
    }

    /// `dir:` and the small root: the IMAGE of most tests.
    pub fn image(&self) -> String {
        format!("dir:{}", self.small_root().display())
    }

    /// usnea with these arguments and this place's store, not yet started.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments);
        self.prepare(&mut command);
        command
    }

    /// Any program, with the environment that [`Place::command`] gives usnea.
    pub fn prepare(&self, command: &mut Command) {
        command.env("USNEA_ROOT", self.store()).current_dir(self.folder.path());
    }

    /// Runs usnea with these arguments.
    pub fn usnea<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Ran {
        finish(&mut self.command(arguments), "")
    }

    /// `usnea run --rm OPTIONS dir:ROOT sh -c SCRIPT`
    pub fn run(&self, options: &[&str], script: &str) -> Ran {
        self.usnea(&self.arguments(options, &["sh", "-c", script]))
    }

    /// The arguments of `usnea run --rm OPTIONS dir:ROOT COMMAND`.
    pub fn arguments(&self, options: &[&str], command: &[&str]) -> Vec<String> {
        let image = self.image();
        let words = [&["run", "--rm"], options, &[image.as_str()], command].concat();
        words.into_iter().map(str::to_owned).collect()
    }

    /// `usnea run OPTIONS dir:ROOT sh -c SCRIPT` of a container that is kept when it ends.
    pub fn run_kept(&self, options: &[&str], script: &str) -> Ran {
        self.usnea(&self.kept(&[&["run"], options].concat(), script))
    }

    /// The arguments of `usnea WORDS dir:ROOT sh -c SCRIPT`.
    pub fn kept(&self, words: &[&str], script: &str) -> Vec<String> {
        let image = self.image();
        let words = [words, &[image.as_str(), "sh", "-c", script]].concat();
        words.into_iter().map(str::to_owned).collect()
    }

    /// Asserts that no run is left here: no leftover files of the store, no mounts, no processes.
    pub fn nothing_is_left(&self) {
        let deadline = Instant::now() + SETTLING;
        loop {
            let left = self.leftovers();
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "left behind:\n  {}", left.join("\n  "));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn leftovers(&self) -> Vec<String> {
        let mut left = Vec::new();
        for folder in ["tmp", "containers"] {
            for entry in fs::read_dir(self.store().join(folder)).into_iter().flatten().flatten() {
                left.push(format!("file {}", entry.path().display()));
            }
        }
        let here = self.folder.path().to_str().expect("a UTF-8 path");
        // Also the mount tables of others: an overlay that outlives its container is seen only from inside.
        for process in processes() {
            for (what, text) in
                [("mount", "mountinfo"), ("process", "cmdline"), ("process", "environ")]
            {
                if process.text(text).contains(here) {
                    left.push(format!(
                        "{what} of {} ({})",
                        process.number,
                        process.text("comm").trim()
                    ));
                }
            }
        }
        left
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.nothing_is_left();
        }
        // A store may hold folders without write permission, which only hide their content from removal, and files of
        // subordinate IDs, which are root's of a namespace to remove.
        let run = |program: &str, words: &[&str]| {
            let _ = Command::new(program)
                .args(words)
                .arg(self.folder.path())
                .stderr(Stdio::null())
                .status();
        };
        run("chmod", &["-R", "u+rwX"]);
        // Folders nested more deeply than a process may have open files are rm's to remove.
        if fs::remove_dir_all(self.folder.path()).is_err() {
            run("rm", &["-rf"]);
        }
        if self.folder.path().exists() {
            run("unshare", &["--user", "--map-root-user", "--map-auto", "rm", "-rf"]);
        }
    }
}

/// A process as /proc shows it.
pub struct Process {
    /// Its number.
    pub number: i32,
}

impl Process {
    /// A file of `/proc/PID`; empty when it cannot be read or the process is gone.
    pub fn text(&self, name: &str) -> String {
        let content = fs::read(format!("/proc/{}/{name}", self.number)).unwrap_or_default();
        String::from_utf8_lossy(&content).replace('\0', " ")
    }

    /// The number of its parent.
    pub fn parent(&self) -> Option<i32> {
        self.text("stat").rsplit(") ").next()?.split(' ').nth(1)?.parse().ok()
    }

    /// True if a signal has stopped it.
    pub fn is_stopped(&self) -> bool {
        self.text("stat").rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
    }

    /// Whether it runs (a zombie does not).
    pub fn runs(&self) -> bool {
        let stat = self.text("stat");
        stat.rsplit(") ")
            .next()
            .is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
    }
}

/// All processes but this one.
pub fn processes() -> Vec<Process> {
    let numbers = fs::read_dir("/proc").expect("/proc").flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers
        .filter(|number| *number != std::process::id() as i32)
        .map(|number| Process { number })
        .collect()
}

/// Processes whose command line contains `mark`.
pub fn processes_with(mark: &str) -> Vec<Process> {
    processes()
        .into_iter()
        .filter(|process| process.text("cmdline").contains(mark) && process.runs())
        .collect()
}

/// Waits until `condition` holds, at most `limit`; whether it does.
pub fn within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    while Instant::now() < deadline {
        if condition() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    condition()
}

/// How a program ended and what it said.
#[derive(Debug)]
pub struct Ran {
    /// Its exit status; a signal that killed it is -signal.
    pub status: i32,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Ran {
    /// Asserts success; the output without the blanks around it.
    #[track_caller]
    pub fn works(&self) -> &str {
        self.exits(0)
    }

    /// Asserts the exit status; the output without the blanks around it.
    #[track_caller]
    pub fn exits(&self, status: i32) -> &str {
        assert_eq!(self.status, status, "{self:?}");
        self.stdout.trim()
    }

    /// Asserts an error of ours: the exit status, nothing on standard output, one line `usnea: ...` that holds each
    /// phrase, and at most one more, `hint: ...`.
    #[track_caller]
    pub fn fails_with(&self, status: i32, phrases: &[&str]) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.stdout, "", "{self:?}");
        let lines: Vec<&str> = self.stderr.lines().collect();
        let (line, hints) =
            lines.split_first().unwrap_or_else(|| panic!("no word of the cause: {self:?}"));
        assert!(line.starts_with("usnea: "), "{self:?}");
        assert!(
            hints.len() <= 1 && hints.iter().all(|hint| hint.starts_with("hint: ")),
            "{self:?}"
        );
        for phrase in phrases {
            // The kernel's own texts begin with a capital, ours do not.
            let found = line.to_lowercase().contains(&phrase.to_lowercase());
            assert!(found, "'{phrase}' is not in: {line}");
        }
    }

    /// Asserts that [`Ran::fails_with`] gave a hint too.
    #[track_caller]
    pub fn hints(&self) {
        assert!(self.stderr.lines().any(|line| line.starts_with("hint: ")), "no hint: {self:?}");
    }
}

/// Runs a command to its end, with `input` on its standard input.
pub fn finish(command: &mut Command, input: &str) -> Ran {
    Started::new(command, input).end()
}

/// A command that runs.
pub struct Started {
    child: Child,
    stdout: mpsc::Receiver<Vec<u8>>,
    stderr: mpsc::Receiver<Vec<u8>>,
    words: String,
}

impl Started {
    /// Starts a command with `input` on its standard input.
    pub fn new(command: &mut Command, input: &str) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let words = format!("{command:?}");
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{words}: {error}"));
        // A command that reads nothing closes the pipe: no error of ours.
        let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
        let stdout = read_in_chunks(child.stdout.take().expect("a pipe"));
        let stderr = read_in_chunks(child.stderr.take().expect("a pipe"));
        Self { child, stdout, stderr, words }
    }

    /// It and all processes below it, whatever their titles.
    pub fn family(&self) -> Vec<Process> {
        let mut family = vec![Process { number: self.child.id() as i32 }];
        let mut others = processes();
        loop {
            let is_child =
                |other: &Process| family.iter().any(|member| other.parent() == Some(member.number));
            let (children, rest): (Vec<_>, Vec<_>) = others.into_iter().partition(is_child);
            let known: Vec<_> = family.iter().map(|member| member.number).collect();
            let new: Vec<_> =
                children.into_iter().filter(|child| !known.contains(&child.number)).collect();
            if new.is_empty() {
                return family;
            }
            family.extend(new);
            others = rest;
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let number = rustix::process::Pid::from_child(&self.child);
        // It may have ended before: not reaped by us yet, so the number is still its own.
        let _ = rustix::process::kill_process(number, signal);
    }

    /// Waits until its standard output holds `mark`; what was written so far is lost.
    #[track_caller]
    pub fn wait_for(&mut self, mark: &str) {
        let mut seen = String::new();
        let deadline = Instant::now() + time_limit();
        while !seen.contains(mark) {
            match self.stdout.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(bytes) => seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => {
                    let _ = self.child.kill();
                    let errors = collect(&self.stderr, Instant::now() + SETTLING).0;
                    panic!("'{mark}' never came from {}: {seen:?}, {errors:?}", self.words);
                }
            }
        }
    }

    /// Waits for a line of standard output that begins with `mark`; returns the numbers after it.
    #[track_caller]
    pub fn wait_for_line(&mut self, mark: &str) -> Vec<u64> {
        let mut seen = String::new();
        let deadline = Instant::now() + time_limit();
        loop {
            let line = seen.split_inclusive('\n').find(|line| line.starts_with(mark));
            if let Some(line) = line.filter(|line| line.ends_with('\n')) {
                let words = line.split_ascii_whitespace();
                return words.filter_map(|word| word.parse().ok()).collect();
            }
            match self.stdout.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(bytes) => seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("no line '{mark}' came from {}: {seen:?}", self.words),
            }
        }
    }

    /// As [`Started::end`]; nobody may hold its standard error either.
    #[track_caller]
    pub fn ends_whole(self) -> Ran {
        let words = self.words.clone();
        let (ran, closed) = self.end_and_stderr();
        assert!(closed, "a process that outlives {words} holds its standard error");
        ran
    }

    /// Waits for its end.
    #[track_caller]
    pub fn end(self) -> Ran {
        self.end_and_stderr().0
    }

    #[track_caller]
    fn end_and_stderr(mut self) -> (Ran, bool) {
        let mut ended = None;
        within(time_limit(), || {
            ended = self.child.try_wait().expect("a child of ours");
            ended.is_some()
        });
        if ended.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        let (stdout, closed) = collect(&self.stdout, Instant::now() + SETTLING);
        let (stderr, closed_too) = collect(&self.stderr, Instant::now() + SETTLING);
        let Some(ended) = ended else {
            let limit = time_limit();
            panic!("{} took longer than {limit:?}: {stdout:?}, {stderr:?}", self.words);
        };
        assert!(closed, "a process that outlives {} holds its output", self.words);
        let status = ended.code().unwrap_or_else(|| -ended.signal().expect("a status or a signal"));
        (Ran { status, stdout, stderr }, closed_too)
    }
}

fn read_in_chunks(mut pipe: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut room = [0; 8192];
        while let Ok(length @ 1..) = pipe.read(&mut room) {
            if sender.send(room[..length].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}

// All that comes until the end of file or the deadline, and whether the end of file came.
fn collect(pipe: &mpsc::Receiver<Vec<u8>>, deadline: Instant) -> (String, bool) {
    let mut all = Vec::new();
    let closed = loop {
        match pipe.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(bytes) => all.extend(bytes),
            Err(error) => break error == mpsc::RecvTimeoutError::Disconnected,
        }
    };
    (String::from_utf8_lossy(&all).into_owned(), closed)
}

/// Whether the machine has `program`; if not, the test is skipped, or fails where it must run.
#[must_use]
pub fn need(program: &str) -> bool {
    need_that(on_path(program), &format!("the program {program}"))
}

/// Whether `condition` holds; if not, the test is skipped for want of `what`, or fails where it must run.
#[must_use]
pub fn need_that(condition: bool, what: &str) -> bool {
    if !condition {
        let must_run = std::env::var_os("USNEA_TESTS_MUST_RUN").is_some_and(|value| value == "1");
        assert!(!must_run, "this test must run, and needs {what}");
        say(&format!("SKIPPED {}: it needs {what}", test_name()));
    }
    condition
}

/// Whether the caller has subordinate IDs, for a test about them. The user of the second round has none on purpose.
#[must_use]
pub fn need_subids() -> bool {
    match std::env::var("USNEA_TEST_USER_KIND").as_deref() {
        Ok("bare") => {
            not_applicable("this user has no subordinate IDs");
            false
        }
        _ => need_that(has_subids(), "subordinate IDs and newuidmap"),
    }
}

/// Whether the caller has no subordinate IDs, for a test about the map of one ID.
#[must_use]
pub fn need_no_subids() -> bool {
    let bare = !has_subids();
    if !bare {
        not_applicable("this user has subordinate IDs");
    }
    bare
}

pub fn has_subids() -> bool {
    let name = Command::new("id").arg("-un").output().expect("id");
    let name = String::from_utf8_lossy(&name.stdout).trim().to_owned();
    let number = rustix::process::getuid().as_raw().to_string();
    let listed = |file: &str| {
        fs::read_to_string(file).unwrap_or_default().lines().any(|line| {
            line.split(':').next().is_some_and(|owner| owner == name || owner == number)
        })
    };
    listed("/etc/subuid") && listed("/etc/subgid") && on_path("newuidmap") && on_path("newgidmap")
}

/// Whether `program` is in a folder of PATH.
pub fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Whether the kernel is of this version or later.
pub fn kernel_is(major: u32, minor: u32) -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("a release");
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(major), Some(minor))
}

/// Whether this kernel lets an ordinary user mount its overlay, for a test about that or about its absence.
pub fn has_kernel_overlay() -> bool {
    kernel_is(5, 11)
}

/// The storage drivers that this kernel has.
pub fn drivers() -> Vec<&'static str> {
    let all = ["overlay", "fuse", "copy"];
    all.into_iter().filter(|driver| *driver != "overlay" || has_kernel_overlay()).collect()
}

/// Says that a test has no object here.
pub fn not_applicable(why: &str) {
    say(&format!("NOT APPLICABLE {}: {why}", test_name()));
}

fn test_name() -> String {
    std::thread::current().name().unwrap_or("a test").to_owned()
}

// Not eprintln!: the test harness keeps that to itself when the test passes.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// A path as text.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("a UTF-8 path")
}
