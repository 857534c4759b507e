//! Signatures: keys and signatures are openssl's, the registry is in memory.

use std::path::PathBuf;
use std::process::Command;

use base64::prelude::{BASE64_STANDARD, Engine};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::fail;
use crate::image::manifest::{Descriptor, media};
use crate::image::source::{BlobReader, FetchedManifest};

const STATEMENT: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

/// A temporary folder with an openssl key: `key` and `pub`.
struct Signer(tempfile::TempDir);

impl Signer {
    fn new(options: &[&str]) -> Self {
        let signer = Self(tempfile::tempdir().unwrap());
        signer.openssl(&[&["genpkey", "-out", "key"], options].concat());
        signer.openssl(&["pkey", "-in", "key", "-pubout", "-out", "pub"]);
        signer
    }

    fn p256() -> Self {
        Self::new(&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"])
    }

    fn openssl(&self, arguments: &[&str]) {
        let output = Command::new("openssl")
            .args(arguments)
            .current_dir(self.0.path())
            .output()
            .expect("openssl is installed");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }

    fn public(&self) -> PathBuf {
        self.0.path().join("pub")
    }

    fn sign(&self, payload: &[u8]) -> Vec<u8> {
        self.sign_with(payload, &["dgst", "-sha256", "-sign", "key", "-out", "sig", "payload"])
    }

    fn sign_with(&self, payload: &[u8], command: &[&str]) -> Vec<u8> {
        std::fs::write(self.0.path().join("payload"), payload).unwrap();
        self.openssl(command);
        std::fs::read(self.0.path().join("sig")).unwrap()
    }

    /// The policy that demands this key's signature on everything.
    fn policy(&self, identity: &str) -> SignaturePolicy {
        let identity: Value = serde_json::from_str(identity).unwrap();
        let requirement =
            json!({"type": "sigstoreSigned", "keyPath": self.public(), "signedIdentity": identity});
        policy(&json!({"default": [requirement]}).to_string()).unwrap()
    }
}

/// Manifest and blobs at the tag of the signatures.
#[derive(Clone, Default)]
struct Shelf {
    layers: Vec<Value>,
    blobs: BTreeMap<Digest, Vec<u8>>,
}

impl ImageSource for Shelf {
    fn describe(&self) -> String {
        "shelf".to_owned()
    }

    fn manifest(&self, _: Option<&Digest>) -> Result<FetchedManifest> {
        let config = json!({"mediaType": media::OCI_CONFIG, "digest": Digest::of(b""), "size": 0});
        let manifest = json!({"schemaVersion": 2, "mediaType": media::OCI_MANIFEST, "config": config, "layers": self.layers});
        Ok(FetchedManifest { bytes: manifest.to_string().into_bytes(), media_type: None })
    }

    fn blob(&self, descriptor: &Descriptor, _: u64) -> Result<BlobReader> {
        match self.blobs.get(&descriptor.digest) {
            Some(bytes) => Ok(Box::new(std::io::Cursor::new(bytes.clone()))),
            None => fail!("no blob {}", descriptor.digest),
        }
    }
}

impl Shelf {
    fn with(mut self, payload: &[u8], signature: &str) -> Self {
        let digest = Digest::of(payload);
        self.layers.push(json!({
            "mediaType": STATEMENT, "digest": digest, "size": payload.len(),
            "annotations": {"dev.cosignproject.cosign/signature": signature},
        }));
        self.blobs.insert(digest, payload.to_vec());
        self
    }

    fn signed(self, signer: &Signer, payload: &[u8]) -> Self {
        self.with(payload, &BASE64_STANDARD.encode(signer.sign(payload)))
    }

    /// The verdict of `policy` on the image `q.io/x:1`.
    fn verify(&self, policy: &SignaturePolicy) -> Result<()> {
        self.verify_as(policy, "q.io/x:1")
    }

