//! Valid policies, and texts that are refused as policies.

use proptest::prelude::*;

use super::*;

const ACCEPT: &str = r#"[{"type":"insecureAcceptAnything"}]"#;

fn with(requirement: &str) -> String {
    format!(r#"{{"default":[{requirement}]}}"#)
}

#[test]
fn all_that_the_manual_shows_is_read() {
    // The "reasonably locked-down system" of containers-policy.json(5), and what Fedora ships.
    let text = r#"{
        "default": [{"type": "reject"}],
        "transports": {
            "docker": {
                "docker.io/openshift": [{"type": "insecureAcceptAnything"}],
                "docker.io/library/busybox": [{"type": "insecureAcceptAnything"}],
                "*.temporary-project.example.com": [{"type": "insecureAcceptAnything"}],
                "registry.access.redhat.com": [
                    {"type": "signedBy", "keyType": "GPGKeys",
                     "keyPaths": ["/etc/pki/rpm-gpg/RPM-GPG-KEY-redhat-release", "/etc/pki/b"]}
                ],
                "hostname:5000/myns/sigstore-signed-with-full-references": [
                    {"type": "sigstoreSigned", "keyPath": "/path/to/sigstore-pubkey.pub"}
                ],
                "hostname:5000/myns/sigstore-signed-fulcio": [
                    {"type": "sigstoreSigned",
                     "fulcio": {"caPath": "/ca", "oidcIssuer": "https://x", "subjectEmail": "a@b"},
                     "rekorPublicKeyPath": "/rekor.pub"}
                ],
                "hostname:5000/pki": [
                    {"type": "sigstoreSigned", "pki": {"caRootsPath": "/ca", "subjectEmail": "a@b"}}
                ]
            },
            "dir": {"": [{"type": "insecureAcceptAnything"}]},
            "docker-daemon": {"": [{"type": "insecureAcceptAnything"}]},
            "atomic": {
                "hostname:5000/vendor/product": [
                    {"type": "signedBy", "keyType": "GPGKeys", "keyData": "YQ==",
                     "signedIdentity": {"type": "exactRepository", "dockerRepository": "vendor-hostname/product/repository"}},
                    {"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/path/to/reviewer-pubkey.gpg"}
                ],
                "private-mirror:5000/vendor-mirror": [
                    {"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/path/to/vendor-pubkey.gpg",
                     "signedIdentity": {"type": "remapIdentity", "prefix": "private-mirror:5000/vendor-mirror",
                                        "signedPrefix": "vendor.example.com"}}
                ]
            }
        }
    }"#;
    let policy = policy(text).unwrap();
    assert!(policy.check_before(&origin("busybox")).is_ok());
    for (image, words) in [
        ("debian", "signature policy /p.json: default: reject: docker.io/library/debian:latest"),
        ("registry.access.redhat.com/ubi9", "docker \"registry.access.redhat.com\": signedBy: "),
        ("hostname:5000/myns/sigstore-signed-fulcio:1", "(fulcio, pki) cannot be verified here"),
        ("hostname:5000/pki", "(fulcio, pki) cannot be verified here"),
        (
            "hostname:5000/myns/sigstore-signed-with-full-references",
            "key /path/to/sigstore-pubkey.pub: No such file",
        ),
    ] {
        let error = policy.check_before(&origin(image)).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
        assert!(policy.verify(&origin(image), &Digest::of(b""), &alone).is_err());
    }
}

#[test]
fn a_requirement_that_cannot_be_verified_refuses_its_own_images_alone() {
    let rekor = r#"{"type":"sigstoreSigned","keyPath":"/k","rekorPublicKeyDatas":["YQ=="]}"#;
    let base = r#"{"type":"signedBaseLayer","baseLayerIdentity":{"type":"matchExact"}}"#;
    for requirement in [rekor, base] {
        let text = format!(
            r#"{{"default":{ACCEPT},"transports":{{"docker":{{"q.io/x":[{requirement}]}}}}}}"#
        );
        let policy = policy(&text).unwrap();
        assert!(policy.check_before(&origin("q.io/y")).is_ok());
        let error = policy.check_before(&origin("q.io/x")).unwrap_err();
        assert!(error.to_string().contains("cannot be verified here"), "{error}");
        assert!(error.hint_text().unwrap().contains("sigstoreSigned"), "{error}");
    }
}

