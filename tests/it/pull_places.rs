//! From which of several places an image comes: the next one is asked where one has nothing or does not answer, and not
//! where something is wrong that would be wrong everywhere. The same decides whether `--pull newer` runs what is here.

use serde_json::json;

use usnea::digest::Digest;

use crate::composed::{Composed, file, layer, small_root};
use crate::fault_registry::{FaultRegistry, Piece, answer};
use crate::layout_registry::{self, missing};
use crate::stocked::Stocked;
use crate::support::{Ran, finish};

/// usnea where `q.example/l` has these mirrors, and nobody at its own address.
fn with_mirrors(place: &Stocked, mirrors: &[&FaultRegistry], arguments: &[&str]) -> Ran {
    let mut content =
        "[[registry]]\nprefix = 'q.example'\nlocation = '127.0.0.1:1'\ninsecure = true\n"
            .to_owned();
    for mirror in mirrors {
        content += &format!("[[registry.mirror]]\nlocation = '{}'\ninsecure = true\n", mirror.host);
    }
    let mut command = place.place.command(arguments);
    place.at_home(&mut command);
    command.env("CONTAINERS_REGISTRIES_CONF", place.place.write("mirrors.conf", content));
    finish(&mut command, "")
}

/// The layout `l` of an image that says its `version`; the digest of the layer that says so.
fn version(place: &Stocked, version: &str) -> Digest {
    let says = layer(&[file("v", version)]);
    let layers = [small_root(place), says.clone()];
    Composed::of(&layers).config(json!({"Cmd": ["cat", "/v"]})).write(place, "l");
    Digest::of(&says)
}

/// A registry that answers requests for this blob with `bytes`.
fn lying(place: &Stocked, blob: &Digest, bytes: Vec<u8>) -> FaultRegistry {
    let blob = blob.to_string();
    layout_registry::serve(place, move |request, pieces| match request.path.ends_with(&blob) {
        true => answer("200 OK", &[], &bytes),
        false => pieces,
    })
}

#[test]
fn the_next_mirror_is_asked_where_one_has_nothing_or_breaks_down() {
    let place = Stocked::new();
    let says = version(&place, "1").to_string();
    let empty = FaultRegistry::start(|_, _| missing());
    let closed = FaultRegistry::start(|_, _| answer("403 Forbidden", &[], b"{}"));
    let odd = FaultRegistry::start(|_, _| answer("418 I'm a teapot", &[], b"{}"));
    let torn = layout_registry::serve(&place, move |request, mut pieces| {
        if request.path.ends_with(&says) {
            pieces = missing();
        }
        pieces
    });
    let mute = FaultRegistry::start(|_, _| vec![Piece::Send(b"SSH-2.0-x\r\n".to_vec())]);
    let good = layout_registry::serve(&place, |_, pieces| pieces);
    for bad in [&empty, &closed, &odd, &torn, &mute] {
        let ran = with_mirrors(&place, &[bad, &good], &["pull", "q.example/l:1"]);
        assert_eq!(ran.works().len(), 64);
        assert!(!bad.heard().is_empty());
        place.usnea(&["rmi", "q.example/l:1"]).works();
    }
    // What came from one is not fetched from the next.
    let root = Digest::of(&small_root(&place));
    let of_root = |registry: &FaultRegistry| {
        registry.heard().iter().filter(|request| request.path.ends_with(root.hex())).count()
    };
    assert_eq!((of_root(&torn), of_root(&good)), (1, 4));
    let ran = with_mirrors(&place, &[&empty, &closed], &["pull", "q.example/l:1"]);
    ran.fails_with(125, &["does not exist", "is denied", "127.0.0.1:1", "refused"]);
}

