//! Layouts and archives against those who write and read them: skopeo and umoci read what we write, with the same
//! digests, and we read what they write.

use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::process::Command;

use usnea::digest::Digest;
use usnea::error::Result;
use usnea::image::archive::output::ArchiveSink;
use usnea::image::archive::plain::ArchiveSource;
use usnea::image::archive::{
    DockerArchiveTarget, ImageArchive, OciArchiveTarget, open_docker, open_oci,
};
use usnea::image::layout::{LayoutTarget, OciLayout, entry};
use usnea::image::manifest::{Descriptor, Manifest, ManifestDocument, media};
use usnea::image::source::{ImageSource, ImageTarget};

use crate::support::need;

fn run(folder: &Path, words: &[&str]) -> String {
    let mut command = Command::new(words[0]);
    let output = command.args(&words[1..]).current_dir(folder).output().expect(words[0]);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {complaint}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn skopeo_copy(folder: &Path, from: &str, to: &str) {
    run(folder, &["skopeo", "--insecure-policy", "copy", "--quiet", from, to]);
}

fn file(bytes: &[u8]) -> Result<File> {
    let mut file = tempfile::tempfile()?;
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

fn manifest(source: &dyn ImageSource) -> (Manifest, Vec<u8>, String) {
    let fetched = source.manifest(None).unwrap();
    let ManifestDocument::Manifest(manifest) =
        ManifestDocument::parse(&fetched.bytes, fetched.media_type.as_deref()).unwrap()
    else {
        panic!("an index")
    };
    (manifest, fetched.bytes, fetched.media_type.unwrap())
}

fn blob(source: &dyn ImageSource, descriptor: &Descriptor) -> Vec<u8> {
    let mut bytes = Vec::new();
    source.blob(descriptor, 0).unwrap().read_to_end(&mut bytes).unwrap();
    assert_eq!(
        (Digest::of(&bytes), bytes.len() as u64),
        (descriptor.digest.clone(), descriptor.size)
    );
    bytes
}

fn copy(source: &dyn ImageSource, target: &dyn ImageTarget) {
    let (manifest, bytes, media_type) = manifest(source);
    for descriptor in manifest.layers.iter().chain([&manifest.config]) {
        let content = blob(source, descriptor);
        target.put_blob(descriptor, &|| file(&content), &|_| ()).unwrap();
    }
    target.put_manifest(None, &media_type, &bytes).unwrap();
    target.finish().unwrap();
}

fn tar(folder: &Path, name: &str) -> Vec<u8> {
    fs::write(folder.join(name), format!("this is {name}\n")).unwrap();
    run(folder, &["tar", "cf", "layer.tar", "--owner=0", "--group=0", "--mtime=@0", name]);
    let bytes = fs::read(folder.join("layer.tar")).unwrap();
    fs::remove_file(folder.join("layer.tar")).unwrap();
    bytes
}

/// Writes an image with two gzip layers to `target`; gives its config's digest and its diff IDs.
fn make(folder: &Path, target: &dyn ImageTarget) -> (Digest, Vec<Digest>) {
    let layers = [tar(folder, "one"), tar(folder, "two")];
    let diff_ids = layers.iter().map(|layer| Digest::of(layer)).collect::<Vec<_>>();
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "config": {"Cmd": ["cat", "/one"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = config.to_string().into_bytes();
    let put = |media_type: &str, bytes: &[u8]| {
        let descriptor = entry(None, media_type, bytes, None).unwrap();
        target.put_blob(&descriptor, &|| file(bytes), &|_| ()).unwrap();
        descriptor
    };
    let config_is = put(media::OCI_CONFIG, &config);
    let layers_are: Vec<Descriptor> = layers
        .iter()
        .map(|layer| {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(layer).unwrap();
            put(media::OCI_LAYER_GZIP, &encoder.finish().unwrap())
        })
        .collect();
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": media::OCI_MANIFEST, "config": config_is, "layers": layers_are,
    });
    target.put_manifest(None, media::OCI_MANIFEST, manifest.to_string().as_bytes()).unwrap();
    target.finish().unwrap();
    (config_is.digest, diff_ids)
}

/// Asserts that `source` is the image that [`make`] made, whatever its manifest is now.
fn check(source: &dyn ImageSource, config: &Digest, diff_ids: &[Digest]) {
    let (manifest, ..) = manifest(source);
    assert_eq!(&manifest.config.digest, config);
    blob(source, &manifest.config);
    for (layer, diff_id) in manifest.layers.iter().zip(diff_ids) {
        let bytes = blob(source, layer);
        let (_, mut plain) = usnea::image::compression::sniff(&bytes[..])
            .and_then(|(compression, stream)| Ok((compression, compression.decode(stream)?)))
            .unwrap();
        let mut content = Vec::new();
        plain.read_to_end(&mut content).unwrap();
        assert_eq!(&Digest::of(&content), diff_id);
    }
    assert_eq!(manifest.layers.len(), diff_ids.len());
}

#[test]
fn skopeo_reads_what_we_write_with_the_same_digests() {
    if !need("skopeo") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let target = LayoutTarget::open(&folder.join("ours"), Some("v1".into())).unwrap();
    let (config, diff_ids) = make(folder, &target);
    let image = OciLayout::open(&folder.join("ours")).unwrap().image(Some("v1")).unwrap();
    let (_, bytes, _) = manifest(&image);
    copy(
        &image,
        &OciArchiveTarget::create(&ArchiveSink::File(folder.join("ours.oci")), Some("v1".into()))
            .unwrap(),
    );
    let names = vec!["q.io/a/b:1".parse().unwrap()];
    copy(
        &image,
        &DockerArchiveTarget::create(&ArchiveSink::File(folder.join("ours.docker")), folder, names)
            .unwrap(),
    );
    for place in ["oci:ours:v1", "oci-archive:ours.oci:v1"] {
        assert_eq!(
            run(folder, &["skopeo", "inspect", "--raw", place]).as_bytes(),
            bytes,
            "{place}"
        );
    }
    let inspected =
        run(folder, &["skopeo", "inspect", "--config", "--raw", "docker-archive:ours.docker"]);
    assert_eq!(Digest::of(inspected.as_bytes()), config);
    assert_eq!(
        run(folder, &["skopeo", "list-tags", "docker-archive:ours.docker"])
            .matches("q.io/a/b:1")
            .count(),
        1
    );
    for (number, place) in
        ["oci:ours:v1", "oci-archive:ours.oci", "docker-archive:ours.docker:q.io/a/b:1"]
            .iter()
            .enumerate()
    {
        let theirs = format!("theirs{number}");
        skopeo_copy(folder, place, &format!("oci:{theirs}:x"));
        let image = OciLayout::open(&folder.join(theirs)).unwrap().image(Some("x")).unwrap();
        let (manifest, ..) = manifest(&image);
        let layers = manifest.layers.len();
        assert_eq!(layers, 2, "{place}");
        if !place.starts_with("docker") {
            check(&image, &config, &diff_ids);
        }
    }
    // What they add to our layout, and we to theirs.
    skopeo_copy(folder, "oci:theirs0:x", "oci:ours:v2");
    make(folder, &LayoutTarget::open(&folder.join("theirs0"), Some("y".into())).unwrap());
    assert_eq!(run(folder, &["skopeo", "inspect", "--raw", "oci:theirs0:y"]).as_bytes(), bytes);
    assert_eq!(
        OciLayout::open(&folder.join("ours")).unwrap().images().len(),
        1,
        "one image, two names"
    );
}

#[test]
fn images_written_by_skopeo_are_read() {
    if !need("skopeo") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let target = LayoutTarget::open(&folder.join("ours"), Some("v1".into())).unwrap();
    let (config, diff_ids) = make(folder, &target);
    skopeo_copy(folder, "oci:ours:v1", "oci:theirs:q.io/x:1");
    skopeo_copy(folder, "oci:ours:v1", "oci-archive:theirs.oci:v1");
    skopeo_copy(folder, "oci:ours:v1", "docker-archive:theirs.docker:q.io/a/b:1");
    check(
        &OciLayout::open(&folder.join("theirs")).unwrap().image(None).unwrap(),
        &config,
        &diff_ids,
    );
    let layout = open_oci(&ArchiveSource::File(folder.join("theirs.oci")), folder).unwrap();
    check(&layout.image(Some("v1")).unwrap(), &config, &diff_ids);

    let archive = open_docker(&ArchiveSource::File(folder.join("theirs.docker")), folder).unwrap();
    let image = archive.image(archive.find(None).unwrap()).unwrap();
    let (docker_manifest, ..) = manifest(&image);
    let config_bytes = blob(&image, &docker_manifest.config);
    let written: serde_json::Value = serde_json::from_slice(&config_bytes).unwrap();
    assert_eq!(written["rootfs"]["diff_ids"], serde_json::json!(diff_ids));
    check(&image, &docker_manifest.config.digest, &diff_ids);

    // As docker load takes it: compressed, whatever it is called.
    run(folder, &["gzip", "-k", "theirs.docker"]);
    for name in ["theirs.docker", "theirs.docker.gz"] {
        let images = ImageArchive::open(&folder.join(name), folder).unwrap().images().unwrap();
        assert_eq!(images.len(), 1);
        assert_eq!(images[0].0, ["q.io/a/b:1"]);
    }
    let images = ImageArchive::open(&folder.join("theirs"), folder).unwrap().images().unwrap();
    assert_eq!(images[0].0, ["q.io/x:1"]);
}

#[test]
fn umoci_and_we_share_a_layout() {
    if !need("umoci") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    run(folder, &["umoci", "init", "--layout", "l"]);
    let target = LayoutTarget::open(&folder.join("l"), Some("ours".into())).unwrap();
    let (config, diff_ids) = make(folder, &target);
    let stat = run(folder, &["umoci", "stat", "--json", "--image", "l:ours"]);
    assert!(stat.contains("history"), "{stat}");
    run(folder, &["umoci", "new", "--image", "l:theirs"]);
    run(folder, &["umoci", "config", "--image", "l:ours", "--tag", "both", "--config.user", "5"]);
    let list = run(folder, &["umoci", "ls", "--layout", "l"]);
    assert_eq!(list.split_whitespace().count(), 3, "{list}");
    let layout = OciLayout::open(&folder.join("l")).unwrap();
    check(&layout.image(Some("ours")).unwrap(), &config, &diff_ids);
    let both = layout.image(Some("both")).unwrap();
    check(&both, &manifest(&both).0.config.digest, &diff_ids);
    assert_eq!(manifest(&layout.image(Some("theirs")).unwrap()).0.layers, []);
}
