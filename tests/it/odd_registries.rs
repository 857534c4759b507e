//! Registries that are odd and right: what docker and podman understand of them is understood here.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use usnea::digest::Digest;
use usnea::image::endpoint::{
    RegistryCredentials, RegistryEndpoint, RetrySettings, TransportSecurity,
};
use usnea::image::manifest::{Descriptor, media};
use usnea::image::registry_client::{Registry, RegistryAccess, RequestTimeouts};
use usnea::image::source::ImageSource;

use crate::composed::{Composed, small_root};
use crate::fault_registry::{FaultRegistry, Heard, Pieces, answer};
use crate::layout_registry::{self, missing};
use crate::stocked::Stocked;
use crate::support::text;

const TEMPO: RequestTimeouts = RequestTimeouts {
    connect: Duration::from_secs(5),
    stall: Duration::from_secs(5),
    pause: Duration::from_millis(5),
};

const BASIC: &str = "Basic dTpw";

fn registry(server: &FaultRegistry, credentials: Option<RegistryCredentials>) -> Registry {
    let endpoint = RegistryEndpoint {
        host: server.host.clone(),
        repository: "a/b".to_owned(),
        transport: TransportSecurity::Insecure,
        credentials,
        certificates: Vec::new(),
        retries: RetrySettings::default(),
    };
    Registry::with_tempo(endpoint, "1".to_owned(), RegistryAccess::Pull, TEMPO).expect("a registry")
}

fn login() -> Option<RegistryCredentials> {
    Some(RegistryCredentials::Password { username: "u".to_owned(), password: "p".to_owned() })
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).expect("memory");
    gzip.finish().expect("memory")
}

fn content() -> Vec<u8> {
    (0..50_000_u32).flat_map(u32::to_le_bytes).collect()
}

fn descriptor() -> Descriptor {
    let bytes = content();
    let text = json!({"digest": Digest::of(&bytes), "size": bytes.len()});
    serde_json::from_value(text).expect("a descriptor")
}

