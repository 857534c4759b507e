//! How long a container takes from nothing to the end of `true`, beside the peers: `cargo bench --bench start [-- -n N]`.
//! crun refuses machines that have both cgroup versions; hiding the second from it, as root, is enough there:
//! `unshare --mount sh -c 'umount /sys/fs/cgroup/unified; cargo bench --bench start'`.
//!
//! The candidates take turns (A B C A B C ...), so that what else the machine does falls on all alike. All are started in
//! the same way by the same user. As root that is each of the two users that `tests/run` makes; else it is the caller.
//! Peak memory is measured in a pass of its own: this program starts itself once for each candidate, and asks the kernel
//! for the largest of all processes below (never less than this program's own size, which every child has before exec).

#[path = "../it/small_root.rs"]
mod small_root;

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::User;

const WARM_UPS: usize = 5;
const ROUNDS: usize = 100;
/// The hidden argument of the memory pass: run what follows, print the peak.
const MEASURE: &str = "--measure-memory-of";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|word| word == MEASURE) {
        return measure_memory_of(&arguments[1..]);
    }
    let rounds = rounds(&arguments);
    let place = tempfile::tempdir().expect("a temporary folder");
    open_to_all(place.path());
    let programs = Programs::published_in(place.path());
    let mut complete = true;
    for runner in Runner::all() {
        complete &= compare(&programs, &runner, place.path(), rounds);
    }
    ExitCode::from(u8::from(!complete))
}

fn rounds(arguments: &[String]) -> usize {
    let given = arguments.iter().skip_while(|word| *word != "-n").nth(1);
    given.map_or(ROUNDS, |number| number.parse().expect("-n takes a number"))
}

/// What is measured and what measures memory, where every user can run it: a checkout may lie in a closed home.
struct Programs {
    usnea: PathBuf,
    bench: PathBuf,
}

impl Programs {
    fn published_in(place: &Path) -> Self {
        let copy = |from: PathBuf, name: &str| {
            let to = place.join(name);
            fs::copy(from, &to).expect("a copy of a program");
            open_to_all(&to);
            to
        };
        Self {
            usnea: copy(env!("CARGO_BIN_EXE_usnea").into(), "usnea"),
            bench: copy(std::env::current_exe().expect("this program"), "bench"),
        }
    }
}

fn open_to_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("open to all");
}

/// Who starts the candidates.
struct Runner {
    user: User,
    /// First subordinate user and group ID and how many, where there are some.
    ids: Option<(Range, Range)>,
}

type Range = (u32, u32);

impl Runner {
    /// As root the two users of the tests, as far as they are there; else the caller.
    fn all() -> Vec<Self> {
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

    fn kind(&self) -> &'static str {
        if self.ids.is_some() { "with subordinate IDs" } else { "single-ID map" }
    }

