//! Archives: our archives are read back, those of other writers are read, and hostile ones are refused.

use std::fs;
use std::io::{Read, Seek, Write};
use std::path::PathBuf;

use flate2::Compression as Level;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use serde_json::json;
use tar_core::EntryType;
use tar_core::builder::EntryBuilder;

use super::output::ArchiveSink;
use super::plain::ArchiveSource;
use super::*;
use crate::digest::Digest;
use crate::image::Reference;
use crate::image::layout::entry;
use crate::image::manifest::{Descriptor, Manifest, ManifestDocument, media};
use crate::image::source::ImageTarget;
use crate::image::transport::ArchiveSelector;

/// A tar of files and, where the content begins with `->`, symbolic links.
fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (path, content) in members {
        let link = content.strip_prefix(b"->");
        let mut entry = EntryBuilder::new_ustar();
        entry.path(path).link_name(link.unwrap_or_default());
        entry.entry_type(if link.is_some() { EntryType::Symlink } else { EntryType::Regular });
        let content = if link.is_some() { b"" } else { *content };
        entry.mode(0o644).unwrap().uid(0).unwrap().gid(0).unwrap().mtime(0).unwrap();
        bytes.extend(entry.size(content.len() as u64).unwrap().finish_bytes());
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Level::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}

fn open(bytes: &[u8]) -> Result<ImageArchive> {
    ImageArchive::open_file(file(bytes), "x.tar", &std::env::temp_dir())
}

fn config(layers: &[&[u8]]) -> Vec<u8> {
    let diff_ids: Vec<Digest> = layers.iter().map(|layer| Digest::of(layer)).collect();
    let rootfs = json!({"type": "layers", "diff_ids": diff_ids});
    json!({"architecture": "amd64", "os": "linux", "rootfs": rootfs}).to_string().into_bytes()
}

fn docker(config: &[u8], paths: &[&str], more: &[(&str, &[u8])]) -> Vec<u8> {
    let tags = ["x:1", "q.io/y:2"];
    let manifest = json!([{"Config": "c.json", "RepoTags": tags, "Layers": paths}]).to_string();
    let own: &[(&str, &[u8])] = &[("manifest.json", manifest.as_bytes()), ("c.json", config)];
    tar(&[own, more].concat())
}

fn manifest_of(source: &dyn ImageSource) -> Manifest {
    let fetched = source.manifest(None).unwrap();
    match ManifestDocument::parse(&fetched.bytes, fetched.media_type.as_deref()).unwrap() {
        ManifestDocument::Manifest(manifest) => manifest,
        ManifestDocument::Index(_) => panic!("an index"),
    }
}

fn blob(source: &dyn ImageSource, descriptor: &Descriptor) -> Vec<u8> {
    let mut bytes = Vec::new();
    source.blob(descriptor, 0).unwrap().read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len() as u64, descriptor.size);
    assert_eq!(Digest::of(&bytes), descriptor.digest);
    bytes
}

fn message<T>(result: Result<T>) -> String {
    result.err().expect("an error").to_string()
}

#[test]
fn archives_of_docker_are_read_in_all_their_forms() {
    let (one, two) = (tar(&[("a", b"1")]), tar(&[("b", b"2")]));
    let zipped = gzip(&two);
    let config = config(&[&one, &two, &one]);
    let paths = ["1/layer.tar", "2/layer.tar", "3/layer.tar"];
    let bytes = docker(
        &config,
        &paths,
        &[("1/layer.tar", &one), ("2/layer.tar", &zipped), ("3/layer.tar", b"->../1/layer.tar")],
    );
    for bytes in [bytes.clone(), gzip(&bytes), zstd::encode_all(&bytes[..], 1).unwrap()] {
        let images = open(&bytes).unwrap().images().unwrap();
        let [(names, image)] = &images[..] else { panic!("one image") };
        assert_eq!(names, &["x:1", "q.io/y:2"]);
        assert_eq!(image.describe(), "docker-archive:x.tar:x:1");
        let manifest = manifest_of(&**image);
        assert_eq!(blob(&**image, &manifest.config), config);
        let kinds: Vec<&str> = manifest.layers.iter().map(|layer| &*layer.media_type).collect();
        assert_eq!(kinds, [media::DOCKER_LAYER, media::DOCKER_LAYER_GZIP, media::DOCKER_LAYER]);
        let layers: Vec<_> = manifest.layers.iter().map(|layer| blob(&**image, layer)).collect();
        assert_eq!(layers, [one.clone(), zipped.clone(), one.clone()]);
        let mut rest = Vec::new();
        image.blob(&manifest.layers[0], 512).unwrap().read_to_end(&mut rest).unwrap();
        assert_eq!(rest, one[512..]);
    }
}