fn blob(registry: &Registry, from: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    registry.blob(&descriptor(), from).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_login_is_sent_to_a_registry_that_hides_what_it_has() {
    for hidden in ["404 Not Found", "403 Forbidden", "401 Unauthorized"] {
        let server = FaultRegistry::start(move |request: &Heard, _| {
            match (request.header("authorization"), request.path.as_str()) {
                (Some(BASIC), _) => answer("200 OK", &[], b"{}"),
                (None, "/v2/") => {
                    answer("401 Unauthorized", &[("WWW-Authenticate", "Basic realm=\"r\"")], b"")
                }
                // No challenge of its own.
                _ => answer(hidden, &[], b"{}"),
            }
        });
        let one = registry(&server, login());
        assert_eq!(one.manifest(None).unwrap().bytes, b"{}", "{hidden}");
        assert_eq!(one.manifest(None).unwrap().bytes, b"{}", "{hidden}");
        assert_eq!(server.heard().iter().filter(|one| one.path == "/v2/").count(), 1);
        assert!(registry(&server, None).manifest(None).is_err(), "{hidden}");
    }
}

#[test]
fn what_is_packed_for_the_way_is_unpacked() {
    for (encoding, packed) in [
        ("gzip", gzip(&content())),
        ("X-GZIP", gzip(&content())),
        ("zstd", zstd::encode_all(&content()[..], 1).unwrap()),
        // It says so of what is not packed any further.
        ("gzip", content()),
        ("identity", content()),
    ] {
        let server = FaultRegistry::start(move |_, _| {
            answer("200 OK", &[("Content-Encoding", encoding)], &packed)
        });
        let registry = registry(&server, None);
        assert!(blob(&registry, 0) == content(), "{encoding}");
        assert!(blob(&registry, 70_001) == content()[70_001..], "{encoding}");
        assert_eq!(server.heard()[0].header("accept-encoding"), Some("identity"));
    }
    let server = FaultRegistry::start(|_, _| {
        answer("200 OK", &[("Content-Encoding", "gzip")], &gzip(b"{\"a\":1}"))
    });
    assert_eq!(registry(&server, None).manifest(None).unwrap().bytes, b"{\"a\":1}");
    let server = FaultRegistry::start(|_, _| answer("200 OK", &[("Content-Encoding", "br")], b"x"));
    let error = registry(&server, None).manifest(None).unwrap_err().to_string();
    assert!(error.contains("br"), "{error}");
}

#[test]
fn a_bomb_in_a_manifests_encoding_is_left() {
    let bomb = gzip(&vec![b' '; 64 << 20]);
    let server =
        FaultRegistry::start(move |_, _| answer("200 OK", &[("Content-Encoding", "gzip")], &bomb));
    let error = registry(&server, None).manifest(None).unwrap_err().to_string();
    assert!(error.contains("larger than"), "{error}");
}

#[test]
fn locations_are_followed_as_they_are_meant() {
    for location in
        ["../../../c/d?x=\"y z\"", "/v2/x/./../c/d", "/v2/c/d?n=\u{e9}", "//HOST/v2/c/d"]
    {
        let server = FaultRegistry::start(move |request: &Heard, _| {
            let host = request.header("host").unwrap_or_default();
            match request.path.starts_with("/v2/c/d") {
                true => answer("200 OK", &[], &content()),
                false => answer("307 Moved", &[("Location", &location.replace("HOST", host))], b""),
            }
        });
        assert!(blob(&registry(&server, None), 0) == content(), "{location}");
    }
}

#[test]
fn a_size_that_no_manifest_says_is_asked_for() {
    let server = FaultRegistry::start(|request: &Heard, _| match request.method.as_str() {
        "HEAD" => answer("405 Method Not Allowed", &[], b""),
        _ => answer("200 OK", &[], &content()),
    });
    let digest = Digest::of(&content());
    assert_eq!(registry(&server, None).size(&digest).unwrap(), content().len() as u64);
    let server = FaultRegistry::start(|_, _| missing());
    assert!(registry(&server, None).size(&digest).is_err());
}

#[test]
fn tags_are_listed_page_by_page() {
    let server = FaultRegistry::start(|request: &Heard, _| match request.path.as_str() {
        "/v2/a/b/tags/list" => {
            let next = [("Link", "</v2/a/b/tags/list?last=2&n=2>; rel=\"next\"")];
            answer("200 OK", &next, br#"{"name":"a/b","tags":["1","2"]}"#)
        }
        "/v2/a/b/tags/list?last=2&n=2" => answer("200 OK", &[], br#"{"tags":["3"]}"#),
        _ => missing(),
    });
    assert_eq!(registry(&server, None).tags().unwrap(), ["1", "2", "3"]);
    let server = FaultRegistry::start(|_, _| answer("200 OK", &[], br#"{"tags":null}"#));
    assert!(registry(&server, None).tags().unwrap().is_empty());
}

/// What was put into a registry, by tag or digest.
type Stored = Arc<Mutex<HashMap<String, Vec<u8>>>>;

/// A registry that is pushed to, and takes no manifest that holds `refused`.
fn taking(refused: &'static str) -> (FaultRegistry, Stored) {
    let stored = Stored::default();
    let kept = stored.clone();
    let behave = move |request: &Heard, _| -> Pieces {
        let mut stored = kept.lock().expect("no panic before");
        let name = request.path.rsplit('/').next().unwrap_or_default().to_owned();
        match request.method.as_str() {
            "POST" => answer("202 Accepted", &[("Location", "/v2/up")], b""),
            "PATCH" => {
                stored.insert("up".to_owned(), request.body.clone());
                answer("202 Accepted", &[("Location", "/v2/up")], b"")
            }
            "PUT" if request.path.contains("/manifests/") => {
                if String::from_utf8_lossy(&request.body).contains(refused) {
                    let body = br#"{"errors":[{"code":"MANIFEST_INVALID","message":"no"}]}"#;
                    return answer("400 Bad Request", &[], body);
                }
                stored.insert(name, request.body.clone());
                answer("201 Created", &[], b"")
            }
            "PUT" => {
                let bytes = stored.remove("up").unwrap_or_default();
                stored.insert(Digest::of(&bytes).to_string(), bytes);
                answer("201 Created", &[], b"")
            }
            "GET" if request.path == "/v2/" => answer("200 OK", &[], b"{}"),
            _ => match stored.get(&name) {
                Some(bytes) => {
                    answer("200 OK", &[], if request.method == "HEAD" { b"" } else { bytes })
                }
                None => missing(),
            },
        }
    };
    (FaultRegistry::start(behave), stored)
}

#[test]
fn a_registry_that_takes_one_format_gets_that_one() {
    let place = Stocked::new();
    Composed::of(&[small_root(&place)]).config(json!({"Cmd": ["sh"]})).write(&place, "l");
    let id =
        place.usnea(&["pull", &format!("oci:{}", text(&place.place.path("l")))]).works().to_owned();
    for (refused, flags, kind) in [
        ("vnd.oci", &[][..], media::DOCKER_MANIFEST),
        ("vnd.docker", &[], media::OCI_MANIFEST),
        ("nothing", &["--format", "v2s2"], media::DOCKER_MANIFEST),
        ("nothing", &["--format", "oci"], media::OCI_MANIFEST),
    ] {
        let (server, stored) = taking(refused);
        // A registry of this machine needs no --tls-verify=false.
        let to = format!("{}/x/y:1", server.host);
        place.usnea(&[&["push"], flags, &["--remove-signatures", &id, &to]].concat()).works();
        let stored = stored.lock().expect("no panic before");
        let manifest: serde_json::Value = serde_json::from_slice(&stored["1"]).expect("JSON");
        assert_eq!(manifest["mediaType"], kind, "{refused}");
        let layer = manifest["layers"][0]["mediaType"].as_str().expect("a type");
        assert_eq!(layer.contains("docker"), kind.contains("docker"));
        assert!(stored.contains_key(manifest["layers"][0]["digest"].as_str().expect("a digest")));
    }
    let (server, _) = taking("vnd.oci");
    let to = format!("{}/x/y:1", server.host);
    let pushed = place.usnea(&["push", "-q", "--format", "oci", &id, &to]);
    pushed.fails_with(125, &["MANIFEST_INVALID"]);
    let (server, _) = taking("schemaVersion");
    let pushed = place.usnea(&["push", "-q", &id, &format!("{}/x/y:1", server.host)]);
    pushed.fails_with(125, &["MANIFEST_INVALID"]);
}

#[test]
fn all_tags_are_pushed_and_pulled_and_a_tarball_is_imported_from_the_web() {
    let place = Stocked::new();
    let (server, stored) = taking("nothing");
    let name = |tag: &str| format!("{}/x/y:{tag}", server.host);
    place.import("one:1", &[("a", "1")], &[]);
    place.usnea(&["tag", "one:1", &name("1"), &name("2")]).works();
    place.usnea(&["push", "-a", &format!("{}/x/y", server.host)]).works();
    assert!(["1", "2"].iter().all(|tag| stored.lock().unwrap().contains_key(*tag)));
    place.usnea(&["push", "-a", &name("1")]).exits(125);

    Composed::of(&[small_root(&place)]).config(json!({"Cmd": ["sh"]})).write(&place, "l");
    let tar = std::fs::read(place.place.path("root.tar")).expect("a tarball");
    let server =
        layout_registry::serve(&place, move |request, pieces| match request.path.as_str() {
            "/v2/l/tags/list" => answer("200 OK", &[], br#"{"tags":["1","2"]}"#),
            "/far/root.tar" => answer("302 Found", &[("Location", "../root.tar")], b""),
            "/root.tar" => answer("200 OK", &[], &tar),
            _ => pieces,
        });
    let pulled = place.usnea(&["pull", "-q", "--all-tags", &format!("{}/l", server.host)]);
    assert_eq!(pulled.works().lines().count(), 2);
    place.usnea(&["image", "exists", &format!("{}/l:2", server.host)]).works();
    place.usnea(&["pull", "-a", &format!("{}/l:2", server.host)]).exits(125);
    place.usnea(&["import", &format!("http://{}/far/root.tar", server.host), "web:1"]).works();
    assert_eq!(place.usnea(&["run", "--rm", "web:1", "echo", "ran"]).works(), "ran");
    let missing = place.usnea(&["import", &format!("http://{}/none.tar", server.host), "web:2"]);
    missing.fails_with(125, &["it answers 404"]);
}
