//! The registry client against a registry that misbehaves, and against a real one.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use usnea::digest::Digest;
use usnea::image::endpoint::{
    RegistryCredentials, RegistryEndpoint, RetrySettings, TransportSecurity,
};
use usnea::image::manifest::{Descriptor, LARGEST, media};
use usnea::image::registry_client::{Registry, RegistryAccess, RequestTimeouts};
use usnea::image::source::{ImageSource, ImageTarget};

use crate::fault_registry::{FaultRegistry, Heard, Piece, Pieces, answer, head};
use crate::real_registry::{Auth, PASSWORD, RealRegistry, Tls, USERNAME};
use crate::support::{need, text};

const TEMPO: RequestTimeouts = RequestTimeouts {
    connect: Duration::from_secs(5),
    stall: Duration::from_millis(400),
    pause: Duration::from_millis(5),
};

fn endpoint(host: &str) -> RegistryEndpoint {
    RegistryEndpoint {
        host: host.to_owned(),
        repository: "a/b".to_owned(),
        transport: TransportSecurity::Insecure,
        credentials: None,
        certificates: Vec::new(),
        retries: RetrySettings::default(),
    }
}

fn login() -> Option<RegistryCredentials> {
    Some(RegistryCredentials::Password {
        username: USERNAME.to_owned(),
        password: PASSWORD.to_owned(),
    })
}

fn registry(endpoint: RegistryEndpoint) -> Registry {
    Registry::with_tempo(endpoint, "1".to_owned(), RegistryAccess::Pull, TEMPO).expect("a registry")
}

fn anonymous(server: &FaultRegistry) -> Registry {
    registry(endpoint(&server.host))
}

fn content() -> Vec<u8> {
    (0..100_000_u32).flat_map(u32::to_le_bytes).collect()
}

fn descriptor(bytes: &[u8]) -> Descriptor {
    Descriptor {
        media_type: media::OCI_LAYER.to_owned(),
        digest: Digest::of(bytes),
        size: bytes.len() as u64,
        platform: None,
        annotations: BTreeMap::new(),
        urls: Vec::new(),
    }
}

