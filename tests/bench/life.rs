//! Containers that live, beside podman: `cargo bench --bench life [-- -n N]`. How long `exec` of `true`, `ps` with one
//! container, and `run -d` take; how long `ps` takes with 1 000 that do not run and 100 that do; 100 starts at once;
//! the monitor's own memory, with pipes and with a terminal; how long a container's 1 GB of output takes to be in its log,
//! and from there with a reader; and what the first `run --userns keep-id` of an image of 9 000 files takes beside the
//! second one, of which podman makes a copy with other owners. podman refuses machines that have both cgroup versions; hiding the second from it, as root,
//! is enough: `unshare --mount sh -c 'umount /sys/fs/cgroup/unified; cargo bench --bench life'`.
//!
//! The candidates take turns (A B A B ...), so that what else the machine does falls on both alike.

mod runner;
#[path = "../it/small_root.rs"]
mod small_root;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use runner::{
    MEASURE, Programs, Runner, measure_memory_of, open_to_all, peak_megabytes, said, try_once,
};

const ROUNDS: usize = 20;
/// How many containers `ps` lists that do not run, and how many that do.
const MANY: (usize, usize) = (1000, 100);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|word| word == MEASURE) {
        return measure_memory_of(&arguments[1..]);
    }
    let given = arguments.iter().skip_while(|word| *word != "-n").nth(1);
    let rounds = given.map_or(ROUNDS, |number| number.parse().expect("-n takes a number"));
    let place = tempfile::tempdir().expect("a temporary folder");
    open_to_all(place.path());
    let programs = Programs::published_in(place.path());
    for runner in Runner::all() {
        let bench = Bench::make(&programs, &runner, place.path());
        compare(&bench, rounds);
        compare_logs(&bench);
        compare_keep_id(&bench);
        bench.end();
    }
    ExitCode::SUCCESS
}

/// One user's folder with a small image, and the two programs.
struct Bench<'a> {
    programs: &'a Programs,
    runner: &'a Runner,
    folder: PathBuf,
    usnea: String,
    podman: Option<String>,
}

impl<'a> Bench<'a> {
    fn make(programs: &'a Programs, runner: &'a Runner, place: &Path) -> Self {
        let folder = place.join(&runner.user.name);
        fs::create_dir(&folder).expect("a folder");
        fs::create_dir(folder.join("run")).expect("a folder");
        small_root::make(&folder.join("root"));
        if nix::unistd::geteuid().is_root() {
            let owner = format!("{}:{}", runner.user.uid, runner.user.gid);
            let given = Command::new("chown").args(["-R", &owner]).arg(&folder).status();
            assert!(given.is_ok_and(|status| status.success()), "chown of {}", folder.display());
        }
        let usnea = format!("{} --root {}/store", programs.usnea.display(), folder.display());
        let mut bench = Self { programs, runner, folder, usnea, podman: None };
        bench.works("tar -cf root.tar -C root .; $U import -q root.tar bench");
        let podman = "podman import -q root.tar bench && podman run --rm --network none --cgroups disabled bench true";
        match bench.tries(podman) {
            Ok(()) => bench.podman = Some("podman".to_owned()),
            Err(why) => println!("podman is left out: {why}"),
        }
        bench
    }

    /// What a shell of this user says to a script, in which `$U` is usnea with its store.
    fn tries(&self, script: &str) -> Result<(), String> {
        let line = format!("U='{}'; {script}", self.usnea);
        try_once(self.runner.command(&["/bin/sh", "-ec", &line].map(str::to_owned), &self.folder))
    }

    fn works(&self, script: &str) {
        self.tries(script).unwrap_or_else(|why| panic!("{script}: {why}"));
    }

    /// podman's files of subordinate IDs would stay for ever, its pause process for as long as the machine runs.
    fn end(&self) {
        self.works(
            "[ ! -e .local ] || podman unshare sh -c 'umount -l .local/share/containers/storage/overlay; rm -rf .local'; \
             [ ! -e run/libpod/tmp/pause.pid ] || kill $(cat run/libpod/tmp/pause.pid)",
        );
    }

    /// How long a command takes.
    fn time(&self, line: &str) -> Duration {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let mut command = self.runner.command(&words, &self.folder);
        let start = Instant::now();
        let output = command.output().expect("a program");
        let time = start.elapsed();
        assert!(output.status.success(), "{line}: {}", said(&output.stderr));
        time
    }

    /// Both by turns: medians, in milliseconds. `$P` is the program; `after` follows each, and is not measured.
    fn beside(
        &self,
        rounds: usize,
        what: &str,
        options: [&str; 2],
        after: &str,
    ) -> (f64, Option<f64>) {
        let line = |program: &str, options: &str| {
            what.replace("$P", program).replace("$O", options).trim_end().to_owned()
        };
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            ours.push(self.time(&line(&self.usnea, options[0])));
            if !after.is_empty() {
                self.works(&after.replace("$P", &self.usnea));
            }
            if let Some(podman) = &self.podman {
                theirs.push(self.time(&line(podman, options[1])));
                if !after.is_empty() {
                    self.works(&after.replace("$P", podman));
                }
            }
        }
        (median(ours), (!theirs.is_empty()).then(|| median(theirs)))
    }
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e3
}

