//! How long an image takes to all ranks of a job, relative to one pull:
//! `cargo bench --bench spread [-- -n RANKS -r MEGABYTES_A_SECOND -f FANOUT -o stores|files]`, as an ordinary user.
//!
//! A registry in this program serves three layers, 48 MB, at a limited rate. First one `usnea pull`, then `usnea image
//! spread` with a process and a store for each rank, all on this machine: they share its processors and its disk, so the
//! figure is an upper bound for nodes of their own. Each rank unpacks the image; with `-o files` each gets one squashfs file
//! instead (`--to`), and so does the pull.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use tar_core::{EntryType, Header};
use usnea::digest::Digest;
use usnea::image::manifest::Platform;

/// Megabytes of each layer.
const LAYERS: [usize; 3] = [24, 16, 8];
const TOKEN: &str = "a token of the bench";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    let number = |flag: &str, usual: u64| {
        let given = words.iter().skip_while(|word| *word != flag).nth(1);
        given.map_or(usual, |text| text.parse().expect("a number"))
    };
    let (ranks, rate, fanout) = (number("-n", 64), number("-r", 50), number("-f", 2));
    let is_files = words.windows(2).any(|pair| pair == ["-o", "files"]);
    let registry = Registry::start(rate * 1_000_000);
    let place = tempfile::tempdir().expect("a temporary folder");
    let policy = place.path().join("policy.json");
    std::fs::write(&policy, r#"{"default":[{"type":"insecureAcceptAnything"}]}"#).expect("a file");
    let file_of = |name: &str| match is_files {
        true => vec!["--to".to_owned(), format!("{}/{name}.sqsh", place.path().display())],
        false => Vec::new(),
    };
    let began = Instant::now();
    let output = file_of("one");
    let words: Vec<&str> = ["pull"].into_iter().chain(output.iter().map(String::as_str)).collect();
    let pull = usnea(place.path(), "one", &words, &registry.image);
    let mut complete = ended(pull);
    let (once, sent) = (began.elapsed(), registry.sent());
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    let address = format!("127.0.0.1:{}", port.expect("a port").port());
    let (ranks_text, fanout) = (ranks.to_string(), fanout.to_string());
    let words =
        ["image", "spread", "--address", &address, "--ranks", &ranks_text, "--fanout", &fanout];
    let began = Instant::now();
    let start = |rank: u64| {
        let number = rank.to_string();
        let name = format!("rank{rank}");
        let output = file_of(&name);
        let output: Vec<&str> = output.iter().map(String::as_str).collect();
        let words = [&words[..], &["--rank", &number], &output].concat();
        usnea(place.path(), &name, &words, &registry.image)
    };
    let all: Vec<Child> = (0..ranks).map(start).collect();
    for child in all {
        complete &= ended(child);
    }
    let spread = began.elapsed();
    println!("one pull: {:.1} s, {} MB from the registry", once.as_secs_f64(), sent / 1_000_000);
    println!(
        "{ranks} ranks: {:.1} s, {} MB from the registry, {:.2} times one pull",
        spread.as_secs_f64(),
        (registry.sent() - sent) / 1_000_000,
        spread.as_secs_f64() / once.as_secs_f64()
    );
    // Files of subordinate IDs are removed by root of a user namespace.
    let _ = Command::new(env!("CARGO_BIN_EXE_usnea"))
        .args(["unshare", "rm", "-rf"])
        .arg(place.path())
        .env("USNEA_ROOT", place.path().join("one"))
        .status();
    ExitCode::from(u8::from(!complete))
}

fn usnea(place: &Path, store: &str, words: &[&str], image: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_usnea"))
        .args(words)
        .args(["-q", "--tls-verify=false", "--signature-policy"])
        .arg(place.join("policy.json"))
        .arg(image)
        .env("USNEA_ROOT", place.join(store))
        .env("USNEA_SPREAD_TOKEN", TOKEN)
        .stdout(Stdio::null())
        .spawn()
        .expect("usnea")
}

fn ended(mut child: Child) -> bool {
    child.wait().expect("a child").success()
}

/// Registry that sends all bytes at one rate.
struct Registry {
    image: String,
    limit: Arc<Mutex<RateLimit>>,
}

