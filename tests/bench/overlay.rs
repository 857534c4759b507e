//! The FUSE overlay beside the kernel's overlay and fuse-overlayfs: `cargo bench --bench overlay [-- -n N]`. Version 2 of
//! fuse-overlayfs is taken from $FUSE_OVERLAYFS_2 (`cargo install fuse-overlayfs --root DIR`, DIR/bin/fuse-overlayfs).
//!
//! All run in one user namespace, by turns (A B C A B C ...), on the same layers, which lie on a tmpfs: what a disk does
//! at the same time would hide what the overlays cost. The program starts itself under unshare(1) for that.
//! dpkg, make, a C compiler and Python are needed too.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

const INSIDE: &str = "--inside";
const ROUNDS: usize = 5;

/// What is measured, in this order, on one mount: a name and a script.
const WORK: &[(&str, &str)] = &[
    ("find, cold", "find m > /dev/null"),
    ("find, warm", "find m > /dev/null"),
    ("list with all attributes", "ls -lR m > /dev/null"),
    ("unpack 100 MB in 3 000 files", "tar xf tree.tar -C m"),
    ("remove them", "rm -r m/tree"),
    ("create 3 000 small files", "mkdir m/new; for i in $(seq 3000); do echo $i > m/new/$i; done"),
    ("chmod a lower tree (copy-up)", "chmod -R g+w m/lib"),
    ("dpkg -i of ten packages", DPKG),
    ("make of twenty C files", "make -s -C m/make"),
    ("read 256 MB, first time", "cat m/big > /dev/null"),
    ("read 256 MB, again", "cat m/big > /dev/null"),
    ("random 4k reads, two readers", READERS),
    ("write 512 MB", "dd if=/dev/zero of=m/out bs=1M count=512 2> /dev/null"),
    ("read it back", "cat m/out > /dev/null"),
];

const READERS: &str = "for seed in 1 2; do python3 -c '
import os, random
random.seed('$seed'); fd = os.open(\"m/big\", os.O_RDONLY)
for _ in range(20000): os.pread(fd, 4096, random.randrange(65536) * 4096)' & done; wait";

/// 500 files; dpkg flushes each to the disk before it goes on, as it does on a machine.
const DPKG: &str = "dpkg --force-not-root --log=/dev/null --admindir=m/dpkg --instdir=m \
    -i debs/*.deb > /dev/null";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|word| word == INSIDE) {
        compare(rounds(&arguments));
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

fn rounds(arguments: &[String]) -> usize {
    let given = arguments.iter().skip_while(|word| *word != "-n").nth(1);
    given.map_or(ROUNDS, |number| number.parse().expect("-n takes a number"))
}

struct Candidate {
    name: &'static str,
    words: Vec<String>,
    /// Of each work, all rounds.
    times: Vec<Vec<Duration>>,
}

const OPTIONS: &str = "lowerdir=lower,upperdir=upper,workdir=work";

fn candidates() -> Vec<Candidate> {
    let candidate = |name, words: &[&str]| Candidate {
        name,
        words: words.iter().map(|word| (*word).to_owned()).collect(),
        times: vec![Vec::new(); WORK.len()],
    };
    let kernels = format!("userxattr,{OPTIONS}");
    let second = std::env::var("FUSE_OVERLAYFS_2").unwrap_or_else(|_| "fuse-overlayfs-2".into());
    let mut all = vec![
        candidate("kernel", &["mount", "-t", "overlay", "overlay", "-o", &kernels, "m"]),
        candidate("usnea", &[env!("CARGO_BIN_EXE_usnea"), "mount", "overlay", "-o", OPTIONS, "m"]),
        candidate("fuse-overlayfs", &["fuse-overlayfs", "-o", OPTIONS, "m"]),
        candidate("fuse-overlayfs 2", &[&second, "-o", OPTIONS, "m"]),
    ];
    all.retain(|candidate| {
        let found = Command::new(&candidate.words[0])
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if found.is_err() {
            println!("{}: not installed ({})", candidate.name, candidate.words[0]);
        }
        found.is_ok()
    });
    all
}

fn compare(rounds: usize) {
    let place = PathBuf::from("/mnt");
    let mounted = Command::new("mount").args(["-t", "tmpfs", "tmpfs", "/mnt"]).status();
    assert!(mounted.expect("mount").success(), "no tmpfs");
    shell(&place, LAYERS);
    let mut all = candidates();
    for _ in 0..rounds {
        for candidate in &mut all {
            measure(candidate, &place);
        }
    }
    print(&all);
}

/// A lower layer of 9 000 files, some of C, and a database of dpkg, and a tar of 3 000 files that hold 100 MB. Packages
/// without scripts.
const LAYERS: &str = "set -e; mkdir -p lower/lib src/tree; python3 - <<'P'
import os, random
random.seed(3)
for n in range(9000):
    folder = f'lower/lib/{n % 90}/{n % 7}'
    os.makedirs(folder, exist_ok=True)
    open(f'{folder}/{n}', 'wb').write(b'x' * random.choice([300, 3000, 12000]))
for n in range(3000):
    folder = f'src/tree/{n % 30}/{n % 7}'
    os.makedirs(folder, exist_ok=True)
    open(f'{folder}/{n}', 'wb').write(os.urandom(1000) * random.choice([1, 4, 20, 110]))
P
head -c 268435456 /dev/urandom > lower/big; tar cf tree.tar -C src tree; rm -r src
mkdir -p lower/dpkg/info lower/dpkg/updates lower/make debs
: > lower/dpkg/status
for n in $(seq 10); do
    mkdir -p p/DEBIAN p/usr/share/p$n
    for f in $(seq 50); do echo $f > p/usr/share/p$n/$f; done
    printf 'Package: p%s\\nVersion: 1\\nArchitecture: all\\nMaintainer: nobody\\nDescription: few files\\n' $n \
        > p/DEBIAN/control
    dpkg-deb --build p debs/p$n.deb > /dev/null; rm -r p
done
for n in $(seq 20); do echo \"int f$n(int a) { return a + $n; }\" > lower/make/f$n.c; done
echo 'int main(void) { return 0; }' > lower/make/main.c
printf 'p: $(patsubst %%.c,%%.o,$(wildcard *.c))\\n\\tcc -o $@ $^\\n' > lower/make/Makefile";

fn measure(candidate: &mut Candidate, place: &Path) {
    shell(place, "rm -rf upper work m; mkdir upper work m");
    let mounted = Command::new(&candidate.words[0])
        .args(&candidate.words[1..])
        .current_dir(place)
        .stderr(Stdio::null())
        .status();
    assert!(mounted.expect("a mount").success(), "{} does not mount", candidate.name);
    for ((_, script), times) in WORK.iter().zip(&mut candidate.times) {
        let started = Instant::now();
        shell(place, script);
        times.push(started.elapsed());
    }
    shell(place, "umount m");
}

fn shell(place: &Path, script: &str) {
    let status = Command::new("sh").args(["-c", script]).current_dir(place).status();
    assert!(status.expect("sh").success(), "{script}");
}

/// The medians, seconds.
fn print(all: &[Candidate]) {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    print!("\nLinux {}\n{:30}", kernel.trim(), "seconds, median");
    all.iter().for_each(|candidate| print!("{:>18}", candidate.name));
    println!();
    for (number, (name, _)) in WORK.iter().enumerate() {
        print!("{name:30}");
        for candidate in all {
            let mut times = candidate.times[number].clone();
            times.sort();
            let median = times.get(times.len() / 2).map_or(f64::NAN, Duration::as_secs_f64);
            print!("{median:>18.3}");
        }
        println!();
    }
}