#[test]
fn an_invalid_policy_is_refused_with_file_and_key() {
    let signed = |more: &str| with(&format!(r#"{{"type":"sigstoreSigned",{more}}}"#));
    let by = |more: &str| with(&format!(r#"{{"type":"signedBy",{more}}}"#));
    let identity = |more: &str| signed(&format!(r#""keyPath":"/k","signedIdentity":{{{more}}}"#));
    let scope = |transport: &str, scope: &str| {
        format!(r#"{{"default":{ACCEPT},"transports":{{"{transport}":{{"{scope}":{ACCEPT}}}}}}}"#)
    };
    for (text, words) in [
        (String::new(), "EOF"),
        ("[]".into(), "invalid"),
        ("{}".into(), "missing field `default`"),
        (format!(r#"{{"default":{ACCEPT},"transport":{{}}}}"#), "unknown field `transport`"),
        (format!(r#"{{"default":{ACCEPT},"default":{ACCEPT}}}"#), "duplicate field `default`"),
        (format!(r#"{{"default":{ACCEPT}}} x"#), "trailing characters"),
        (r#"{"default":null}"#.into(), "invalid type: null"),
        (r#"{"default":[]}"#.into(), "default: no requirements"),
        (
            format!(r#"{{"default":{ACCEPT},"transports":{{"docker":{{"q.io":[]}}}}}}"#),
            "docker \"q.io\": no requirements",
        ),
        (
            format!(
                r#"{{"default":{ACCEPT},"transports":{{"docker":{{"a.b":{ACCEPT},"a.b":{ACCEPT}}}}}}}"#
            ),
            "'a.b' stands there twice",
        ),
        (
            format!(r#"{{"default":{ACCEPT},"transports":{{"dir":{{}},"dir":{{}}}}}}"#),
            "'dir' stands there twice",
        ),
        (with("{}"), "missing field `type`"),
        (with(r#"{"type":"accept"}"#), "unknown variant `accept`"),
        (with(r#"{"type":"reject","type":"reject"}"#), "duplicate field `type`"),
        (with(r#"{"type":"reject","x":1}"#), "unknown field `x`"),
        (with(r#"{"type":"insecureAcceptAnything","keyPath":"/k"}"#), "unknown field `keyPath`"),
        (signed(r#""keyPath":"/k","keypath":"/k""#), "unknown field `keypath`"),
        (signed(r#""keyPath":"/k","keyPath":"/l""#), "duplicate field `keyPath`"),
        (
            signed(r#""signedIdentity":{"type":"matchExact"}"#),
            "default: sigstoreSigned: none of keyPath",
        ),
        (
            signed(r#""keyPath":"/k","keyData":"YQ==""#),
            "default: sigstoreSigned: more than one of keyPath",
        ),
        (signed(r#""keyPaths":[]"#), "no key"),
        (signed(r#""keyDatas":[]"#), "no key"),
        (signed(r#""keyData":"!""#), "not base64"),
        (signed(r#""keyPath":7"#), "invalid type: integer `7`"),
        (signed(r#""fulcio":{"caPath":"/k"}"#), "missing field `oidcIssuer`"),
        (signed(r#""pki":{"caRoots":"/k"}"#), "unknown field `caRoots`"),
        (by(r#""keyPath":"/k""#), "missing field `keyType`"),
        (by(r#""keyType":"PGP","keyPath":"/k""#), "unknown variant `PGP`"),
        (by(r#""keyType":"GPGKeys""#), "none of keyPath"),
        (by(r#""keyType":"GPGKeys","keyPath":"/k","keyPaths":["/l"]"#), "more than one of keyPath"),
        (identity(r#""type":"match""#), "unknown variant `match`"),
        (identity(r#""type":"matchExact","x":1"#), "unknown field `x`"),
        (identity(r#""type":"exactReference""#), "missing field `dockerReference`"),
        (
            identity(r#""type":"exactReference","dockerReference":"q.io/x""#),
            "'q.io/x' has neither a tag nor a digest",
        ),
        (identity(r#""type":"exactReference","dockerReference":"X:1""#), "not a valid name"),
        (identity(r#""type":"exactRepository","dockerRepository":"a b""#), "not a valid name"),
        (
            identity(r#""type":"remapIdentity","prefix":"busybox","signedPrefix":"q.io""#),
            "'busybox' is not the beginning",
        ),
        (
            identity(r#""type":"remapIdentity","prefix":"q.io/x:1","signedPrefix":"q.io""#),
            "'q.io/x:1' is not the beginning",
        ),
        (
            identity(r#""type":"remapIdentity","prefix":"q.io/","signedPrefix":"q.io""#),
            "'q.io/' is not the beginning",
        ),
        (
            identity(r#""type":"remapIdentity","prefix":"q.io","signedPrefix":"""#),
            "'' is not the beginning",
        ),
        (scope("docker", "example*.*.com"), "docker \"example*.*.com\": '*' stands for"),
        (scope("docker", "*.q.io/x"), "'*' stands for"),
        (scope("docker", "q.io/*"), "'*' stands for"),
        (scope("dir", "/"), "dir \"/\": not an absolute path"),
        (scope("dir", "x"), "not an absolute path"),
        (scope("oci", "/a/../b"), "not an absolute path"),
        (scope("oci-archive", "/a/"), "not an absolute path"),
        (scope("docker-archive", "/a.tar"), "docker-archive \"/a.tar\": only the scope"),
    ] {
        let error = policy(&text).expect_err(&text).to_string();
        assert!(error.starts_with("signature policy /p.json: "), "{error}");
        assert!(error.contains(words), "{text}: {error}");
    }
}

#[test]
fn a_file_that_is_named_must_be_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.json");
    let error = SignaturePolicy::load_from(&path).unwrap_err().to_string();
    assert!(
        error.contains("cannot read the signature policy") && error.contains("p.json"),
        "{error}"
    );
    std::fs::write(&path, with(r#"{"type":"reject"}"#)).unwrap();
    let policy = SignaturePolicy::load_from(&path).unwrap();
    let error = policy.check_before(&origin("debian")).unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "signature policy {}: default: reject: docker.io/library/debian:latest: images from there are rejected",
            path.display()
        )
    );
}

proptest! {
    #[test]
    fn no_text_panics(text in ".*") {
        let _ = policy(&text);
    }

    #[test]
    fn no_part_panics(
        kind in prop::sample::select(vec!["sigstoreSigned", "signedBy", "reject", "signedBaseLayer"]),
        key in prop::sample::select(vec!["keyPath", "keyData", "signedIdentity", "fulcio", "keyDatas"]),
        value in ".*",
        scope in ".*",
    ) {
        let requirement = serde_json::json!({"type": kind, key: value});
        let remap = serde_json::json!({"type": "sigstoreSigned", "keyPath": "/k", "signedIdentity":
            {"type": "remapIdentity", "prefix": scope, "signedPrefix": value}});
        for requirement in [requirement, remap] {
            let value = serde_json::json!({"default": [requirement],
                "transports": {"docker": {&scope: [{"type": "reject"}]}, "dir": {&scope: [{"type": "reject"}]}}});
            let _ = policy(&value.to_string());
        }
    }
}