    fn verify_as(&self, policy: &SignaturePolicy, image: &str) -> Result<()> {
        let wanted = format!("sha256-{}.sig", digest().hex());
        policy.verify(&origin(image), &digest(), &|tag| {
            assert_eq!(tag, wanted);
            Ok(Some(Box::new(self.clone())))
        })
    }
}

/// The image's digest.
fn digest() -> Digest {
    Digest::of(b"a manifest")
}

fn payload(name: &str) -> Vec<u8> {
    payload_of(name, &digest().to_string(), "cosign container image signature")
}

fn payload_of(name: &str, digest: &str, kind: &str) -> Vec<u8> {
    json!({"critical": {"identity": {"docker-reference": name}, "image": {"docker-manifest-digest": digest}, "type": kind},
        "optional": null})
    .to_string()
    .into_bytes()
}

const REPOSITORY: &str = r#"{"type":"matchRepository"}"#;

fn refused(shelf: &Shelf, policy: &SignaturePolicy, words: &str) {
    let error = shelf.verify(policy).expect_err(words).to_string();
    assert!(
        error.starts_with("signature policy /p.json: default: sigstoreSigned: q.io/x:1: "),
        "{error}"
    );
    assert!(error.contains(words), "{error}");
}

#[test]
fn signed_images_are_accepted_with_every_kind_of_key() {
    let one = Signer::p256();
    let rsa = ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
    let p384 = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"];
    let dgst = |hash| ["dgst", hash, "-sign", "key", "-out", "sig", "payload"];
    let raw = ["pkeyutl", "-sign", "-inkey", "key", "-rawin", "-in", "payload", "-out", "sig"];
    for (options, command) in [
        (&p384[..], &dgst("-sha256")[..]),
        (&p384, &dgst("-sha384")),
        (&rsa, &dgst("-sha256")),
        (&["-algorithm", "ed25519"], &raw),
    ] {
        let signer = Signer::new(options);
        let payload = payload("q.io/x");
        let signature = signer.sign_with(&payload, command);
        let shelf = Shelf::default().with(&payload, &BASE64_STANDARD.encode(&signature));
        shelf.verify(&signer.policy(REPOSITORY)).unwrap();
        let mut broken = signature.clone();
        *broken.last_mut().unwrap() ^= 1;
        let shelf = Shelf::default().with(&payload, &BASE64_STANDARD.encode(&broken));
        refused(&shelf, &signer.policy(REPOSITORY), "not by the policy's key");
    }
    let shelf = Shelf::default().signed(&one, &payload("q.io/x:1"));
    shelf.verify(&one.policy(r#"{"type":"matchRepoDigestOrExact"}"#)).unwrap();
    shelf.verify(&one.policy(r#"{"type":"exactReference","dockerReference":"q.io/x:1"}"#)).unwrap();
}

#[test]
fn keys_may_stand_in_the_policy_and_one_of_several_is_enough() {
    let one = Signer::p256();
    let shelf = Shelf::default().signed(&one, &payload("q.io/x:1"));
    let pem = std::fs::read(one.public()).unwrap();
    let other = Signer::p256();
    let others = std::fs::read(other.public()).unwrap();
    let (pem, others) = (BASE64_STANDARD.encode(pem), BASE64_STANDARD.encode(others));
    for keys in [
        json!({"keyData": pem}),
        json!({"keyDatas": [others, pem]}),
        json!({"keyPaths": [other.public(), one.public()]}),
    ] {
        let mut requirement = keys;
        requirement["type"] = "sigstoreSigned".into();
        shelf.verify(&policy(&json!({"default": [requirement]}).to_string()).unwrap()).unwrap();
    }
}

#[test]
fn all_requirements_must_hold() {
    let one = Signer::p256();
    let other = Signer::p256();
    let payload = payload("q.io/x:1");
    let want = |keys: [&Signer; 2]| {
        let requirements =
            keys.map(|signer| json!({"type": "sigstoreSigned", "keyPath": signer.public()}));
        policy(&json!({"default": requirements}).to_string()).unwrap()
    };
    let shelf = Shelf::default().signed(&one, &payload);
    refused(&shelf, &want([&one, &other]), "not by the policy's key");
    refused(&shelf, &want([&other, &one]), "not by the policy's key");
    shelf.signed(&other, &payload).verify(&want([&one, &other])).unwrap();
    let reject = json!([{"type": "sigstoreSigned", "keyPath": one.public()}, {"type": "reject"}]);
    let reject = policy(&json!({"default": reject}).to_string()).unwrap();
    let shelf = Shelf::default().signed(&one, &payload);
    assert!(shelf.verify(&reject).unwrap_err().to_string().contains("default: reject: "));
    assert!(reject.check_before(&origin("q.io/x:1")).is_err());
}

#[test]
fn what_does_not_hold_is_refused() {
    let one = Signer::p256();
    let policy = one.policy(REPOSITORY);
    let good = payload("q.io/x");
    let signature = BASE64_STANDARD.encode(one.sign(&good));
    let by = |payload: &[u8]| Shelf::default().signed(&one, payload);
    let kind = "cosign container image signature";
    let here = digest().to_string();
    for (shelf, words) in [
        (Shelf::default(), "no signature: none at the tag sha256-"),
        (Shelf::default().signed(&Signer::p256(), &good), "not by the policy's key"),
        (Shelf::default().with(&payload("q.io/y"), &signature), "not of what it stands beside"),
        (Shelf::default().with(&good, "!"), "not base64"),
        (Shelf::default().with(&good, ""), "not by the policy's key"),
        (by(&payload("q.io/y")), "is for the name 'q.io/y'"),
        (by(&payload("q.io/\u{1b}[2Jx")), "'q.io/\\u{1b}[2Jx'"),
        (
            by(&payload_of("q.io/x", &Digest::of(b"").to_string(), kind)),
            "of another image, sha256:e3b0c442",
        ),
        (
            by(&payload_of("q.io/x", "sha256:1", kind)),
            "the signed statement: 'sha256:1' is not a digest",
        ),
        (
            by(&payload_of("q.io/x", &here, "atomic container signature")),
            "of the type 'atomic container",
        ),
        (by(b"{}"), "the signed statement: missing field `critical`"),
        (by(b"x"), "the signed statement: expected value"),
        (by(&[good.as_slice(), b"{}"].concat()), "the signed statement: trailing characters"),
        (
            by(String::from_utf8_lossy(&good).replace(r#","optional":null"#, "").as_bytes()),
            "missing field `optional`",
        ),
        (
            by(String::from_utf8_lossy(&good).replacen('{', r#"{"more":1,"#, 1).as_bytes()),
            "unknown field `more`",
        ),
        (
            by(String::from_utf8_lossy(&good)
                .replacen(r#""type""#, r#""type":"x","type""#, 1)
                .as_bytes()),
            "duplicate field `type`",
        ),
    ] {
        refused(&shelf, &policy, words);
    }
    let none = policy.verify(&origin("q.io/x:1"), &digest(), &alone).unwrap_err();
    assert!(
        none.to_string().contains("no signature: there is nothing at the tag sha256-"),
        "{none}"
    );
    assert!(none.hint_text().unwrap().contains("cosign sign"));
    let tag = one.policy(r#"{"type":"matchRepoDigestOrExact"}"#);
    let error = by(&good).verify(&tag).unwrap_err();
    assert!(error.hint_text().unwrap().contains("matchRepository"), "{error}");
}

#[test]
fn one_good_signature_among_bad_ones_is_enough() {
    let one = Signer::p256();
    let policy = one.policy(REPOSITORY);
    let bad = Shelf::default()
        .with(&payload("q.io/z"), "!")
        .signed(&one, &payload("q.io/y"))
        .signed(&one, &payload("q.io/z"));
    refused(
        &bad,
        &policy,
        "none of 3 signatures holds: the signature is not base64; the signature is for",
    );
    bad.signed(&one, &payload("q.io/x")).verify(&policy).unwrap();
}

#[test]
fn what_is_served_wrongly_is_refused() {
    let one = Signer::p256();
    let policy = one.policy(REPOSITORY);
    let good = Shelf::default().signed(&one, &payload("q.io/x"));
    let changed = |change: &dyn Fn(&mut Shelf)| {
        let mut shelf = good.clone();
        change(&mut shelf);
        shelf
    };
    for (shelf, words) in [
        (
            changed(&|shelf| shelf.layers[0]["mediaType"] = media::OCI_LAYER.into()),
            "no signature: none at",
        ),
        (changed(&|shelf| shelf.layers[0]["annotations"] = json!({})), "no signature: none at"),
        (changed(&|shelf| shelf.layers[0]["size"] = json!(70_000)), "larger than 65536 bytes"),
        (changed(&|shelf| shelf.layers[0]["size"] = json!(3)), "what came is"),
        (changed(&|shelf| shelf.layers[0]["size"] = json!(999)), "what came is"),
        (
            changed(&|shelf| shelf.blobs.values_mut().for_each(|blob| blob[0] = b' ')),
            "what came is",
        ),
        (changed(&|shelf| shelf.blobs.clear()), "shelf: no blob"),
        (
            changed(&|shelf| shelf.layers = vec![shelf.layers[0].clone(); 257]),
            "257 signatures, more than 256",
        ),
    ] {
        refused(&shelf, &policy, words);
    }
    changed(&|shelf| shelf.layers = vec![shelf.layers[0].clone(); 256]).verify(&policy).unwrap();
}

#[test]
fn keys_that_are_none_are_refused_before_anything_is_fetched() {
    let one = Signer::p256();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let text = json!({"default": [{"type": "sigstoreSigned", "keyPath": path}]}).to_string();
    let p521 = Signer::new(&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"]);
    let p521 = std::fs::read(p521.public()).unwrap();
    let private = std::fs::read(one.0.path().join("key")).unwrap();
    let good = std::fs::read_to_string(one.public()).unwrap();
    for (key, words) in [
        (&b""[..], "not a public key in PEM"),
        (&private, "not a public key in PEM"),
        (&p521, "not a key of a known kind"),
        (good.replace("MFkw", "MFkx").as_bytes(), "not a key of a known kind"),
        (good.replace("MFkw", "MF!w").as_bytes(), "not a public key in PEM"),
    ] {
        std::fs::write(&path, key).unwrap();
        let error = policy(&text).unwrap().check_before(&origin("q.io/x")).unwrap_err().to_string();
        assert!(error.contains(&format!("key {}: {words}", path.display())), "{error}");
    }
    std::fs::write(&path, good).unwrap();
    assert!(policy(&text).unwrap().check_before(&origin("q.io/x")).is_ok());
}

#[test]
fn an_image_that_is_named_by_digest_may_be_signed_under_any_tag() {
    let one = Signer::p256();
    let policy = one.policy(r#"{"type":"matchRepoDigestOrExact"}"#);
    let shelf = Shelf::default().signed(&one, &payload("q.io/x:7"));
    shelf.verify_as(&policy, &format!("q.io/x@{}", digest())).unwrap();
    assert!(shelf.verify_as(&policy, "q.io/x:1").is_err());
    assert!(shelf.verify_as(&policy, &format!("q.io/y@{}", digest())).is_err());
}

#[test]
fn no_signature_and_no_key_panics() {
    let one = Signer::p256();
    let policy = one.policy(REPOSITORY);
    proptest!(|(text in ".*", bytes in prop::collection::vec(any::<u8>(), 0..200))| {
        let base64 = BASE64_STANDARD.encode(&bytes);
        prop_assert!(Shelf::default().with(&bytes, &text).verify(&policy).is_err());
        prop_assert!(Shelf::default().with(&bytes, &base64).verify(&policy).is_err());
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{base64}\n-----END PUBLIC KEY-----\n");
        prop_assert!(super::super::key::PublicKey::from_pem(pem.as_bytes()).is_err());
        prop_assert!(super::super::key::PublicKey::from_pem(&bytes).is_err());
    });
}