struct RateLimit {
    /// Bytes a second.
    rate: u64,
    sent: u64,
    /// Time at which the next byte may be sent.
    next: Instant,
}

/// Answers by path: media type and content.
type Answers = BTreeMap<String, (&'static str, Vec<u8>)>;

impl Registry {
    fn start(rate: u64) -> Self {
        let answers = Arc::new(make_image());
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let host = listener.local_addr().expect("an address");
        let limit = Arc::new(Mutex::new(RateLimit { rate, sent: 0, next: Instant::now() }));
        let shared = limit.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answers, limit) = (answers.clone(), shared.clone());
                std::thread::spawn(move || serve(&stream, &answers, &limit));
            }
        });
        Self { image: format!("{host}/bench:1"), limit }
    }

    fn sent(&self) -> u64 {
        self.limit.lock().expect("no panic before").sent
    }
}

fn serve(mut stream: &TcpStream, answers: &Answers, limit: &Mutex<RateLimit>) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while reader.read_line(&mut head).is_ok_and(|length| length > 2) {}
    let mut words = head.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (status, (media, content)) = match answers.get(path) {
        Some((media, content)) => ("200 OK", (*media, &content[..])),
        None => ("404 Not Found", ("application/json", &b"{}"[..])),
    };
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {media}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        content.len()
    );
    if stream.write_all(answer.as_bytes()).is_err() || method == "HEAD" {
        return;
    }
    for piece in content.chunks(64 * 1024) {
        let wait = {
            let mut limit = limit.lock().expect("no panic before");
            let now = Instant::now();
            let time = Duration::from_secs_f64(piece.len() as f64 / limit.rate as f64);
            limit.next = limit.next.max(now) + time;
            limit.sent += piece.len() as u64;
            limit.next - now
        };
        std::thread::sleep(wait);
        if stream.write_all(piece).is_err() {
            return;
        }
    }
}

/// Bytes that no codec makes smaller (xorshift).
fn noise(seed: usize, length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 + seed as u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..length / 8).flat_map(next).collect()
}

fn layer(at: usize, megabytes: usize) -> Vec<u8> {
    let mut tar = Vec::new();
    for file in 0..megabytes {
        let content = noise(at * 100 + file, 1_000_000);
        let mut header = Header::new_ustar();
        header.set_path(format!("{at}-{file}").as_bytes()).expect("a short name");
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o644).expect("a mode");
        header.set_uid(0).expect("an ID");
        header.set_gid(0).expect("an ID");
        header.set_mtime(1_700_000_000).expect("a time");
        header.set_size(content.len() as u64).expect("a size");
        header.set_checksum();
        tar.extend_from_slice(header.as_bytes());
        tar.extend(content);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    tar.resize(tar.len() + 1024, 0);
    tar
}

fn make_image() -> Answers {
    let mut answers = Answers::from([("/v2/".to_owned(), ("application/json", b"{}".to_vec()))]);
    let mut put = |media: &'static str, bytes: Vec<u8>| {
        let digest = Digest::of(&bytes).to_string();
        let descriptor = json!({ "mediaType": media, "digest": digest, "size": bytes.len() });
        answers.insert(format!("/v2/bench/blobs/{digest}"), (media, bytes));
        descriptor
    };
    let layers: Vec<_> = LAYERS
        .into_iter()
        .enumerate()
        .map(|(at, size)| put("application/vnd.oci.image.layer.v1.tar", layer(at, size)))
        .collect();
    let diff_ids: Vec<_> = layers.iter().map(|layer| &layer["digest"]).collect();
    let config = json!({ "architecture": Platform::host().architecture, "os": "linux",
        "config": {}, "rootfs": { "type": "layers", "diff_ids": diff_ids } });
    let config = put("application/vnd.oci.image.config.v1+json", config.to_string().into_bytes());
    let media = "application/vnd.oci.image.manifest.v1+json";
    let manifest =
        json!({ "schemaVersion": 2, "mediaType": media, "config": config, "layers": layers });
    let manifest = manifest.to_string().into_bytes();
    answers.insert("/v2/bench/manifests/1".to_owned(), (media, manifest));
    answers
}