fn compare(bench: &Bench<'_>, rounds: usize) {
    println!("\nas {}, {}", bench.runner.user.name, bench.runner.kind());
    println!("{:34} {:>9} {:>9} {:>9}", "", "usnea ms", "podman ms", "ratio");
    let show = |what: &str, (ours, theirs): (f64, Option<f64>)| {
        let theirs_shown = theirs.map_or_else(|| "-".to_owned(), |time| format!("{time:.1}"));
        let ratio = theirs.map_or_else(|| "-".to_owned(), |time| format!("{:.3}", ours / time));
        println!("{what:34} {ours:>9.1} {theirs_shown:>9} {ratio:>9}");
    };
    let none = ["--network none", "--network none --cgroups disabled"];
    let start = "run -d --name one --network none";
    bench.works(&format!("$U {start} bench sleep 10000 > id"));
    if bench.podman.is_some() {
        bench.works(&format!("podman {start} --cgroups disabled bench sleep 10000"));
    }
    show("exec of true", bench.beside(rounds, "$P exec one true", ["", ""], ""));
    let exec: Vec<String> =
        format!("{} exec one true", bench.usnea).split(' ').map(str::to_owned).collect();
    let peak = peak_megabytes(bench.programs, bench.runner, &bench.folder, &exec);
    println!("exec: {peak:.1} MB at most");
    show("ps with one container", bench.beside(rounds, "$P ps", ["", ""], ""));
    let what = "$P run -d --name two $O bench sleep 10000";
    show("run -d", bench.beside(rounds, what, none, "$P rm -f -t 0 two"));
    bench.works("$U run -dt --name screen --network none bench sleep 10000 > id");
    for (name, what) in [("one", "pipes"), ("screen", "a terminal")] {
        println!("monitor with {what}: {} kB of its own (PSS)", memory_of_monitor(bench, name));
    }
    bench.works("$U rm -f -t 0 screen");
    let seconds = |start: Instant| start.elapsed().as_secs_f64() * 1e3;
    let at_once = |program: &str, more: &str| {
        let start = Instant::now();
        bench.works(&format!(
            "for at in $(seq 100); do {program} run -d --network none {more} bench sleep 10000 > /dev/null & \
             pids=\"$pids $!\"; done; for pid in $pids; do wait $pid; done"
        ));
        seconds(start)
    };
    let ours = at_once(&bench.usnea, "");
    let theirs = bench.podman.as_ref().map(|podman| at_once(podman, "--cgroups disabled"));
    show("100 starts at once", (ours, theirs));
    if bench.podman.is_some() {
        bench.works("podman rm -af -t 0 > /dev/null");
    }
    bench.works(&format!(
        "for at in $(seq {}); do $U create --network none bench true > /dev/null; done",
        MANY.0
    ));
    let what = format!("ps with {} and {} running", MANY.0, MANY.1);
    show(&what, (bench.beside(rounds, "$P ps", ["", ""], "").0, None));
    show("ps -a with them", (bench.beside(rounds, "$P ps -a", ["", ""], "").0, None));
    bench.works("$U rm --all --force --time 0 > /dev/null");
}

/// The first and the second run of an image whose files are shown as another's, each round with the image stored anew.
fn compare_keep_id(bench: &Bench<'_>) {
    const ROUNDS: usize = 5;
    bench.works(
        "cp -r root large; for folder in $(seq 90); do mkdir -p large/many/$folder; \
         for file in $(seq 100); do echo $file > large/many/$folder/$file; done; done; tar -cf large.tar -C large .",
    );
    let podman = bench.podman.iter().map(|podman| ("podman", podman, "--cgroups disabled "));
    for (name, program, options) in
        std::iter::once(("usnea", &bench.usnea, "--log-opt max-size=-1 ")).chain(podman)
    {
        let run_of = |image| {
            format!("{program} run --rm --network none --userns keep-id {options}{image} true")
        };
        let run = run_of("large");
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            bench.works(&format!("{program} import -q large.tar large"));
            // What is measured is the image's first run: the same is done before with another one, because an import drives
            // the program and what it needs of the kernel out of the processor's caches.
            bench.works(&run_of("bench"));
            first.push(bench.time(&run));
            second.push(bench.time(&run));
            bench.works(&format!("{program} rmi large"));
        }
        let (first, second) = (median(first), median(second));
        let ratio = first / second;
        println!(
            "{name}: first run --userns keep-id {first:.1} ms, second {second:.1} ms, ratio {ratio:.2}"
        );
    }
}

/// How long 1 GB of lines takes, once each: until it is in the log, and with somebody who follows it from its beginning.
fn compare_logs(bench: &Bench<'_>) {
    const WRITER: &str = "head -c 1000000000 /dev/zero | tr '\\0' x | busybox fold -w 99";
    let podman = bench
        .podman
        .iter()
        .map(|podman| ("podman", podman, "--cgroups disabled --log-driver k8s-file "));
    for (name, program, options) in
        std::iter::once(("usnea", &bench.usnea, "--log-opt max-size=-1 ")).chain(podman)
    {
        for (what, follow) in [
            ("in the log", ""),
            ("in the log, and followed", "$P logs -f big | tail -c 1 > /dev/null;"),
        ] {
            let run =
                format!("$P run -d --name big --network none {options}bench sh -c \"{WRITER}\"");
            let line = format!("{run} > /dev/null; {follow} $P wait big > /dev/null")
                .replace("$P", program);
            let start = Instant::now();
            bench.works(&line);
            println!(
                "{name}: 1 GB of output is {what} after {:.1} s",
                start.elapsed().as_secs_f64()
            );
            bench.works(&format!("{program} rm -f big > /dev/null"));
        }
    }
}

/// PSS of the monitor of a container, in kB, once it is at rest.
fn memory_of_monitor(bench: &Bench<'_>, name: &str) -> String {
    std::thread::sleep(Duration::from_millis(500));
    let script = "pid=$($U inspect --format '{{.State.MonitorPid}}' NAME); \
                  sed -n 's/^Pss: *\\([0-9]*\\) kB$/\\1/p' /proc/$pid/smaps_rollup > pss";
    bench.works(&script.replace("NAME", name));
    fs::read_to_string(bench.folder.join("pss")).unwrap_or_default().trim().to_owned()
}
