//! A mounted squashfs image beside squashfuse_ll and the kernel's own mount:
//! `cargo bench --bench squashfs [-- -n ROUNDS --files N --megabytes N --block SIZE --codec NAME --place DIR]`.
//!
//! All run by turns (A B C A B C ...) on one image, which lies in the page cache: what a disk does at the same time would
//! hide what the servers cost. Every mount is new, so that "cold" is a cache of the kernel's without any of its files.
//! As root the kernel's mount is measured too; an ordinary user's are made in a user namespace, for which the program
//! starts itself under unshare(1). mksquashfs, Python and find are needed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

const INSIDE: &str = "--inside";

/// What is measured: a name, a script, and whether the mount is a new one.
const WORK: &[(&str, &str, Mount)] = &[
    ("find, cold", "find m > /dev/null", Mount::New),
    ("lstat of all, cold", "find m -printf %s%m%T@ > /dev/null", Mount::New),
    ("lstat of all, again", "find m -printf %s%m%T@ > /dev/null", Mount::Same),
    ("read all, cold", READ, Mount::New),
    ("read all, again", READ, Mount::Same),
    ("two readers of all, cold", TWO, Mount::New),
    ("2 000 random 4 KiB reads", RANDOM, Mount::New),
];

const READ: &str = "find m -type f -print0 | xargs -0 cat > /dev/null";

const TWO: &str = "for n in 1 2; do find m -type f -print0 | xargs -0 cat > /dev/null & done; wait";

const RANDOM: &str = "python3 -c '
import os, random
random.seed(7); fd = os.open(\"m/big\", os.O_RDONLY); size = os.fstat(fd).st_size
for _ in range(2000): os.pread(fd, 4096, random.randrange(size // 4096) * 4096)'";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mount {
    New,
    Same,
}

/// A tree of text like source code: files of 2 KB to 300 KB, and a big one.
const TREE: &str = "
import os, random, sys
files, size = int(sys.argv[1]), int(sys.argv[2]) << 20
random.seed(3)
words = [''.join(random.choices('abcdefghijklmnopqrstuvwxyz_', k=random.randint(2, 11))) for _ in range(6000)]
line = lambda: ' ' * random.choice([0, 4, 8, 12]) + ' '.join(random.choices(words, k=random.randint(1, 9))) + random.choice([';', ' {', ');', ',', ' }'])
text = '\\n'.join(line() for _ in range(120000)).encode()
def some(count):
    parts = []
    while count > 0:
        part = min(count, random.randint(500, 9000)); at = random.randrange(len(text) - part)
        parts.append(text[at:at + part]); count -= part
    return b''.join(parts)
big = size // 8
open('src/big', 'wb').write(some(big))
sizes = [random.lognormvariate(9, 1.3) for _ in range(files)]
scale = (size - big) / sum(sizes)
for number, count in enumerate(sizes):
    folder = f'src/{number % 60}/{number % 23}'
    os.makedirs(folder, exist_ok=True)
    open(f'{folder}/file{number}.rs', 'wb').write(some(int(count * scale) + 1))
";

struct Wishes {
    rounds: usize,
    files: String,
    megabytes: String,
    block: String,
    codec: String,
    place: PathBuf,
}

impl Wishes {
    fn of(arguments: &[String]) -> Self {
        let given = |name: &str, default: &str| {
            let given = arguments.iter().skip_while(|word| *word != name).nth(1);
            given.map_or_else(|| default.to_owned(), String::clone)
        };
        Self {
            rounds: given("-n", "5").parse().expect("-n takes a number"),
            files: given("--files", "18000"),
            megabytes: given("--megabytes", "800"),
            block: given("--block", "128K"),
            codec: given("--codec", "zstd"),
            place: given("--place", &std::env::temp_dir().to_string_lossy()).into(),
        }
    }
}

struct Candidate {
    name: &'static str,
    words: Vec<String>,
    /// Of each work, all rounds.
    times: Vec<Vec<Duration>>,
    /// CPU time of the server after each work, all rounds.
    server: Vec<Vec<Duration>>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let is_root = rustix::process::geteuid().is_root();
    if is_root || arguments.first().is_some_and(|word| word == INSIDE) {
        compare(&Wishes::of(&arguments));
        return ExitCode::SUCCESS;
    }
    let status = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "--"])
        .arg(std::env::current_exe().expect("this program"))
        .arg(INSIDE)
        .args(&arguments)
        .status()
        .expect("unshare");
    ExitCode::from(u8::from(!status.success()))
}

