//! How long a pull takes, beside the peers and the floors: `cargo bench --bench pull [-- -n N]`.
//!
//! The image has five layers, 100 MB of gzip, 230 MB unpacked, 9 000 files, all made here and the same in every run; a
//! registry (`docker-registry`) serves it on loopback. The candidates take turns, each with an empty store.
//! The floors: inflating the largest layer on one core, and writing all files with tar. No pull can be faster than the
//! larger of the two. Who starts them, and how memory is measured: `runner`.

mod runner;

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use runner::{
    MEASURE, Programs, Runner, measure_memory_of, open_to_all, peak_megabytes, said, try_once,
};
use serde_json::{Value, json};
use tar_core::{EntryType, Header};
use usnea::digest::Digest;

const ROUNDS: usize = 5;
/// Files of each layer, and bytes of each file.
const LAYERS: [(u64, usize); 5] =
    [(3600, 29_000), (2600, 24_000), (1800, 21_000), (800, 20_000), (200, 40_000)];
/// Of 100 bytes, so many are random: the others compress to nearly nothing.
const RANDOM: usize = 42;

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
    make_image(place.path());
    let registry = Registry::serving(place.path());
    let mut complete = true;
    for runner in Runner::all() {
        complete &= compare(&programs, &runner, place.path(), &registry.name(), rounds);
    }
    ExitCode::from(u8::from(!complete))
}

/// Bytes that are the same in every run (xorshift).
struct Noise(u64);

impl Noise {
    fn content(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 100);
        while bytes.len() < length {
            for _ in 0..RANDOM {
                self.0 ^= self.0 << 13;
                self.0 ^= self.0 >> 7;
                self.0 ^= self.0 << 17;
                bytes.push(self.0 as u8);
            }
            bytes.resize(bytes.len() + 100 - RANDOM, b'.');
        }
        bytes.truncate(length);
        bytes
    }
}

fn entry(name: &str, kind: EntryType, content: &[u8]) -> Vec<u8> {
    let mut header = Header::new_ustar();
    header.set_path(name.as_bytes()).expect("a short name");
    header.set_entry_type(kind);
    header.set_mode(0o755).expect("a mode");
    header.set_uid(0).expect("an ID");
    header.set_gid(0).expect("an ID");
    header.set_mtime(1_700_000_000).expect("a time");
    header.set_size(content.len() as u64).expect("a size");
    header.set_checksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn layer(at: usize, (files, length): (u64, usize)) -> Vec<u8> {
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15 + at as u64);
    let mut tar = Vec::new();
    for file in 0..files {
        if file % 50 == 0 {
            tar.extend(entry(&format!("layer{at}-{}/", file / 50), EntryType::Directory, b""));
        }
        let name = format!("layer{at}-{}/file{file}", file / 50);
        tar.extend(entry(&name, EntryType::Regular, &noise.content(length)));
    }
    tar.resize(tar.len() + 1024, 0);
    tar
}

