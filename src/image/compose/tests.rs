//! New images: their manifests, configs and blobs agree.

use std::fs;
use std::io::{Read, Write};

use super::*;
use crate::image::archive::plain::ArchiveSource;
use crate::image::manifest::ManifestDocument;

fn details(changes: &[&str]) -> ImageDetails {
    ImageDetails {
        platform: "linux/arm64/v8".parse().unwrap(),
        created: "2026-01-02T03:04:05Z".parse().unwrap(),
        author: Some("me".to_owned()),
        message: Some("why".to_owned()),
        created_by: None,
        changes: changes.iter().map(|text| text.parse().unwrap()).collect(),
    }
}

fn read(source: &dyn ImageSource, descriptor: &Descriptor) -> Vec<u8> {
    let mut bytes = Vec::new();
    source.blob(descriptor, 0).unwrap().read_to_end(&mut bytes).unwrap();
    assert_eq!(
        (Digest::of(&bytes), bytes.len() as u64),
        (descriptor.digest.clone(), descriptor.size)
    );
    let mut rest = Vec::new();
    source.blob(descriptor, 7).unwrap().read_to_end(&mut rest).unwrap();
    assert_eq!(rest, bytes[7..]);
    bytes
}

fn open(source: &dyn ImageSource) -> (Manifest, Value, Vec<u8>) {
    let fetched = source.manifest(None).unwrap();
    let ManifestDocument::Manifest(manifest) =
        ManifestDocument::parse(&fetched.bytes, fetched.media_type.as_deref()).unwrap()
    else {
        panic!("an index")
    };
    let config = read(source, &manifest.config);
    parse_config(&config, manifest.layers.len()).unwrap();
    (manifest, serde_json::from_slice(&config).unwrap(), config)
}

#[test]
fn a_tarball_becomes_an_image_of_one_layer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("root.tar");
    let source = ArchiveSource::File(path.clone());
    let tar = vec![7; 300_000];
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::encode_all(&tar[..], 1).unwrap();
    for (bytes, kind) in [
        (&tar, media::OCI_LAYER_GZIP),
        (&gzip, media::OCI_LAYER_GZIP),
        (&zstd, media::OCI_LAYER_ZSTD),
    ] {
        fs::write(&path, bytes).unwrap();
        let made = rootfs_image(&source, folder.path(), &details(&["CMD [\"sh\"]"])).unwrap();
        let (manifest, config, _) = open(&made);
        assert_eq!(manifest.layers[0].media_type, kind);
        let layer = read(&made, &manifest.layers[0]);
        assert!(*bytes == tar || layer == *bytes);
        assert_eq!(
            config,
            json!({
                "os": "linux", "architecture": "arm64", "variant": "v8",
                "author": "me", "created": "2026-01-02T03:04:05Z", "config": {"Cmd": ["sh"]},
                "rootfs": {"type": "layers", "diff_ids": [Digest::of(&tar)]},
                "history": [{"created": "2026-01-02T03:04:05Z", "author": "me", "comment": "why"}],
            })
        );
        let again = rootfs_image(&source, folder.path(), &details(&["CMD [\"sh\"]"])).unwrap();
        assert_eq!(again.manifest, made.manifest);
    }
    fs::write(&path, b"\x1f\x8b\x08 not gzip").unwrap();
    assert!(rootfs_image(&source, folder.path(), &details(&[])).is_err());
    let missing = ArchiveSource::File(folder.path().join("no"));
    assert!(rootfs_image(&missing, folder.path(), &details(&[])).is_err());
}

#[test]
fn a_commit_goes_over_its_parent_and_keeps_what_it_does_not_know() {
    let folder = tempfile::tempdir().unwrap();
    let old = Digest::of(b"old");
    let parent = json!({
        "os": "linux", "architecture": "amd64", "container": "x", "docker_version": "1",
        "config": {"Env": ["A=1"], "Healthcheck": {"Test": ["NONE"]}},
        "rootfs": {"type": "layers", "diff_ids": [old]}, "history": [{"created_by": "old"}],
    });
    let parent = parent.to_string();
    let manifest = Manifest {
        schema_version: 2,
        media_type: None,
        artifact_type: None,
        config: Descriptor::new(
            media::DOCKER_CONFIG,
            Digest::of(parent.as_bytes()),
            parent.len() as u64,
        ),
        layers: vec![Descriptor::new(media::DOCKER_LAYER_GZIP, Digest::of(b"blob"), 4)],
        annotations: Default::default(),
    };
    let store = Store::open(&folder.path().join("store")).unwrap();
    let parent = ParentImage { manifest: &manifest, config: parent.as_bytes(), store: &store };
    let mut writer = LayerWriter::new(folder.path()).unwrap();
    writer.write_all(b"a new layer").unwrap();
    let layer = writer.finish().unwrap();
    let made =
        commit(Some(parent), Some(layer), &details(&["ENV A=$A.2"]), "c".to_owned()).unwrap();
    let (made_manifest, config, _) = open(&made);
    assert_eq!(made_manifest.layers[0].media_type, media::OCI_LAYER_GZIP);
    assert_eq!(made_manifest.layers[0].digest, manifest.layers[0].digest);
    read(&made, &made_manifest.layers[1]);
    assert!(made.blob(&made_manifest.layers[0], 0).err().unwrap().to_string().contains("parent's"));
    assert_eq!(config["rootfs"]["diff_ids"], json!([old, Digest::of(b"a new layer")]));
    assert_eq!(config["config"], json!({"Env": ["A=1.2"], "Healthcheck": {"Test": ["NONE"]}}));
    assert_eq!(config["architecture"], "amd64");
    assert_eq!(config["history"].as_array().unwrap().len(), 2);
    assert!(config.get("container").is_none());

    let made = commit(Some(parent), None, &details(&[]), "c".to_owned()).unwrap();
    let (made_manifest, config, _) = open(&made);
    assert_eq!(made_manifest.layers.len(), 1);
    assert_eq!(config["history"][1]["empty_layer"], true);
    let wrong = ParentImage { config: b"{}", ..parent };
    assert!(commit(Some(wrong), None, &details(&[]), "c".to_owned()).is_err());
}
