//! Signatures beside an image in a real registry, found and verified as a pull does it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::json;
use usnea::digest::Digest;
use usnea::image::endpoint::{RegistryEndpoint, TransportSecurity};
use usnea::image::manifest::{Descriptor, media};
use usnea::image::policy::{ImageOrigin, SignaturePolicy};
use usnea::image::registry_client::{Registry, RegistryAccess};
use usnea::image::source::ImageTarget;
use usnea::image::{Reference, reference};

use crate::real_registry::{Auth, RealRegistry, Tls};

const STATEMENT: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

#[test]
fn an_image_is_accepted_once_its_signature_lies_beside_it() {
    let Some(real) = RealRegistry::start(Tls::Off, Auth::Off) else { return };
    let folder = tempfile::tempdir().unwrap();
    openssl(folder.path(), "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key");
    openssl(folder.path(), "pkey -in key -pubout -out pub");
    let policy = folder.path().join("policy.json");
    let requirement = json!({"type": "sigstoreSigned", "keyPath": folder.path().join("pub")});
    let rules = json!({"default": [{"type": "reject"}], "transports": {"docker": {&real.host: [requirement]}}});
    fs::write(&policy, rules.to_string()).unwrap();
    let policy = SignaturePolicy::load_from(&policy).unwrap();

    let name: Reference = format!("{}/a/b:1", real.host).parse().unwrap();
    let origin = ImageOrigin::registry(&name);
    let registry = registry(&real, "1");
    let digest = Digest::of(b"a manifest");
    let verify = || policy.verify(&origin, &digest, &|tag| registry.sibling(tag));
    policy.check_before(&origin).unwrap();
    let error = verify().unwrap_err().to_string();
    assert!(error.contains("no signature: there is nothing at the tag sha256-"), "{error}");

    put_signature(&real, folder.path(), &name.to_string(), &digest);
    verify().unwrap();
    let other = Digest::of(b"another manifest");
    assert!(policy.verify(&origin, &other, &|_| registry.sibling(&tag(&digest))).is_err());
    let elsewhere: Reference = format!("{}/a/b:1", reference::DOCKER_HUB).parse().unwrap();
    assert!(policy.check_before(&ImageOrigin::registry(&elsewhere)).is_err());
}

fn tag(digest: &Digest) -> String {
    format!("sha256-{}.sig", digest.hex())
}

fn registry(real: &RealRegistry, which: &str) -> Registry {
    let endpoint = RegistryEndpoint {
        host: real.host.clone(),
        repository: "a/b".to_owned(),
        transport: TransportSecurity::Insecure,
        credentials: None,
        certificates: Vec::new(),
        retries: usnea::image::endpoint::RetrySettings::default(),
    };
    Registry::new(endpoint, which.to_owned(), RegistryAccess::Push).unwrap()
}

/// As `cosign sign` does.
fn put_signature(real: &RealRegistry, folder: &Path, name: &str, digest: &Digest) {
    let statement = json!({
        "critical": {
            "identity": {"docker-reference": name},
            "image": {"docker-manifest-digest": digest},
            "type": "cosign container image signature",
        },
        "optional": {"creator": "a test"},
    });
    fs::write(folder.join("payload"), statement.to_string()).unwrap();
    openssl(folder, "dgst -sha256 -sign key -out sig payload");
    let signature = BASE64_STANDARD.encode(fs::read(folder.join("sig")).unwrap());
    let target = registry(real, &tag(digest));
    let mut layer = put_blob(&target, &folder.join("payload"), STATEMENT);
    layer.annotations =
        BTreeMap::from([("dev.cosignproject.cosign/signature".to_owned(), signature)]);
    fs::write(folder.join("config"), "{}").unwrap();
    let config = put_blob(&target, &folder.join("config"), media::OCI_CONFIG);
    let manifest = json!({"schemaVersion": 2, "mediaType": media::OCI_MANIFEST, "config": config, "layers": [layer]});
    target.put_manifest(None, media::OCI_MANIFEST, manifest.to_string().as_bytes()).unwrap();
}

fn put_blob(target: &Registry, path: &Path, kind: &str) -> Descriptor {
    let bytes = fs::read(path).unwrap();
    let blob = Descriptor {
        media_type: kind.to_owned(),
        digest: Digest::of(&bytes),
        size: bytes.len() as u64,
        platform: None,
        annotations: BTreeMap::new(),
        urls: Vec::new(),
    };
    target.put_blob(&blob, &|| Ok(File::open(path)?), &|_| {}).unwrap();
    blob
}

fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl")
        .args(arguments.split(' '))
        .current_dir(folder)
        .output()
        .expect("openssl");
    assert!(output.status.success(), "{arguments}: {output:?}");
}