fn candidates() -> Vec<Candidate> {
    let usnea = std::env::var("USNEA_BIN").unwrap_or(env!("CARGO_BIN_EXE_usnea").into());
    let candidate = |name, words: &[&str]| Candidate {
        name,
        words: words.iter().map(|word| (*word).to_owned()).collect(),
        times: vec![Vec::new(); WORK.len()],
        server: vec![Vec::new(); WORK.len()],
    };
    let mut all = vec![
        candidate("usnea", &[&usnea, "mount", "squashfs", "bench.sqsh", "m"]),
        candidate("squashfuse_ll", &["squashfuse_ll", "bench.sqsh", "m"]),
        candidate("squashfuse", &["squashfuse", "bench.sqsh", "m"]),
        candidate("kernel", &["mount", "-t", "squashfs", "-o", "loop,ro", "bench.sqsh", "m"]),
    ];
    all.retain(|candidate| {
        let mut mount = Command::new(&candidate.words[0]);
        let mounts = mount.args(&candidate.words[1..]).stderr(Stdio::null()).status();
        let works = mounts.is_ok_and(|status| status.success());
        if works {
            shell("umount m");
        } else {
            println!("{}: not here", candidate.name);
        }
        works
    });
    all
}

fn compare(wishes: &Wishes) {
    let place = tempfile::tempdir_in(&wishes.place).expect("a folder");
    std::env::set_current_dir(place.path()).expect("a folder");
    fs::create_dir("src").and_then(|()| fs::create_dir("m")).expect("folders");
    let made =
        Command::new("python3").args(["-c", TREE, &wishes.files, &wishes.megabytes]).status();
    assert!(made.expect("python3").success());
    let level = if wishes.codec == "zstd" { "-Xcompression-level 3" } else { "" };
    let Wishes { codec, block, .. } = wishes;
    shell(&format!(
        "mksquashfs src bench.sqsh -comp {codec} -b {block} {level} -quiet -no-progress > /dev/null; rm -r src"
    ));
    let mut all = candidates();
    for _ in 0..wishes.rounds {
        for candidate in &mut all {
            measure(candidate);
        }
    }
    print(&all);
    std::env::set_current_dir("/").expect("the root");
}

fn measure(candidate: &mut Candidate) {
    let mut is_mounted = false;
    for (number, (_, script, mount)) in WORK.iter().enumerate() {
        if *mount == Mount::New {
            if is_mounted {
                shell("umount m");
            }
            let mounted = Command::new(&candidate.words[0]).args(&candidate.words[1..]).status();
            assert!(mounted.expect("a mount").success(), "{} does not mount", candidate.name);
            is_mounted = true;
            shell("until test -e m/big; do sleep 0.01; done");
        }
        let before = server_time();
        let started = Instant::now();
        shell(script);
        candidate.times[number].push(started.elapsed());
        candidate.server[number].push(server_time().saturating_sub(before));
    }
    shell("umount m");
}

/// The CPU time of all processes whose command line names the image.
fn server_time() -> Duration {
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    let times = processes.filter_map(|process| {
        let words = fs::read(process.path().join("cmdline")).ok()?;
        String::from_utf8_lossy(&words).contains("bench.sqsh").then_some(())?;
        let stat = fs::read_to_string(process.path().join("stat")).ok()?;
        let fields: Vec<&str> = stat.rsplit(") ").next()?.split(' ').collect();
        let ticks = |field: usize| fields.get(field)?.parse::<u64>().ok();
        // utime and stime, in the 10 ms of USER_HZ.
        Some(Duration::from_millis(10 * (ticks(11)? + ticks(12)?)))
    });
    times.sum()
}

fn shell(script: &str) {
    let status = Command::new("sh").args(["-c", script]).status();
    assert!(status.expect("sh").success(), "{script}");
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The medians: seconds, CPU seconds of the server, and the ratio of the first candidate's time in the same round.
fn print(all: &[Candidate]) {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let size = fs::metadata(Path::new("bench.sqsh")).map_or(0, |image| image.len() >> 20);
    print!("\nLinux {}, image of {size} MB\n{:26}", kernel.trim(), "median: s (server) ratio");
    all.iter().for_each(|candidate| print!("{:>24}", candidate.name));
    println!();
    let seconds = |times: &[Duration]| times.iter().map(Duration::as_secs_f64).collect::<Vec<_>>();
    for (number, (name, ..)) in WORK.iter().enumerate() {
        print!("{name:26}");
        let first = all.first().map(|first| seconds(&first.times[number])).unwrap_or_default();
        for candidate in all {
            let times = seconds(&candidate.times[number]);
            let ratios = first.iter().zip(&times).map(|(first, time)| first / time).collect();
            let server = median(seconds(&candidate.server[number]));
            print!("{:>10.3} ({server:.2}){:>7.2}", median(times), median(ratios));
        }
        println!();
    }
}
