//! `usnea pull`, from a real registry: with a login, through mirrors, by many at once, killed and continued; and what is
//! said where nothing can be had.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use usnea::digest::Digest;

use crate::composed::{Composed, bytes, file, layer, publish, small_root};
use crate::fault_registry::{FaultRegistry, Heard, Piece, Pieces, answer, head};
use crate::real_registry::{Auth, PASSWORD, RealRegistry, Tls, USERNAME};
use crate::stocked::Stocked;
use crate::support::{Started, finish, need, processes_with, text, within};

const PLAIN: &str = "--tls-verify=false";

/// usnea with registries.conf of this content.
fn with_registries(place: &Stocked, content: &str, arguments: &[&str]) -> Command {
    let mut command = place.place.command(arguments);
    place.at_home(&mut command);
    command.env("CONTAINERS_REGISTRIES_CONF", place.place.write("mirrors.conf", content));
    command
}

#[test]
fn tls_and_a_login_are_what_the_flags_say() {
    let Some(registry) = RealRegistry::start(Tls::On, Auth::Basic) else { return };
    let place = Stocked::new();
    let id = place.import("tool:1", &[("f", "x")], &[]);
    let (there, certificates) = (format!("{}/tool:1", registry.host), registry.certificates());
    let creds = format!("{USERNAME}:{PASSWORD}");
    let trusted = ["--cert-dir", text(&certificates)];
    let known = [&trusted[..], &["--creds", &creds]].concat();
    place.usnea(&[&["push"], &known[..], &["tool:1", &there]].concat()).works();

    let pull = |flags: &[&str]| place.usnea_in("other", &[&["pull"], flags, &[&there]].concat());
    pull(&["--creds", &creds]).fails_with(125, &["cannot pull", &there, "certificate"]);
    pull(&["--creds", &creds]).hints();
    pull(&trusted).fails_with(125, &["cannot pull", "login"]);
    let wrong = pull(&[&trusted[..], &["--creds", "lichen:sand"]].concat());
    wrong.fails_with(125, &["cannot pull", &registry.host]);
    assert!(!wrong.stderr.contains("sand"), "{wrong:?}");
    assert_eq!(place.usnea_in("other", &["images", "-q"]).works(), "");
    assert_eq!(format!("sha256:{}", pull(&known).works()), id);
    // Any certificate, when that is asked for.
    assert_eq!(format!("sha256:{}", pull(&[PLAIN, "--creds", &creds]).works()), id);

    // A login serves as the flag does.
    let login = ["login", "--cert-dir", text(&certificates), "-u", USERNAME, "-p", PASSWORD];
    place.usnea(&[&login[..], &[&registry.host]].concat()).works();
    let pulled = place.usnea_in("third", &[&["pull", "-q"], &trusted[..], &[&there]].concat());
    assert_eq!(format!("sha256:{}", pulled.works()), id);
    assert_eq!(pulled.stderr, "");
}

#[test]
fn a_mirror_is_asked_first_and_the_name_stays() {
    let Some(registry) = RealRegistry::start(Tls::Off, Auth::Off) else { return };
    let place = Stocked::new();
    let id = place.import("tool:1", &[("f", "x")], &[]);
    let there = format!("{}/mirrored/tool:1", registry.host);
    place.usnea(&["push", PLAIN, "tool:1", &there]).works();
    // Port 1 has nobody.
    let mirrors = format!(
        "[[registry]]\nprefix = 'q.example/lib'\nlocation = '127.0.0.1:1/lib'\ninsecure = true\n\
         [[registry.mirror]]\nlocation = '{0}/empty'\ninsecure = true\n\
         [[registry.mirror]]\nlocation = '{0}/mirrored'\ninsecure = true\n\
         [[registry]]\nprefix = 'blocked.example'\nlocation = 'blocked.example'\nblocked = true\n",
        registry.host
    );
    let pull = |name: &str| {
        let mut command = with_registries(&place, &mirrors, &["pull", name]);
        finish(command.env("USNEA_ROOT", place.place.path("other")), "")
    };
    assert_eq!(format!("sha256:{}", pull("q.example/lib/tool:1").works()), id);
    let words = ["images", "--format", "{{.Repository}}:{{.Tag}}"];
    assert_eq!(place.usnea_in("other", &words).works(), "q.example/lib/tool:1");
    // Where none has it, each is named.
    let ran = pull("q.example/lib/none:1");
    ran.fails_with(125, &["/empty/none:1", "/mirrored/none:1", "127.0.0.1:1/lib/none:1"]);
    pull("blocked.example/x").fails_with(125, &["blocked.example", "blocked"]);
}