#[test]
fn an_image_of_several_is_chosen_by_name_or_place() {
    let layer = tar(&[]);
    let (a, b) = (config(&[&layer]), config(&[]));
    let manifest = json!([
        {"Config": "a.json", "RepoTags": ["docker.io/library/a:latest"], "Layers": ["l"]},
        {"Config": "b.json", "RepoTags": null, "Layers": null}
    ]);
    let bytes = tar(&[
        ("manifest.json", manifest.to_string().as_bytes()),
        ("a.json", &a),
        ("b.json", &b),
        ("l", &layer),
    ]);
    let Ok(ImageArchive::Docker(archive)) = open(&bytes) else { panic!("a docker-archive") };
    let named = |name: &str| archive.find(Some(&ArchiveSelector::Named(name.parse().unwrap())));
    assert_eq!(named("a").unwrap(), 0);
    assert_eq!(archive.find(Some(&ArchiveSelector::At(1))).unwrap(), 1);
    assert!(named("b").is_err() && archive.find(Some(&ArchiveSelector::At(2))).is_err());
    let error = archive.find(None).unwrap_err();
    assert_eq!(error.hint_text(), Some("say which: there is docker.io/library/a:latest"));
    assert_eq!(
        blob(&archive.image(1).unwrap(), &manifest_of(&archive.image(1).unwrap()).config),
        b
    );
}

#[test]
fn hostile_archives_of_docker_are_refused() {
    let layer = tar(&[("a", b"1")]);
    let good = config(&[&layer]);
    let refused = |bytes: &[u8]| message(open(bytes).and_then(|archive| archive.images()));
    let with = |path: &str, more: &[(&str, &[u8])]| refused(&docker(&good, &[path], more));
    assert!(with("../../etc/passwd", &[]).contains("leads out of the archive"));
    assert!(with("l", &[("l", b"->/etc/passwd")]).contains("there is no l in it"));
    assert!(with("l", &[("l", b"->m"), ("m", b"->l")]).contains("too many links"));
    assert!(with("l", &[]).contains("there is no l in it"));
    assert!(refused(&docker(&config(&[]), &["l"], &[("l", &layer)])).contains("0 diff IDs"));
    assert!(refused(&docker(b"{", &["l"], &[("l", &layer)])).contains("config"));
    assert!(refused(&docker(&good, &["c.json"; 1001], &[])).contains("1001 layers"));
    assert!(refused(&tar(&[("manifest.json", b"{}")])).contains("manifest.json"));
    assert!(refused(&tar(&[("manifest.json", &vec![b' '; 5 << 20])])).contains("more than"));
    assert!(refused(&tar(&[("etc/passwd", b"")])).contains("not of images"));
    let whole = docker(&good, &["l"], &[("l", &layer)]);
    assert!(refused(&whole[..whole.len() - 2048]).contains("breaks off"));
    assert!(refused(&gzip(&whole)[..200]).contains("x.tar"));
    assert!(refused(b"\xfd7zXZ\0").contains("xz"));
    // A layer that does not match the config: the reader of the layer detects it.
    let lie = docker(&config(&[b"other"]), &["l"], &[("l", &layer)]);
    let images = open(&lie).unwrap().images().unwrap();
    assert_ne!(manifest_of(&*images[0].1).layers[0].digest, Digest::of(&layer));
}

