//! How long a container takes from nothing to the end of `true`, beside the peers: `cargo bench --bench start [-- -n N]`.
//! Of a root directory, beside bwrap, crun and unshare; of a stored image, beside podman; and how long `usnea images` takes
//! with 1 000 images. crun, and podman with it, refuses machines that have both cgroup versions; hiding the second from
//! it, as root, is enough there:
//! `unshare --mount sh -c 'umount /sys/fs/cgroup/unified; cargo bench --bench start'`.
//!
//! The candidates take turns (A B C A B C ...), so that what else the machine does falls on all alike. All are started in
//! the same way by the same user. As root that is each of the two users that `tests/run` makes; else it is the caller.

mod runner;
#[path = "../it/small_root.rs"]
mod small_root;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use runner::{
    MEASURE, Programs, Range, Runner, measure_memory_of, open_to_all, peak_megabytes, said,
    try_once,
};

const WARM_UPS: usize = 5;
const ROUNDS: usize = 100;

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
    let tar = store_images(&programs.usnea, runner, &folder);
    let all = commands(&programs.usnea, &root, bundle.as_deref()).into_iter();
    for (name, words) in all.chain(image_commands(&programs.usnea, runner, &folder, &tar)) {
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
    end_podman(runner, &folder);
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

/// How many images `usnea images` lists.
const IMAGES: usize = 1000;

/// Makes the root an image of usnea's, and [`IMAGES`] more in a store of their own; the root's tarball.
fn store_images(usnea: &Path, runner: &Runner, folder: &Path) -> PathBuf {
    let tar = folder.join("root.tar");
    let usnea = usnea.display();
    let line = format!(
        "tar -cf root.tar -C root .; {usnea} --root $PWD/store import -q root.tar bench; tar -cf empty.tar -T /dev/null; \
         for at in $(seq {IMAGES}); do {usnea} --root $PWD/many import -q -c \"LABEL at=$at\" empty.tar image:$at; done"
    );
    let words = ["/bin/sh", "-ec", &line].map(str::to_owned);
    try_once(runner.command(&words, folder)).expect("images");
    tar
}

fn image_commands(
    usnea: &Path,
    runner: &Runner,
    folder: &Path,
    tar: &Path,
) -> Vec<(&'static str, Vec<String>)> {
    let words = |line: String| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    // Where podman is missing its run says so.
    drop(try_once(
        runner.command(&words(format!("podman import -q {} bench", tar.display())), folder),
    ));
    let (usnea, folder) = (usnea.display(), folder.display());
    vec![
        (
            "image",
            words(format!("{usnea} --root {folder}/store run --rm --network none bench true")),
        ),
        ("podman", words("podman run --rm --network none --cgroups disabled bench true".into())),
        ("images", words(format!("{usnea} --root {folder}/many images"))),
    ]
}

/// Podman's pause process would stay for as long as the machine runs, its files of subordinate IDs for ever.
fn end_podman(runner: &Runner, folder: &Path) {
    let line = "[ ! -e .local ] || podman unshare rm -rf .local; \
        [ ! -e run/libpod/tmp/pause.pid ] || kill $(cat run/libpod/tmp/pause.pid)";
    let words = ["/bin/sh", "-c", line].map(str::to_owned);
    try_once(runner.command(&words, folder)).expect("the end of podman's pause process");
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

fn print_table(programs: &Programs, runner: &Runner, folder: &Path, candidates: &mut [Candidate]) {
    candidates.iter_mut().for_each(|candidate| candidate.times.sort());
    let median =
        |candidate: &Candidate| candidate.times[candidate.times.len() / 2].as_secs_f64() * 1e3;
    let of = |name: &str| candidates.iter().find(|candidate| candidate.name == name).map(median);
    let (bwrap, crun, podman) = (of("bwrap"), of("crun"), of("podman"));
    println!("\nas {}, {}", runner.user.name, runner.kind());
    println!(
        "{:10} {:>9} {:>9} {:>8} {:>8} {:>8} {:>8}",
        "", "median ms", "least ms", "/ bwrap", "/ crun", "/ podman", "peak MB"
    );
    for candidate in candidates.iter() {
        let own = median(candidate);
        let ratio = |peer: Option<f64>| {
            peer.map_or_else(|| "-".to_owned(), |peer| format!("{:.2}", own / peer))
        };
        println!(
            "{:10} {:>9.2} {:>9.2} {:>8} {:>8} {:>8} {:>8.1}",
            candidate.name,
            own,
            candidate.times[0].as_secs_f64() * 1e3,
            ratio(bwrap),
            ratio(crun),
            ratio(podman),
            peak_megabytes(programs, runner, folder, &candidate.words),
        );
    }
}