#[test]
fn short_names_are_looked_for_where_registries_conf_says() {
    let Some(registry) = RealRegistry::start(Tls::Off, Auth::Off) else { return };
    let place = Stocked::new();
    let id = place.import("tool:1", &[("f", "x")], &[]);
    let there = format!("{}/a/tool:1", registry.host);
    place.usnea(&["push", PLAIN, "tool:1", &there]).works();
    let content = format!(
        "unqualified-search-registries = ['127.0.0.1:1', '{0}']\n[aliases]\nshort = '{0}/a/tool'\n",
        registry.host
    );
    for name in ["a/tool:1", "short:1"] {
        let mut command = with_registries(&place, &content, &["pull", PLAIN, name]);
        let ran = finish(command.env("USNEA_ROOT", place.place.path("other")), "");
        assert_eq!(format!("sha256:{}", ran.works()), id, "{name}");
    }
}

#[test]
fn an_unknown_image_is_said_in_a_sentence() {
    let Some(registry) = RealRegistry::start(Tls::Off, Auth::Off) else { return };
    let place = Stocked::new();
    let there = format!("{}/a/none:1", registry.host);
    for words in [&["pull", PLAIN, &there][..], &["run", "--rm", PLAIN, &there, "true"]] {
        let ran = place.usnea(words);
        ran.fails_with(125, &["cannot pull", &there, "does not exist"]);
    }
    for words in [&["pull", "A B"][..], &["pull", "x:y:z"], &["pull", "q.io/x@sha256:1"]] {
        place.usnea(words).fails_with(125, &[words[1]]);
    }
    place.usnea(&["pull", "oci:none"]).fails_with(125, &["none", "no such file"]);
    place.usnea(&["pull", "docker-archive:none"]).fails_with(125, &["none", "no such file"]);
    place.usnea(&["pull", PLAIN, "127.0.0.1:1/x"]).fails_with(125, &["127.0.0.1:1", "refused"]);
    assert_eq!(place.usnea(&["images", "-q"]).works(), "");
}

/// Requests for blobs, each with how often it was answered with the blob.
fn blobs_fetched(log: &str) -> BTreeMap<String, usize> {
    let mut all = BTreeMap::new();
    for line in log.lines().filter(|line| line.contains("response completed")) {
        let is_get = line.contains("http.request.method=GET");
        if let Some(rest) = line.split("/blobs/sha256:").nth(1).filter(|_| is_get) {
            *all.entry(rest.chars().take(64).collect()).or_default() += 1;
        }
    }
    all
}

#[test]
fn twelve_pulls_at_once_fetch_each_blob_once() {
    let Some(registry) = RealRegistry::start(Tls::Off, Auth::Off) else { return };
    if !need("skopeo") {
        return;
    }
    let place = Stocked::new();
    let mut layers = vec![small_root(&place)];
    layers.extend((0..5).map(|number| {
        let name = format!("f{number}");
        layer(&[bytes(&name, name.repeat(200_000).as_bytes())])
    }));
    Composed::of(&layers).write(&place, "layout");
    let there = format!("{}/a/tool:1", registry.host);
    publish(&place, "layout", &there);
    let before = blobs_fetched(&registry.log()).len();
    assert_eq!(before, 0);
    // The files of their home are written before the first reads them.
    let prepared = |_| {
        let mut command = place.place.command(&["pull", PLAIN, "-q", &there]);
        place.at_home(&mut command);
        command
    };
    let mut commands: Vec<Command> = (0..12).map(prepared).collect();
    let all: Vec<Started> = commands.iter_mut().map(|command| Started::new(command, "")).collect();
    let ids: Vec<String> =
        all.into_iter().map(|started| started.end().works().to_owned()).collect();
    assert!(ids.iter().all(|id| id.len() == 64 && *id == ids[0]), "{ids:?}");
    let fetched = blobs_fetched(&registry.log());
    // The config too.
    assert_eq!(fetched.len(), layers.len() + 1, "{fetched:?}");
    assert!(fetched.values().all(|count| *count == 1), "{fetched:?}");
    assert_eq!(place.usnea(&["check"]).works(), "");
    let ran = place.usnea(&["run", "--rm", &there, "sh", "-c", "cat /f? | wc -c"]);
    assert_eq!(ran.works(), "2000000");
}