fn read(registry: &Registry, from: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut blob =
        registry.blob(&descriptor(&content()), from).map_err(|error| error.to_string())?;
    blob.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// The content from where it is asked for.
fn part(request: &Heard) -> (Vec<u8>, Vec<u8>) {
    let all = content();
    let from = request.from().unwrap_or(0);
    let rest = all[from..].to_vec();
    let range = format!("bytes {from}-{}/{}", all.len() - 1, all.len());
    let head = match request.from() {
        Some(_) => head("206 Partial Content", &[("Content-Range", &range)], rest.len()),
        None => head("200 OK", &[], rest.len()),
    };
    (head, rest)
}

fn whole(request: &Heard) -> Pieces {
    let (head, rest) = part(request);
    vec![Piece::Send(head), Piece::Send(rest)]
}

#[test]
fn a_blob_that_is_cut_off_goes_on_where_it_stopped() {
    let server = FaultRegistry::start(|request, _| {
        let (head, rest) = part(request);
        vec![Piece::Send(head), Piece::Send(rest[..rest.len().min(70_000)].to_vec())]
    });
    // More cuts than failures are borne in a row: each brings something.
    assert_eq!(read(&anonymous(&server), 0).unwrap(), content());
    let heard = server.heard();
    assert_eq!(heard.len(), 6);
    assert_eq!(heard[1].header("range"), Some("bytes=70000-"));
    assert_eq!(read(&anonymous(&server), 399_000).unwrap(), content()[399_000..]);
}

#[test]
fn a_server_without_ranges_sends_it_again() {
    let server = FaultRegistry::start(|_, before| {
        let all = content();
        let cut = if before == 0 { 70_000 } else { all.len() };
        vec![Piece::Send(head("200 OK", &[], all.len())), Piece::Send(all[..cut].to_vec())]
    });
    assert_eq!(read(&anonymous(&server), 0).unwrap(), content());
    assert_eq!(read(&anonymous(&server), 399_000).unwrap(), content()[399_000..]);
}

#[test]
fn a_stalled_blob_is_asked_for_again_and_a_slow_one_is_waited_for() {
    let server = FaultRegistry::start(|request, before| {
        let (head, rest) = part(request);
        let (begin, end) = rest.split_at(rest.len().min(1000));
        let (begin, end) = (Piece::Send(begin.to_vec()), Piece::Send(end.to_vec()));
        match before {
            0 => vec![Piece::Send(head), begin, Piece::Wait(Duration::from_secs(20))],
            _ => {
                let mut pieces = vec![Piece::Send(head), begin];
                pieces.extend((0..4).map(|_| Piece::Wait(Duration::from_millis(50))));
                pieces.push(end);
                pieces
            }
        }
    });
    let start = Instant::now();
    assert_eq!(read(&anonymous(&server), 0).unwrap(), content());
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert_eq!(server.heard().len(), 2);
}

#[test]
fn drops_that_come_in_time_are_no_interruption() {
    let server = FaultRegistry::start(|request, _| {
        let (head, rest) = part(request);
        let drop = |bytes: &[u8]| [Piece::Send(bytes.to_vec()), Piece::Wait(TEMPO.stall / 8)];
        let drops = rest.chunks(rest.len().div_ceil(20)).flat_map(drop);
        [Piece::Send(head)].into_iter().chain(drops).collect()
    });
    let start = Instant::now();
    assert_eq!(read(&anonymous(&server), 0).unwrap(), content());
    assert!(start.elapsed() > TEMPO.stall);
    assert_eq!(server.heard().len(), 1);
}

#[test]
fn a_wrong_length_is_found_out() {
    let long = FaultRegistry::start(|_, _| answer("200 OK", &[], &[content(), vec![0]].concat()));
    let error = read(&anonymous(&long), 0).unwrap_err();
    assert!(error.contains("longer than its manifest says"), "{error}");
    let short = FaultRegistry::start(|request, _| match request.from() {
        Some(_) => answer("416 Range Not Satisfiable", &[], b""),
        None => answer("200 OK", &[], &content()[1..]),
    });
    let error = read(&anonymous(&short), 0).unwrap_err();
    assert!(error.contains("shorter than its manifest says"), "{error}");
    let other = FaultRegistry::start(|_, _| {
        answer("206 Partial Content", &[("Content-Range", "bytes 9-10/11")], b"xx")
    });
    let error = read(&anonymous(&other), 5).unwrap_err();
    assert!(error.contains("wrong byte"), "{error}");
}

#[test]
fn endless_answers_are_abandoned() {
    let server = FaultRegistry::start(|request, _| {
        let begin = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec();
        let begin = match request.path.contains("/blobs/") {
            true => [begin, content()].concat(),
            false => begin,
        };
        vec![Piece::Send(begin), Piece::Endless(vec![b' '; 65_536])]
    });
    let error = read(&anonymous(&server), 0).unwrap_err();
    assert!(error.contains("longer than its manifest says"), "{error}");
    let error = anonymous(&server).manifest(None).unwrap_err().to_string();
    assert!(error.contains(&format!("larger than {LARGEST} bytes")), "{error}");
    let said = FaultRegistry::start(|_, _| {
        vec![Piece::Send(head("200 OK", &[], 1 << 40)), Piece::Wait(Duration::from_secs(5))]
    });
    assert!(anonymous(&said).manifest(None).unwrap_err().to_string().contains("larger than"));
}

#[test]
fn no_progress_ends_after_some_tries() {
    let server = FaultRegistry::start(|request, _| vec![Piece::Send(part(request).0)]);
    let error = read(&anonymous(&server), 0).unwrap_err();
    assert!(error.starts_with(&format!("registry {}: ", server.host)), "{error}");
    assert_eq!(server.heard().len(), 5);
}

#[test]
fn a_redirect_to_another_server_goes_without_our_token() {
    let other = FaultRegistry::start(|request, _| whole(request));
    let to = format!("http://{}/signed?x=y", other.host);
    let server = FaultRegistry::start(move |request, _| {
        match (request.header("authorization"), request.path.as_str()) {
            (None, _) => answer("401 Unauthorized", &[("WWW-Authenticate", "Basic realm=x")], b""),
            (_, "/same") => answer("307 Temporary Redirect", &[("Location", &to)], b""),
            _ => answer("307 Temporary Redirect", &[("Location", "/same")], b""),
        }
    });
    let registry = registry(RegistryEndpoint { credentials: login(), ..endpoint(&server.host) });
    assert_eq!(read(&registry, 0).unwrap(), content());
    let asked = server.heard();
    assert!(asked.iter().any(|one| one.path == "/same" && one.header("authorization").is_some()));
    let heard = other.heard();
    assert_eq!((heard.len(), heard[0].path.as_str()), (1, "/signed?x=y"));
    assert_eq!(heard[0].header("authorization"), None);
}

#[test]
fn redirects_that_never_end_or_lead_out_of_tls_are_left() {
    let server = FaultRegistry::start(|_, _| answer("302 Found", &[("Location", "/again")], b""));
    let error = anonymous(&server).manifest(None).unwrap_err().to_string();
    assert!(error.contains("more than 10 redirects"), "{error}");
    assert_eq!(server.heard().len(), 11);
    let server =
        FaultRegistry::start(|_, _| answer("302 Found", &[("Location", "file:///x")], b""));
    let error = anonymous(&server).manifest(None).unwrap_err().to_string();
    assert!(error.contains("is not an address"), "{error}");
}

#[test]
fn a_registry_that_is_busy_is_left_alone_for_as_long_as_it_says() {
    let server = FaultRegistry::start(|request, before| match before {
        0 => answer("429 Too Many Requests", &[("Retry-After", "1")], b""),
        1 | 2 => answer("500 Internal Server Error", &[], b""),
        _ => whole(request),
    });
    let start = Instant::now();
    assert_eq!(read(&anonymous(&server), 0).unwrap(), content());
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert_eq!(server.heard().len(), 4);
    let broken = FaultRegistry::start(|_, _| answer("503 Service Unavailable", &[], b""));
    let error = anonymous(&broken).manifest(None).unwrap_err().to_string();
    assert!(error.contains("503"), "{error}");
    assert_eq!(broken.heard().len(), 5);
}

/// A registry that wants tokens of the server `realm`, and takes the newest alone.
fn with_tokens(realm: String, valid: impl Fn() -> String + Send + Sync + 'static) -> FaultRegistry {
    FaultRegistry::start(move |request, _| {
        let wanted = format!("Bearer {}", valid());
        if request.header("authorization") == Some(&wanted) {
            return whole(request);
        }
        let challenge =
            format!("Bearer realm=\"{realm}\",service=\"s\",scope=\"repository:a/b:pull\"");
        answer("401 Unauthorized", &[("WWW-Authenticate", &challenge)], b"")
    })
}

#[test]
fn a_token_is_had_elsewhere_and_had_anew_when_it_ran_out() {
    static ISSUED: AtomicUsize = AtomicUsize::new(0);
    let tokens = FaultRegistry::start(|_, _| {
        let number = ISSUED.fetch_add(1, Ordering::SeqCst) + 1;
        let body = format!(r#"{{"access_token":"t{number}","expires_in":300}}"#);
        answer("200 OK", &[], body.as_bytes())
    });
    // From its third use on, the first token is no good.
    static USES: AtomicUsize = AtomicUsize::new(0);
    let realm = format!("http://{}/token?a=b", tokens.host);
    let server = with_tokens(realm, || match USES.fetch_add(1, Ordering::SeqCst) {
        0..=2 => "t1".to_owned(),
        _ => "t2".to_owned(),
    });
    let registry = registry(RegistryEndpoint { credentials: login(), ..endpoint(&server.host) });
    for _ in 0..3 {
        assert_eq!(read(&registry, 0).unwrap(), content());
    }
    let heard = tokens.heard();
    assert_eq!(heard.len(), 2);
    assert_eq!(
        heard[0].path,
        "/token?a=b&service=s&scope=repository%3Aa%2Fb%3Apull&account=lichen"
    );
    assert!(heard[0].header("authorization").is_some_and(|value| value.starts_with("Basic ")));
}

#[test]
fn an_identity_token_is_posted_and_a_registry_token_is_used_as_it_is() {
    let tokens = FaultRegistry::start(|_, _| answer("200 OK", &[], br#"{"token":"good"}"#));
    let realm = format!("http://{}/token", tokens.host);
    let server = with_tokens(realm, || "good".to_owned());
    let with = |credentials| {
        registry(RegistryEndpoint { credentials: Some(credentials), ..endpoint(&server.host) })
    };
    assert_eq!(
        read(&with(RegistryCredentials::RegistryToken("good".into())), 0).unwrap(),
        content()
    );
    assert!(tokens.heard().is_empty());
    assert_eq!(
        read(&with(RegistryCredentials::IdentityToken("id&".into())), 0).unwrap(),
        content()
    );
    let heard = tokens.heard();
    assert_eq!((heard[0].method.as_str(), heard[0].header("authorization")), ("POST", None));
    let form = String::from_utf8(heard[0].body.clone()).unwrap();
    assert!(form.contains("grant_type=refresh_token&") && form.ends_with("=id%26"), "{form}");
}

#[test]
fn refused_credentials_are_reported_and_not_shown() {
    let words = r#"{"errors":[{"code":"DENIED","message":"no\u001b[2J way"}]}"#;
    let server = FaultRegistry::start(move |request, _| match request.path.as_str() {
        "/denied" => answer("403 Forbidden", &[], words.as_bytes()),
        _ => answer("401 Unauthorized", &[("WWW-Authenticate", "Basic realm=x")], words.as_bytes()),
    });
    let with = registry(RegistryEndpoint { credentials: login(), ..endpoint(&server.host) });
    let error = with.check_credentials().unwrap_err();
    assert!(error.to_string().contains("refused (DENIED: no\\u{1b}[2J way)"), "{error}");
    assert_eq!(error.hint_text(), Some(format!("usnea login {}", server.host).as_str()));
    assert!(!format!("{error:?}").contains(PASSWORD));
    assert_eq!(server.heard().len(), 2);
    let error = anonymous(&server).manifest(None).unwrap_err().to_string();
    assert!(error.contains("'a/b:1' does not exist, or needs a login"), "{error}");
}

#[test]
fn credentials_do_not_go_where_there_is_no_tls() {
    let tokens = FaultRegistry::start(|_, _| answer("200 OK", &[], br#"{"token":"good"}"#));
    let realm = format!("http://{}/token", tokens.host);
    let Some(real) = RealRegistry::start(Tls::On, Auth::Basic) else { return };
    let verified = RegistryEndpoint {
        transport: TransportSecurity::Verified,
        credentials: login(),
        certificates: vec![real.certificates()],
        ..endpoint(&real.host)
    };
    registry(verified.clone()).check_credentials().unwrap();
    // The same host by the name of a server without TLS: refused before anything is sent.
    let server = with_tokens(realm, || "good".to_owned());
    let plain = registry(RegistryEndpoint { host: server.host.clone(), ..verified });
    let error = plain.check_credentials().unwrap_err();
    assert!(error.to_string().contains("does not speak TLS"), "{error}");
    assert!(error.hint_text().unwrap().contains("--tls-verify=false"));
    assert!(server.heard().is_empty() && tokens.heard().is_empty());
    for realm in ["file:///etc/passwd", "token", "http://u:p@x/"] {
        let server = with_tokens(realm.to_owned(), || "good".to_owned());
        let error = anonymous(&server).manifest(None).unwrap_err().to_string();
        assert!(error.contains("not an address"), "{error}");
    }
}

#[test]
fn an_answer_that_is_no_http_is_reported() {
    let server = FaultRegistry::start(|_, _| vec![Piece::Send(b"220 mail ready\r\n\r\n".to_vec())]);
    let error = anonymous(&server).manifest(None).unwrap_err().to_string();
    assert!(error.contains("does not speak"), "{error}");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    drop(listener);
    let start = Instant::now();
    let error = registry(endpoint(&host)).manifest(None).unwrap_err().to_string();
    assert_eq!(error, format!("registry {host}: connection refused"));
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[test]
fn an_unknown_authority_is_reported_with_a_hint() {
    let Some(real) = RealRegistry::start(Tls::On, Auth::Off) else { return };
    let verified =
        RegistryEndpoint { transport: TransportSecurity::Verified, ..endpoint(&real.host) };
    let error = registry(verified.clone()).manifest(None).unwrap_err();
    assert!(error.to_string().contains("not of an authority that is known here"), "{error}");
    assert!(error.hint_text().unwrap().contains("certs.d"));
    let known = RegistryEndpoint { certificates: vec![real.certificates()], ..verified };
    let error = registry(known).manifest(None).unwrap_err().to_string();
    assert!(error.contains("'a/b:1' does not exist (MANIFEST_UNKNOWN"), "{error}");
    assert_eq!(registry(endpoint(&real.host)).head_manifest().unwrap(), None);
}

#[test]
fn skopeo_reads_images_pushed_to_a_real_registry() {
    for (tls, auth) in [
        (Tls::Off, Auth::Off),
        (Tls::Off, Auth::Basic),
        (Tls::On, Auth::Off),
        (Tls::On, Auth::Basic),
    ] {
        let Some(real) = RealRegistry::start(tls, auth) else { return };
        push_and_pull(&real, tls, auth);
    }
}

fn push_and_pull(real: &RealRegistry, tls: Tls, auth: Auth) {
    let (transport, certificates) = match tls {
        Tls::On => (TransportSecurity::Verified, vec![real.certificates()]),
        Tls::Off => (TransportSecurity::Insecure, Vec::new()),
    };
    let credentials = if auth == Auth::Basic { login() } else { None };
    let there = RegistryEndpoint { transport, certificates, credentials, ..endpoint(&real.host) };
    let push =
        Registry::with_tempo(there.clone(), "1".into(), RegistryAccess::Push, TEMPO).unwrap();
    let config =
        br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
    let folder = tempfile::tempdir().unwrap();
    let mut pieces = Vec::new();
    for bytes in [config.to_vec(), content()] {
        let path = folder.path().join("blob");
        std::fs::write(&path, &bytes).unwrap();
        let what = descriptor(&bytes);
        assert!(!push.has_blob(&what).unwrap());
        let last = std::cell::Cell::new(0);
        let open = || File::open(&path).map_err(usnea::error::Error::from);
        push.put_blob(&what, &open, &|count| last.set(count)).unwrap();
        assert_eq!(last.get(), what.size);
        assert!(push.has_blob(&what).unwrap());
        pieces.push(format!(
            r#"{{"mediaType":"{}","digest":"{}","size":{}}}"#,
            media::OCI_LAYER,
            what.digest,
            what.size
        ));
    }
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{},"layers":[{}]}}"#,
        media::OCI_MANIFEST,
        pieces[0].replace(media::OCI_LAYER, media::OCI_CONFIG),
        pieces[1]
    );
    let digest = Digest::of(manifest.as_bytes());
    push.put_manifest(Some(&digest), media::OCI_MANIFEST, manifest.as_bytes()).unwrap();
    push.put_manifest(None, media::OCI_MANIFEST, manifest.as_bytes()).unwrap();
    let pull = registry(there);
    assert_eq!(pull.head_manifest().unwrap(), Some(digest.clone()));
    for which in [None, Some(&digest)] {
        let fetched = pull.manifest(which).unwrap();
        assert_eq!(fetched.bytes, manifest.as_bytes());
        assert_eq!(fetched.media_type.as_deref(), Some(media::OCI_MANIFEST));
    }
    assert_eq!(read(&pull, 0).unwrap(), content());
    assert_eq!(read(&pull, 12_345).unwrap(), content()[12_345..]);
    if auth == Auth::Basic {
        let nobody = registry(RegistryEndpoint { credentials: None, ..endpoint(&real.host) });
        let error = nobody.manifest(None).unwrap_err().to_string();
        assert!(error.contains("needs a login"), "{error}");
    }
    if !need("skopeo") {
        return;
    }
    let mut skopeo = Command::new("skopeo");
    let copy = format!("dir:{}", text(&folder.path().join("copy")));
    skopeo.args([
        "copy",
        "--src-tls-verify=false",
        &format!("docker://{}/a/b:1", real.host),
        &copy,
    ]);
    if auth == Auth::Basic {
        skopeo.args(["--src-username", USERNAME, "--src-password", PASSWORD]);
    }
    let ran = skopeo.output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let blob = folder.path().join("copy").join(descriptor(&content()).digest.hex());
    assert_eq!(std::fs::read(blob).unwrap(), content());
}
