//! `usnea pull`, from a real registry: with a login, through mirrors, killed and continued; and what is
//! said where nothing can be had.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use usnea::digest::Digest;

use crate::composed::{Composed, bytes, file, layer, small_root};
use crate::fault_registry::{FaultRegistry, Heard, Piece};
use crate::layout_registry;
use crate::real_registry::{Auth, PASSWORD, RealRegistry, Tls, USERNAME};
use crate::stocked::Stocked;
use crate::support::{Started, finish, processes_with, text, within};

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
    let strict = ["--tls-verify", "--creds", &creds];
    pull(&strict).fails_with(125, &["cannot pull", &there, "certificate"]);
    pull(&strict).hints();
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
fn an_unknown_image_is_reported_in_a_sentence() {
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

/// A registry whose first answer to a request for `slow` stops in its midst.
fn slow_registry(place: &Stocked, slow: &Digest) -> FaultRegistry {
    let (slow, served) = (slow.to_string(), AtomicBool::new(false));
    layout_registry::serve(place, move |request, mut pieces| {
        if request.path.contains(&slow) && !served.swap(true, Ordering::SeqCst) {
            pieces.truncate(2);
            pieces.push(Piece::Wait(Duration::from_secs(25)));
        }
        pieces
    })
}

#[test]
fn a_pull_that_is_killed_goes_on_where_it_stopped() {
    for signal in [Signal::KILL, Signal::INT] {
        let place = Stocked::new();
        let large = layer(&[bytes("large", "the same again ".repeat(200_000).as_bytes())]);
        let digest = Digest::of(&large);
        let layers = [small_root(&place), large.clone(), layer(&[file("v", "1")])];
        Composed::of(&layers).write(&place, "layout");
        let server = slow_registry(&place, &digest);
        let there = format!("{}/layout:1", server.host);
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