/// A registry that has one layout; the first answer to a request for `slow` stops in its midst.
fn slow_registry(place: &Stocked, layout: &str, manifest: &Digest, slow: &Digest) -> FaultRegistry {
    let blobs = place.place.path(&format!("{layout}/blobs/sha256"));
    let (manifest, slow) = (manifest.clone(), slow.to_string());
    let served = std::sync::atomic::AtomicBool::new(false);
    FaultRegistry::start(move |request: &Heard, _| -> Pieces {
        let of = |hex: &str| std::fs::read(blobs.join(hex)).unwrap_or_default();
        if request.path.contains("/manifests/") {
            let kind = [("Content-Type", "application/vnd.oci.image.manifest.v1+json")];
            return answer("200 OK", &kind, &of(manifest.hex()));
        }
        let Some(hex) = request.path.split("/blobs/sha256:").nth(1) else {
            return answer("200 OK", &[], b"{}");
        };
        let all = of(hex);
        let from = request.from().unwrap_or(0);
        let range = format!("bytes {from}-{}/{}", all.len() - 1, all.len());
        let start = match request.from() {
            Some(_) => head("206 Partial Content", &[("Content-Range", &range)], all.len() - from),
            None => head("200 OK", &[], all.len()),
        };
        if slow.contains(hex) && !served.swap(true, std::sync::atomic::Ordering::SeqCst) {
            let half = all[..all.len() / 2].to_vec();
            return vec![
                Piece::Send(start),
                Piece::Send(half),
                Piece::Wait(Duration::from_secs(25)),
            ];
        }
        vec![Piece::Send(start), Piece::Send(all[from..].to_vec())]
    })
}

#[test]
fn a_pull_that_is_killed_goes_on_where_it_stopped() {
    for signal in [Signal::KILL, Signal::INT] {
        let place = Stocked::new();
        let large = layer(&[bytes("large", "the same again ".repeat(200_000).as_bytes())]);
        let digest = Digest::of(&large);
        let layers = [small_root(&place), large.clone(), layer(&[file("v", "1")])];
        let manifest = Composed::of(&layers).write(&place, "layout");
        let server = slow_registry(&place, "layout", &manifest, &digest);
        let there = format!("{}/a/tool:1", server.host);
        let words = ["pull", PLAIN, &there];
        let mut command = place.place.command(&words);
        place.at_home(&mut command);
        let started = Started::new(&mut command, "");
        let partial = || {
            let folder = std::fs::read_dir(place.place.path("store/downloads"));
            let sizes = folder.into_iter().flatten().flatten().map(|entry| entry.metadata());
            let first = format!("store/blobs/sha256/{}", Digest::of(&layers[0]).hex());
            place.place.path(&first).exists() && sizes.flatten().any(|of| of.len() >= 500_000)
        };
        assert!(within(Duration::from_secs(20), partial), "nothing of the layer comes");
        started.signal(signal);
        let ran = started.end();
        assert_ne!(ran.status, 0, "{ran:?}");
        let gone = || processes_with(&there).is_empty();
        assert!(within(Duration::from_secs(5), gone), "a process of the pull stays");
        assert_eq!(place.usnea(&["images", "-q"]).works(), "");

        place.usnea(&words).works();
        let asked = |hex: &str| {
            let heard = server.heard();
            let of = heard.iter().filter(|request| request.path.ends_with(hex));
            of.map(Heard::from).collect::<Vec<_>>()
        };
        // The second half was never sent; how much of the first was written when it was killed is not ours to say.
        let [None, Some(from)] = asked(digest.hex())[..] else { panic!("{:?}", server.heard()) };
        assert!((1..=large.len() / 2).contains(&from), "{from}");
        // What was whole is not fetched again.
        assert_eq!(asked(Digest::of(&layers[0]).hex()).len(), 1);
        let ran = place.usnea(&["run", "--rm", &there, "sh", "-c", "wc -c < /large; cat /v"]);
        assert_eq!(ran.works(), "3000000\n1");
        assert_eq!(place.usnea(&["check"]).works(), "");
    }
}