#[test]
fn an_error_that_all_mirrors_share_ends_the_pull_at_once() {
    let place = Stocked::new();
    let says = version(&place, "1");
    let good = layout_registry::serve(&place, |_, pieces| pieces);
    let length = std::fs::read(place.place.path(&format!("l/blobs/sha256/{}", says.hex())));
    let wrong = lying(&place, &says, vec![b'x'; length.unwrap().len()]);
    let ran = with_mirrors(&place, &[&wrong, &good], &["pull", "-q", "q.example/l:1"]);
    ran.fails_with(125, &["cannot pull", &wrong.host, says.hex(), "what came is"]);
    assert!(!ran.stderr.contains(&good.host), "{ran:?}");
    // A policy.
    let rules = json!({"default": [{"type": "insecureAcceptAnything"}],
        "transports": {"docker": {"q.example": [{"type": "sigstoreSigned", "keyData": KEY}]}}});
    place.place.write("strict.json", rules.to_string());
    let words = ["pull", "-q", "--signature-policy", "strict.json", "q.example/l:1"];
    let unsigned = layout_registry::serve(&place, |request, pieces| {
        if request.path.ends_with(".sig") { missing() } else { pieces }
    });
    let ran = with_mirrors(&place, &[&unsigned, &good], &words);
    ran.fails_with(125, &["signature", &unsigned.host]);
    // A limit.
    place.usnea(&["system", "prune", "-af"]).works();
    place.place.write("home/.config/usnea/usnea.toml", "[limits]\nlayer-entries = 1\n");
    let ran = with_mirrors(&place, &[&unsigned, &good], &["pull", "-q", "q.example/l:1"]);
    ran.fails_with(125, &["entries", &unsigned.host]);
    assert!(good.heard().is_empty(), "{:?}", good.heard());
    assert_eq!(place.usnea(&["images", "-q"]).works(), "");
}

/// Anybody's public key.
const KEY: &str = "LS0tLS1CRUdJTiBQVUJMSUMgS0VZLS0tLS0KTUZrd0V3WUhLb1pJemowQ0FRWUlLb1pJemowREFRY0RRZ0FFQjFKVnFXbHdQd3E3eG9XTXZ6cTZwd3JtZ0hOKwpNcU1hZmlSNERzc1hyTHJMQTQ1R0hlMFNRaGREREpRVUp6cWZtbE9FdWpDNkdxOUlOVmZ3NGJRaDV3PT0KLS0tLS1FTkQgUFVCTElDIEtFWS0tLS0tCg==";

#[test]
fn newer_runs_what_is_here_only_where_the_registry_cannot_be_asked() {
    let place = Stocked::new();
    version(&place, "1");
    let newer = |registry: &FaultRegistry, name: &str| {
        let words = ["run", "--rm", "-q", "--pull", "newer", name];
        with_mirrors(&place, &[registry], &words)
    };
    let good = layout_registry::serve(&place, |_, pieces| pieces);
    assert_eq!(newer(&good, "q.example/l:1").works(), "1");
    let empty = FaultRegistry::start(|_, _| missing());
    let closed = FaultRegistry::start(|_, _| answer("401 Unauthorized", &[], b"{}"));
    let word = "the local image is used";
    for bad in [&empty, &closed] {
        let ran = newer(bad, "q.example/l:1");
        assert_eq!(ran.works(), "1");
        assert!(ran.stderr.contains(word), "{ran:?}");
    }
    let says = version(&place, "2");
    let of_layer = says.to_string();
    let torn = layout_registry::serve(&place, move |request, pieces| {
        if request.path.ends_with(&of_layer) { missing() } else { pieces }
    });
    let ran = newer(&torn, "q.example/l:1");
    assert_eq!(ran.works(), "1");
    assert!(ran.stderr.contains(word), "{ran:?}");
    let length = std::fs::read(place.place.path(&format!("l/blobs/sha256/{}", says.hex())));
    let wrong = lying(&place, &says, vec![b'x'; length.unwrap().len()]);
    newer(&wrong, "q.example/l:1").fails_with(125, &["what came is"]);
    assert_eq!(newer(&good, "q.example/l:1").works(), "2");
}