    /// A command of this user. Every candidate is made here, so that starting costs all the same.
    fn command(&self, candidate: &[String], folder: &Path) -> Command {
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

fn range(file: &str, user: &User) -> Option<Range> {
    let text = fs::read_to_string(file).ok()?;
    let number = user.uid.to_string();
    text.lines().find_map(|line| match line.split(':').collect::<Vec<_>>()[..] {
        [owner, first, count] if owner == user.name || owner == number => {
            Some((first.parse().ok()?, count.parse().ok()?))
        }
        _ => None,
    })
}

struct Candidate {
    name: &'static str,
    words: Vec<String>,
    times: Vec<Duration>,
}

/// Measures everything as one user and prints the table; whether usnea was among it.
fn compare(programs: &Programs, runner: &Runner, place: &Path, rounds: usize) -> bool {
    let folder = place.join(&runner.user.name);
    let root = folder.join("root");
    fs::create_dir(&folder).expect("a folder");
    fs::create_dir(folder.join("run")).expect("a folder");
    small_root::make(&root);
    let bundle = write_bundle(runner, &folder, &root);
    if nix::unistd::geteuid().is_root() {
        let owner = format!("{}:{}", runner.user.uid, runner.user.gid);
        let given = Command::new("chown").args(["-R", &owner]).arg(&folder).status();
        assert!(given.is_ok_and(|status| status.success()), "chown of {}", folder.display());
    }
    let (mut candidates, mut left_out) = (Vec::new(), Vec::new());
    for (name, words) in commands(&programs.usnea, &root, bundle.as_deref()) {
        match try_once(runner.command(&words, &folder)) {
            Ok(()) => candidates.push(Candidate { name, words, times: Vec::new() }),
            Err(why) => left_out.push(format!("{name} ({why})")),
        }
    }
    for round in 0..WARM_UPS + rounds {
        for candidate in &mut candidates {
            let mut command = runner.command(&candidate.words, &folder);
            let start = Instant::now();
            let output = command.output().expect("a candidate that ran before");
            let time = start.elapsed();
            assert!(output.status.success(), "{}: {}", candidate.name, said(&output.stderr));
            if round >= WARM_UPS {
                candidate.times.push(time);
            }
        }
    }
    print_table(programs, runner, &folder, &mut candidates);
    if !left_out.is_empty() {
        println!("left out: {}", left_out.join(", "));
    }
    candidates.iter().any(|candidate| candidate.name == "usnea")
}

fn commands(usnea: &Path, root: &Path, bundle: Option<&Path>) -> Vec<(&'static str, Vec<String>)> {
    let words = |line: String| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let (usnea, root) = (usnea.display(), root.display());
    let mut commands = vec![
        ("usnea", words(format!("{usnea} run --rm --network none dir:{root} true"))),
        (
            "bwrap",
            words(format!("bwrap --unshare-all --bind {root} / --proc /proc --dev /dev true")),
        ),
        ("unshare", words("unshare -Urmpf --mount-proc true".into())),
    ];
    let bundle = bundle.map_or_else(|| "none".to_owned(), |bundle| bundle.display().to_string());
    commands.insert(
        2,
        (
            "crun",
            words(format!("crun --cgroup-manager=disabled run --bundle {bundle} usnea-bench")),
        ),
    );
    commands
}

/// The same root and command as a bundle, from crun's own template: none where crun is not installed.
fn write_bundle(runner: &Runner, folder: &Path, root: &Path) -> Option<PathBuf> {
    let bundle = folder.join("bundle");
    fs::create_dir(&bundle).expect("a folder");
    let made = Command::new("crun").args(["spec", "--rootless"]).current_dir(&bundle).output();
    if !made.is_ok_and(|made| made.status.success()) {
        return None;
    }
    let file = bundle.join("config.json");
    let text = fs::read_to_string(&file).expect("crun's template");
    let mut config: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    config["root"]["path"] = root.display().to_string().into();
    config["process"]["terminal"] = false.into();
    config["process"]["args"] = serde_json::json!(["true"]);
    // No cgroup: not every machine has one that crun accepts, and the others make none.
    config["linux"]["resources"] = serde_json::json!({});
    if let Some(mounts) = config["mounts"].as_array_mut() {
        mounts.retain(|mount| mount["type"] != "cgroup");
    }
    let (uids, gids) = runner.ids.unzip();
    config["linux"]["uidMappings"] = map(runner.user.uid.as_raw(), uids);
    config["linux"]["gidMappings"] = map(runner.user.gid.as_raw(), gids);
    fs::write(&file, config.to_string()).expect("the bundle");
    Some(bundle)
}

/// Root inside is the user, the subordinate IDs follow: what usnea maps.
fn map(own: u32, range: Option<Range>) -> serde_json::Value {
    let line = |inside: u32, outside: u32, count: u32| serde_json::json!({ "containerID": inside, "hostID": outside, "size": count });
    let following = range.map(|(first, count)| line(1, first, count));
    [line(0, own, 1)].into_iter().chain(following).collect()
}

fn try_once(mut command: Command) -> Result<(), String> {
    match command.output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err("not installed".into()),
        Err(error) => Err(error.to_string()),
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{}: {}", output.status, said(&output.stderr))),
    }
}

fn said(stderr: &[u8]) -> String {
    String::from_utf8_lossy(stderr).lines().next().unwrap_or("no word").to_owned()
}

fn print_table(programs: &Programs, runner: &Runner, folder: &Path, candidates: &mut [Candidate]) {
    candidates.iter_mut().for_each(|candidate| candidate.times.sort());
    let median =
        |candidate: &Candidate| candidate.times[candidate.times.len() / 2].as_secs_f64() * 1e3;
    let of = |name: &str| candidates.iter().find(|candidate| candidate.name == name).map(median);
    let (bwrap, crun) = (of("bwrap"), of("crun"));
    println!("\nas {}, {}", runner.user.name, runner.kind());
    println!(
        "{:10} {:>9} {:>9} {:>8} {:>8} {:>8}",
        "", "median ms", "least ms", "/ bwrap", "/ crun", "peak MB"
    );
    for candidate in candidates.iter() {
        let own = median(candidate);
        let ratio = |peer: Option<f64>| {
            peer.map_or_else(|| "-".to_owned(), |peer| format!("{:.2}", own / peer))
        };
        println!(
            "{:10} {:>9.2} {:>9.2} {:>8} {:>8} {:>8.1}",
            candidate.name,
            own,
            candidate.times[0].as_secs_f64() * 1e3,
            ratio(bwrap),
            ratio(crun),
            peak_megabytes(programs, runner, folder, candidate),
        );
    }
}

/// The largest resident size of any process of one run.
fn peak_megabytes(
    programs: &Programs,
    runner: &Runner,
    folder: &Path,
    candidate: &Candidate,
) -> f64 {
    let itself = [programs.bench.display().to_string(), MEASURE.to_owned()];
    let mut command = runner.command(&[&itself, &candidate.words[..]].concat(), folder);
    let output = command.stdout(Stdio::piped()).output().expect("this program again");
    let kilobytes = String::from_utf8_lossy(&output.stdout).trim().parse::<f64>();
    kilobytes.map_or(f64::NAN, |kilobytes| kilobytes / 1024.0)
}

fn measure_memory_of(words: &[String]) -> ExitCode {
    let ended = Command::new(&words[0]).args(&words[1..]).stdout(Stdio::null()).status();
    if !ended.is_ok_and(|status| status.success()) {
        return ExitCode::FAILURE;
    }
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("getrusage");
    println!("{}", usage.max_rss());
    ExitCode::SUCCESS
}