#[test]
fn a_manifest_json_of_100_mb_is_not_read() {
    let mut archive = tempfile::tempfile().unwrap();
    let mut entry = EntryBuilder::new_ustar();
    entry.path("manifest.json").entry_type(EntryType::Regular).mode(0o644).unwrap();
    archive.write_all(&entry.size(100 << 20).unwrap().finish_bytes()).unwrap();
    archive.set_len((100 << 20) + 512).unwrap();
    let error = message(ImageArchive::open_file(archive, "x", &std::env::temp_dir()));
    assert!(error.contains("manifest.json: 104857600 bytes, more than"), "{error}");
}

struct Made {
    layers: Vec<Vec<u8>>,
    blobs: Vec<(Descriptor, Vec<u8>)>,
    manifest: Vec<u8>,
    config: Vec<u8>,
}

/// An image whose layers are compressed with gzip, zstd, and not at all.
fn made(word: &[u8]) -> Made {
    let layers = vec![tar(&[("a", b"shared")]), tar(&[("b", word)]), tar(&[("c", word)])];
    let config = config(&layers.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let is = |media_type: &str, bytes: &[u8]| entry(None, media_type, bytes, None).unwrap();
    let zstd = zstd::encode_all(&layers[1][..], 1).unwrap();
    let blobs = [
        (media::OCI_CONFIG, config.clone()),
        (media::OCI_LAYER_GZIP, gzip(&layers[0])),
        (media::OCI_LAYER_ZSTD, zstd),
        (media::OCI_LAYER, layers[2].clone()),
    ];
    let blobs: Vec<_> = blobs.into_iter().map(|(kind, bytes)| (is(kind, &bytes), bytes)).collect();
    let are: Vec<_> = blobs[1..].iter().map(|(descriptor, _)| descriptor).collect();
    let manifest = json!({"schemaVersion": 2, "config": blobs[0].0, "layers": are});
    Made { layers, manifest: manifest.to_string().into_bytes(), config, blobs }
}

fn put(target: &dyn ImageTarget, image: &Made) {
    for (descriptor, bytes) in &image.blobs {
        if !target.has_blob(descriptor).unwrap() {
            let told = std::cell::Cell::new(0);
            target.put_blob(descriptor, &|| Ok(file(bytes)), &|count| told.set(count)).unwrap();
            assert_eq!(told.get(), descriptor.size);
        }
        assert!(target.has_blob(descriptor).unwrap());
    }
    target.put_manifest(None, media::OCI_MANIFEST, &image.manifest).unwrap();
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.tar");
    (folder, path)
}

#[test]
fn docker_archives_that_are_written_are_read_back() {
    let (folder, path) = place();
    let names =
        |names: &[&str]| names.iter().map(|name| name.parse::<Reference>().unwrap()).collect();
    let (one, two) = (made(b"1"), made(b"2"));
    fs::write(&path, "old").unwrap();
    let target = DockerArchiveTarget::create(
        &ArchiveSink::File(path.clone()),
        folder.path(),
        names(&["debian:12", "q.io/a/b:1"]),
    )
    .unwrap();
    put(&target, &one);
    put(&target.another(names(&["two"])), &two);
    put(&target.another(names(&["debian:bookworm"])), &one);
    assert_eq!(fs::read(&path).unwrap(), b"old", "the name comes last");
    target.finish().unwrap();
    assert!(target.finish().is_err());

    let images = ImageArchive::open(&path, folder.path()).unwrap().images().unwrap();
    assert_eq!(images[0].0, ["debian:12", "q.io/a/b:1", "debian:bookworm"]);
    assert_eq!(images[1].0, ["two:latest"]);
    for ((_, image), made) in images.iter().zip([&one, &two]) {
        let manifest = manifest_of(&**image);
        assert_eq!(blob(&**image, &manifest.config), made.config);
        let layers: Vec<_> = manifest.layers.iter().map(|layer| blob(&**image, layer)).collect();
        assert_eq!(layers, made.layers);
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing of the way there is left");
}

#[test]
fn oci_archives_that_are_written_are_read_back_and_are_the_same_twice() {
    let (folder, path) = place();
    let write = || {
        let target =
            OciArchiveTarget::create(&ArchiveSink::File(path.clone()), Some("one".to_owned()))
                .unwrap();
        put(&target, &made(b"1"));
        put(&target.another(Some("two".to_owned())), &made(b"2"));
        target.finish().unwrap();
        fs::read(&path).unwrap()
    };
    assert_eq!(write(), write());
    let layout = open_oci(&ArchiveSource::File(path.clone()), folder.path()).unwrap();
    for (name, made) in [("one", made(b"1")), ("two", made(b"2"))] {
        let image = layout.image(Some(name)).unwrap();
        assert_eq!(image.manifest(None).unwrap().bytes, made.manifest);
        for (descriptor, bytes) in &made.blobs {
            assert_eq!(&blob(&image, descriptor), bytes);
        }
    }
    let images = ImageArchive::open(&path, folder.path()).unwrap().images().unwrap();
    assert_eq!(images.iter().map(|(names, _)| names.concat()).collect::<Vec<_>>(), ["one", "two"]);
    let image = layout.image(Some("one")).unwrap();
    let larger = Descriptor { size: 1, ..made(b"1").blobs[1].0.clone() };
    assert!(message(image.blob(&larger, 0)).contains("bytes, not 1"));
}

#[test]
fn an_interrupted_archive_leaves_nothing() {
    let (folder, path) = place();
    let image = made(b"1");
    let target =
        DockerArchiveTarget::create(&ArchiveSink::File(path.clone()), folder.path(), Vec::new())
            .unwrap();
    assert!(
        message(target.put_manifest(None, media::OCI_MANIFEST, &image.manifest))
            .contains("did not come")
    );
    let (config, _) = &image.blobs[0];
    target.put_blob(config, &|| Ok(file(&image.config)), &|_| ()).unwrap();
    // A layer that does not match the config.
    for (descriptor, _) in &image.blobs[1..] {
        let other = gzip(&tar(&[("z", b"z")]));
        let descriptor = Descriptor {
            size: other.len() as u64,
            media_type: media::OCI_LAYER_GZIP.to_owned(),
            ..descriptor.clone()
        };
        target.put_blob(&descriptor, &|| Ok(file(&other)), &|_| ()).unwrap();
    }
    assert!(
        message(target.put_manifest(None, media::OCI_MANIFEST, &image.manifest))
            .contains("its diff ID is")
    );
    let index = json!({"schemaVersion": 2, "manifests": []}).to_string();
    assert!(
        message(target.put_manifest(None, media::OCI_INDEX, index.as_bytes()))
            .contains("cannot hold an index")
    );
    drop(target);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    assert!(
        OciArchiveTarget::create(&ArchiveSink::File(folder.path().join("no/x")), None).is_err()
    );
}

proptest! {
    #[test]
    fn no_archive_panics(damage in proptest::collection::vec((0usize..12000, any::<u8>()), 1..10)) {
        let layer = tar(&[("a", b"1")]);
        let mut bytes = docker(&config(&[&layer]), &["l"], &[("l", &layer)]);
        for (at, byte) in damage {
            let length = bytes.len();
            bytes[at % length] = byte;
        }
        if let Ok(images) = open(&bytes).and_then(|archive| archive.images()) {
            for (_, image) in images {
                let manifest = manifest_of(&*image);
                let _ = image.blob(&manifest.config, 3).map(|mut blob| blob.read_to_end(&mut Vec::new()));
            }
        }
    }
}