/// Writes `layout` (an OCI image layout), `largest.gz` and `LAYER.tar`.
fn make_image(place: &Path) {
    let blobs = place.join("layout/blobs/sha256");
    fs::create_dir_all(&blobs).expect("a folder");
    let put = |bytes: &[u8], media: &str| -> Value {
        let digest = Digest::of(bytes);
        fs::write(blobs.join(digest.hex()), bytes).expect("a blob");
        json!({ "mediaType": media, "digest": digest.to_string(), "size": bytes.len() })
    };
    let (mut layers, mut diff_ids) = (Vec::new(), Vec::new());
    for (at, what) in LAYERS.into_iter().enumerate() {
        let tar = layer(at, what);
        fs::write(place.join(format!("{at}.tar")), &tar).expect("a layer");
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
        gzip.write_all(&tar).expect("memory");
        let packed = gzip.finish().expect("memory");
        if at == 0 {
            fs::write(place.join("largest.gz"), &packed).expect("a layer");
        }
        diff_ids.push(Digest::of(&tar).to_string());
        layers.push(put(&packed, "application/vnd.oci.image.layer.v1.tar+gzip"));
    }
    let config = json!({ "architecture": usnea::image::manifest::Platform::host().architecture, "os": "linux", "config": {},
        "rootfs": { "type": "layers", "diff_ids": diff_ids } });
    let config = put(config.to_string().as_bytes(), "application/vnd.oci.image.config.v1+json");
    let media = "application/vnd.oci.image.manifest.v1+json";
    let manifest =
        json!({ "schemaVersion": 2, "mediaType": media, "config": config, "layers": layers });
    let mut manifest = put(manifest.to_string().as_bytes(), media);
    manifest["annotations"] = json!({ "org.opencontainers.image.ref.name": "bench" });
    let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
    fs::write(place.join("layout/index.json"), index.to_string()).expect("the index");
    fs::write(place.join("layout/oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)
        .expect("the layout");
}

/// A registry on loopback that has the image; it ends with the value.
struct Registry {
    child: Child,
    port: u16,
}

impl Registry {
    fn serving(place: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|free| free.local_addr())
            .expect("a port")
            .port();
        let config = place.join("registry.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n",
            place.join("registry").display()
        );
        fs::write(&config, text).expect("the registry's settings");
        let mut command = Command::new("docker-registry");
        command
            .arg("serve")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let registry = Self {
            child: command.spawn().expect("docker-registry (package docker-registry)"),
            port,
        };
        let end = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < end, "docker-registry does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        let from = format!("oci:{}:bench", place.join("layout").display());
        let to = format!("docker://{}", registry.name());
        let pushed = Command::new("skopeo")
            .args(["--insecure-policy", "copy", "-q", "--dest-tls-verify=false", &from, &to])
            .output()
            .expect("skopeo");
        assert!(pushed.status.success(), "{}", said(&pushed.stderr));
        registry
    }

    fn name(&self) -> String {
        format!("127.0.0.1:{}/bench:1", self.port)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Candidate {
    name: &'static str,
    /// What empties its store.
    clean: Vec<String>,
    words: Vec<String>,
    times: Vec<Duration>,
}

/// The words that have a shell carry `line` out, to the first command that fails.
fn shell(line: &str) -> Vec<String> {
    ["/bin/sh", "-ec", line].map(str::to_owned).to_vec()
}

fn candidates(programs: &Programs, place: &Path, image: &str) -> Vec<Candidate> {
    let candidate = |name, clean: &str, line: String| Candidate {
        name,
        clean: shell(clean),
        words: shell(&line),
        times: Vec::new(),
    };
    let (usnea, place) = (programs.usnea.display(), place.display());
    // Not removed: an ext4 without a journal looks long for inodes while many were freed a moment ago.
    let aside =
        |name: &str| format!("[ ! -e {name} ] || {{ mkdir -p old; mv {name} old/{name}$$; }}");
    vec![
        candidate(
            "usnea",
            &aside("store"),
            format!("exec {usnea} --root $PWD/store pull --tls-verify=false {image}"),
        ),
        candidate(
            "podman",
            &aside("podman"),
            format!(
                "exec podman --root $PWD/podman --runroot $PWD/run/podman pull -q --tls-verify=false {image}"
            ),
        ),
        candidate(
            "umoci",
            &format!("{}; {}", aside("oci"), aside("bundle")),
            format!(
                "skopeo --insecure-policy copy -q --src-tls-verify=false docker://{image} oci:oci:x; exec umoci unpack --rootless --image oci:x bundle"
            ),
        ),
        candidate("inflate", "true", format!("exec gunzip -c {place}/largest.gz > /dev/null")),
        candidate(
            "untar",
            &aside("files"),
            format!("mkdir files; for tar in {place}/?.tar; do tar -xf $tar -C files; done"),
        ),
    ]
}

/// Measures everything as one user and prints the table; whether usnea was among it.
fn compare(programs: &Programs, runner: &Runner, place: &Path, image: &str, rounds: usize) -> bool {
    let folder = place.join(&runner.user.name);
    fs::create_dir_all(folder.join("run")).expect("a folder");
    if nix::unistd::geteuid().is_root() {
        for path in [folder.clone(), folder.join("run")] {
            nix::unistd::chown(&path, Some(runner.user.uid), Some(runner.user.gid)).expect("chown");
        }
    }
    let (mut all, mut left_out) = (Vec::new(), Vec::new());
    for candidate in candidates(programs, place, image) {
        match try_once(runner.command(&candidate.words, &folder)) {
            Ok(()) => all.push(candidate),
            Err(why) => left_out.push(format!("{} ({why})", candidate.name)),
        }
    }
    for _ in 0..rounds {
        for candidate in &mut all {
            try_once(runner.command(&candidate.clean, &folder)).expect("an empty store");
            let mut command = runner.command(&candidate.words, &folder);
            let start = Instant::now();
            let output = command.output().expect("a candidate that ran before");
            candidate.times.push(start.elapsed());
            assert!(output.status.success(), "{}: {}", candidate.name, said(&output.stderr));
        }
    }
    print_table(programs, runner, &folder, &mut all);
    if !left_out.is_empty() {
        println!("left out: {}", left_out.join(", "));
    }
    all.iter().for_each(|candidate| drop(try_once(runner.command(&candidate.clean, &folder))));
    let is_podman_here = all.iter().any(|candidate| candidate.name == "podman");
    // Files of subordinate IDs are podman's to remove; folders of layers may be closed to their owner.
    let in_namespace = if is_podman_here { "podman unshare" } else { "" };
    let remove = format!("{in_namespace} sh -ec 'chmod -R u+rwX old; rm -rf old'");
    try_once(runner.command(&shell(&remove), &folder)).expect("the old stores removed");
    if is_podman_here {
        // Its pause process would stay for as long as the machine runs.
        let end = shell("kill $(cat $XDG_RUNTIME_DIR/libpod/tmp/pause.pid)");
        try_once(runner.command(&end, &folder)).expect("the end of podman's pause process");
    }
    all.iter().any(|candidate| candidate.name == "usnea")
}

fn print_table(programs: &Programs, runner: &Runner, folder: &Path, all: &mut [Candidate]) {
    all.iter_mut().for_each(|candidate| candidate.times.sort());
    let median = |candidate: &Candidate| candidate.times[candidate.times.len() / 2].as_secs_f64();
    let of = |name: &str| all.iter().find(|candidate| candidate.name == name).map(median);
    let podman = of("podman");
    let floor = of("inflate").into_iter().chain(of("untar")).reduce(f64::max);
    println!("\nas {}, {}", runner.user.name, runner.kind());
    println!(
        "{:10} {:>9} {:>9} {:>8} {:>8} {:>8}",
        "", "median s", "least s", "/ podman", "/ floor", "peak MB"
    );
    for candidate in all.iter() {
        let own = median(candidate);
        let ratio = |peer: Option<f64>| {
            peer.map_or_else(|| "-".to_owned(), |peer| format!("{:.2}", own / peer))
        };
        try_once(runner.command(&candidate.clean, folder)).expect("an empty store");
        println!(
            "{:10} {:>9.2} {:>9.2} {:>8} {:>8} {:>8.1}",
            candidate.name,
            own,
            candidate.times[0].as_secs_f64(),
            ratio(podman),
            ratio(floor),
            peak_megabytes(programs, runner, folder, &candidate.words),
        );
    }
}
