//! `signedIdentity`: the table of containers-policy.json(5).

use super::*;

fn accepts(identity: &str, image: &str, signed: &str) -> bool {
    let identity: SignedIdentity = serde_json::from_str(identity).unwrap();
    let image = image.replace("DIGEST", &Digest::of(b"").to_string());
    let signed = signed.replace("DIGEST", &Digest::of(b"").to_string());
    identity.accepts(Some(&image.parse::<Reference>().unwrap()), &signed)
}

#[test]
fn each_kind_accepts_its_names_alone() {
    let exact = r#"{"type":"matchExact"}"#;
    let digest_or_exact = r#"{"type":"matchRepoDigestOrExact"}"#;
    let repository = r#"{"type":"matchRepository"}"#;
    let reference = r#"{"type":"exactReference","dockerReference":"v.io/x:1"}"#;
    let named = r#"{"type":"exactRepository","dockerRepository":"v.io/x"}"#;
    for (identity, image, signed, accepted) in [
        (exact, "q.io/x:1", "q.io/x:1", true),
        (exact, "q.io/x:1", "q.io/x:2", false),
        (exact, "q.io/x:latest", "q.io/x", false),
        (exact, "q.io/x@DIGEST", "q.io/x:1", false),
        (exact, "q.io/x@DIGEST", "q.io/x@DIGEST", true),
        (exact, "q.io/x:1@DIGEST", "q.io/x@DIGEST", true),
        (digest_or_exact, "q.io/x:1", "q.io/x:1", true),
        (digest_or_exact, "q.io/x:1", "q.io/x:2", false),
        (digest_or_exact, "q.io/x:1", "q.io/x@DIGEST", false),
        (digest_or_exact, "q.io/x:latest", "q.io/x", false),
        (digest_or_exact, "q.io/x@DIGEST", "q.io/x:7", true),
        (digest_or_exact, "q.io/x@DIGEST", "q.io/x", false),
        (digest_or_exact, "q.io/x@DIGEST", "q.io/y:7", false),
        (digest_or_exact, "busybox", "busybox:latest", true),
        (digest_or_exact, "busybox", "index.docker.io/library/busybox:latest", true),
        (repository, "q.io/x:1", "q.io/x", true),
        (repository, "q.io/x@DIGEST", "q.io/x:9", true),
        (repository, "q.io/x:1", "q.io/xy", false),
        (repository, "q.io/x:1", "q.io/x/y", false),
        (repository, "q.io/x:1", "p.io/x", false),
        (repository, "q.io/x:1", "", false),
        (repository, "q.io/x:1", "q.io/x:1 ", false),
        (reference, "q.io/x:9", "v.io/x:1", true),
        (reference, "q.io/x:9", "v.io/x:2", false),
        (reference, "q.io/x:9", "v.io/x", false),
        (reference, "q.io/x:9", "q.io/x:9", false),
        (named, "q.io/x:9", "v.io/x", true),
        (named, "q.io/x:9", "v.io/x:3", true),
        (named, "q.io/x:9", "v.io/y", false),
    ] {
        assert_eq!(accepts(identity, image, signed), accepted, "{identity} {image} {signed}");
    }
}

#[test]
fn prefixes_are_remapped_at_slashes() {
    let remap = |prefix: &str, signed: &str| {
        format!(r#"{{"type":"remapIdentity","prefix":"{prefix}","signedPrefix":"{signed}"}}"#)
    };
    let mirror = remap("mirror:5000/vendor", "vendor.example");
    let host = remap("mirror:5000", "vendor.example/all");
    let one = remap("mirror:5000/x", "docker.io/library/busybox");
    for (identity, image, signed, accepted) in [
        (&mirror, "mirror:5000/vendor/a/b:1", "vendor.example/a/b:1", true),
        (&mirror, "mirror:5000/vendor/a/b:1", "vendor.example/a/b:2", false),
        (&mirror, "mirror:5000/vendor/a@DIGEST", "vendor.example/a:2", true),
        (&mirror, "mirror:5000/vendor/a:1", "mirror:5000/vendor/a:1", false),
        // A name that is not below the prefix stays unchanged.
        (&mirror, "mirror:5000/vendors/a:1", "mirror:5000/vendors/a:1", true),
        (&mirror, "mirror:5000/vendors/a:1", "vendor.examples/a:1", false),
        // A registry alone is not an image's name.
        (&mirror, "mirror:5000/vendor:1", "vendor.example:1", false),
        (&host, "mirror:5000/a:1", "vendor.example/all/a:1", true),
        (&host, "mirror:50001/a:1", "vendor.example/all/a:1", false),
        (&one, "mirror:5000/x:1", "busybox:1", true),
        (&one, "mirror:5000/x/y:1", "docker.io/library/busybox/y:1", true),
    ] {
        assert_eq!(accepts(identity, image, signed), accepted, "{identity} {image} {signed}");
    }
}

#[test]
fn an_image_from_a_folder_has_no_name_to_match() {
    for (identity, accepted) in [
        (r#"{"type":"matchExact"}"#, false),
        (r#"{"type":"matchRepoDigestOrExact"}"#, false),
        (r#"{"type":"matchRepository"}"#, false),
        (r#"{"type":"remapIdentity","prefix":"q.io","signedPrefix":"q.io"}"#, false),
        (r#"{"type":"exactReference","dockerReference":"q.io/x:1"}"#, true),
        (r#"{"type":"exactRepository","dockerRepository":"q.io/x"}"#, true),
    ] {
        let identity: SignedIdentity = serde_json::from_str(identity).unwrap();
        assert_eq!(identity.accepts(None, "q.io/x:1"), accepted, "{identity:?}");
    }
}
