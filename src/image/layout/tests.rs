//! Layouts: a written layout is read back, and a hostile one is refused.

use std::fs;
use std::io::{Seek, Write};
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::image::source::ImageTarget;

struct Place {
    _folder: tempfile::TempDir,
    dir: PathBuf,
}

fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("layout");
    Place { _folder: folder, dir }
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Descriptor {
    entry(None, media_type, bytes, None).unwrap()
}

fn opener(bytes: &[u8]) -> impl Fn() -> Result<std::fs::File> + use<> {
    let bytes = bytes.to_vec();
    move || {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        file.rewind().unwrap();
        Ok(file)
    }
}

/// Adds an image with one blob whose config holds `word`; returns its manifest.
fn put(target: &LayoutTarget, word: &str) -> Vec<u8> {
    let config = format!(r#"{{"word":"{word}"}}"#).into_bytes();
    let layer = b"not really a tar".to_vec();
    let config_is = descriptor(media::OCI_CONFIG, &config);
    let layer_is = descriptor(media::OCI_LAYER, &layer);
    let manifest = json!({"schemaVersion": 2, "config": config_is, "layers": [layer_is]});
    let manifest = manifest.to_string().into_bytes();
    target.put_blob(&config_is, &opener(&config), &|_| ()).unwrap();
    target.put_blob(&layer_is, &opener(&layer), &|_| ()).unwrap();
    target.put_manifest(None, media::OCI_MANIFEST, &manifest).unwrap();
    manifest
}

fn read(source: &LayoutImage) -> Vec<u8> {
    source.manifest(None).unwrap().bytes
}

fn message<T>(result: Result<T>) -> String {
    result.err().expect("an error").to_string()
}

#[test]
fn a_written_image_is_read_back_by_its_name() {
    let place = place();
    let one = put(&LayoutTarget::open(&place.dir, Some("one".to_owned())).unwrap(), "1");
    let only = OciLayout::open(&place.dir).unwrap().image(None).unwrap();
    assert_eq!(read(&only), one);
    assert_eq!(only.describe(), format!("oci:{}:one", place.dir.display()));

    let two = put(&LayoutTarget::open(&place.dir, Some("two".to_owned())).unwrap(), "2");
    let layout = OciLayout::open(&place.dir).unwrap();
    assert_eq!(read(&layout.image(Some("one")).unwrap()), one);
    assert_eq!(read(&layout.image(Some("two")).unwrap()), two);
    assert_eq!(read(&layout.image(Some(&Digest::of(&two).to_string())).unwrap()), two);
    let error = layout.image(None).err().unwrap();
    assert_eq!(error.hint_text(), Some("say which: one, two"));
    let error = layout.image(Some("three")).err().unwrap();
    assert_eq!(error.hint_text(), Some("there is one, two"));

    let new = put(&LayoutTarget::open(&place.dir, Some("one".to_owned())).unwrap(), "new");
    let layout = OciLayout::open(&place.dir).unwrap();
    assert_eq!(read(&layout.image(Some("one")).unwrap()), new);
    assert_eq!(layout.images().len(), 2);
    let left = fs::read_dir(&place.dir).unwrap().count();
    assert_eq!(left, 3, "oci-layout, index.json and blobs, nothing of the way there");
}

#[test]
fn a_blob_comes_from_any_byte_on_and_is_written_once() {
    let place = place();
    let target = LayoutTarget::open(&place.dir, None).unwrap();
    put(&target, "x");
    let layer = descriptor(media::OCI_LAYER, b"not really a tar");
    assert!(target.has_blob(&layer).unwrap());
    target.put_blob(&layer, &|| panic!("it is there"), &|_| ()).unwrap();
    let image = OciLayout::open(&place.dir).unwrap().image(None).unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut image.blob(&layer, 4).unwrap(), &mut text).unwrap();
    assert_eq!(text, "really a tar");
    let error = target.put_blob(
        &Descriptor { digest: Digest::of(b"y"), ..layer },
        &opener(b"too short"),
        &|_| (),
    );
    assert!(message(error).contains("breaks off"));
}

#[test]
fn an_entry_that_is_an_index_and_an_index_right_in_index_json_are_read() {
    let place = place();
    let target = LayoutTarget::open(&place.dir, Some("multi".to_owned())).unwrap();
    let manifest = put(&target.another(Some("m".to_owned())), "x");
    let platform = |arch: &str| json!({"os": "linux", "architecture": arch});
    let entry_for = |arch: &str| {
        let digest = Digest::of(&manifest);
        json!({"mediaType": media::OCI_MANIFEST, "digest": digest, "size": manifest.len(), "platform": platform(arch)})
    };
    let nested = json!({"schemaVersion": 2, "manifests": [entry_for("amd64"), entry_for("arm64")]});
    let nested = nested.to_string().into_bytes();
    target.put_manifest(None, media::OCI_INDEX, &nested).unwrap();
    let image = OciLayout::open(&place.dir).unwrap().image(Some("multi")).unwrap();
    let fetched = image.manifest(None).unwrap();
    assert_eq!(
        (fetched.bytes, fetched.media_type.as_deref()),
        (nested.clone(), Some(media::OCI_INDEX))
    );
    assert_eq!(image.manifest(Some(&Digest::of(&manifest))).unwrap().bytes, manifest);

    fs::write(place.dir.join("index.json"), &nested).unwrap();
    let layout = OciLayout::open(&place.dir).unwrap();
    assert_eq!(read(&layout.image(None).unwrap()), nested);
    assert_eq!(layout.images().len(), 1);
}

#[test]
fn entries_of_other_tools_in_an_index_stay() {
    let place = place();
    let target = LayoutTarget::open(&place.dir, Some("ours".to_owned())).unwrap();
    put(&target, "x");
    let digest = Digest::of(b"theirs");
    let theirs = json!({"mediaType": "a/b", "digest": digest, "size": 6, "artifactType": "sbom"});
    let index = json!({"schemaVersion": 2, "manifests": [theirs], "subject": "z"});
    fs::write(place.dir.join("index.json"), index.to_string()).unwrap();
    put(&target, "y");
    let text = fs::read_to_string(place.dir.join("index.json")).unwrap();
    assert!(text.contains("sbom") && text.contains(r#""subject":"z""#), "{text}");
    assert_eq!(OciLayout::open(&place.dir).unwrap().images().len(), 2);
}

#[test]
fn an_empty_layout_of_umoci_is_extended() {
    let place = place();
    fs::create_dir(&place.dir).unwrap();
    fs::write(place.dir.join("oci-layout"), MARKER).unwrap();
    fs::write(place.dir.join("index.json"), r#"{"schemaVersion":2,"manifests":null}"#).unwrap();
    let error = OciLayout::open(&place.dir).unwrap().image(None).err().unwrap().to_string();
    assert!(error.ends_with("there is no image in it"), "{error}");
    put(&LayoutTarget::open(&place.dir, None).unwrap(), "x");
    OciLayout::open(&place.dir).unwrap().image(None).unwrap();
}

#[test]
fn many_write_to_one_layout_at_once() {
    let place = place();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let dir = &place.dir;
            scope.spawn(move || {
                let target = LayoutTarget::open(dir, Some(format!("n{number}"))).unwrap();
                put(&target, &number.to_string());
            });
        }
    });
    let layout = OciLayout::open(&place.dir).unwrap();
    for number in 0..8 {
        layout.image(Some(&format!("n{number}"))).unwrap().manifest(None).unwrap();
    }
}

#[test]
fn a_folder_with_other_things_in_it_is_left_alone() {
    let place = place();
    fs::create_dir(&place.dir).unwrap();
    fs::write(place.dir.join("thesis.txt"), "x").unwrap();
    let error = message(LayoutTarget::open(&place.dir, None));
    assert!(error.ends_with("the folder has other things in it and no oci-layout"), "{error}");
    assert_eq!(fs::read_dir(&place.dir).unwrap().count(), 1);
    assert!(message(OciLayout::open(&place.dir)).contains("no oci-layout in it"));
}

#[test]
fn blobs_that_are_pipes_or_of_another_size_are_refused_and_links_read() {
    let place = place();
    put(&LayoutTarget::open(&place.dir, None).unwrap(), "x");
    let image = OciLayout::open(&place.dir).unwrap().image(None).unwrap();
    let layer = descriptor(media::OCI_LAYER, b"not really a tar");
    let path = place.dir.join(blob_path(&layer.digest));
    let secret = place.dir.join("../secret");
    fs::write(&secret, "0123456789abcdef").unwrap();

    let larger = Descriptor { size: 17, ..layer.clone() };
    assert!(message(image.blob(&larger, 0)).contains("has 16 bytes, not 17"));
    fs::remove_file(&path).unwrap();
    assert!(message(image.blob(&layer, 0)).contains("there is no blob"));
    // A link is read, as Bazel writes them, but never written through.
    symlink(fs::canonicalize(&secret).unwrap(), &path).unwrap();
    let mut bytes = Vec::new();
    image.blob(&layer, 0).unwrap().read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"0123456789abcdef");
    let target = LayoutTarget::open(&place.dir, None).unwrap();
    assert!(message(target.has_blob(&layer)).contains("symbolic link"));
    fs::remove_file(&path).unwrap();
    symlink(&path, &path).unwrap();
    assert!(message(image.blob(&layer, 0)).contains("symbolic link"));
    fs::remove_file(&path).unwrap();
    symlink("/dev/null", &path).unwrap();
    assert!(message(image.blob(&layer, 0)).contains("not a regular file"));
    fs::remove_file(&path).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0)
        .unwrap();
    assert!(message(image.blob(&layer, 0)).contains("not a regular file"));
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(message(image.blob(&layer, 0)).contains("not a regular file"));

    let blobs = place.dir.join("blobs");
    fs::rename(&blobs, place.dir.join("../blobs")).unwrap();
    symlink("../blobs", &blobs).unwrap();
    image.manifest(None).unwrap();
    // Nothing is written through the link.
    let target = LayoutTarget::open(&place.dir, None).unwrap();
    assert!(target.put_manifest(None, media::OCI_MANIFEST, b"new").is_err());
}

#[test]
fn documents_that_lie_are_refused() {
    let place = place();
    let target = LayoutTarget::open(&place.dir, None).unwrap();
    let manifest = put(&target, "x");
    let image = OciLayout::open(&place.dir).unwrap().image(None).unwrap();
    let path = place.dir.join(blob_path(&Digest::of(&manifest)));
    fs::write(&path, "{}").unwrap();
    assert!(message(image.manifest(None)).contains("its content has the digest"));
    fs::File::create(&path).unwrap().set_len(LARGEST + 1).unwrap();
    assert!(message(image.manifest(None)).contains("more than"));

    let refused = |name: &str, content: &str| {
        let path = place.dir.join(name);
        let good = fs::read(&path).unwrap();
        fs::write(&path, content).unwrap();
        let error = message(OciLayout::open(&place.dir));
        fs::write(&path, good).unwrap();
        error
    };
    assert!(refused("oci-layout", r#"{"imageLayoutVersion":"2.0.0"}"#).contains("version '2.0.0'"));
    assert!(refused("oci-layout", "").contains("oci-layout"));
    assert!(refused("index.json", "[]").contains("index.json"));
    let itself = r#"{"schemaVersion":2,"manifests":[{"mediaType":"x","digest":"sha256:../index.json","size":1}]}"#;
    assert!(refused("index.json", itself).contains("not a digest"));
    fs::File::create(place.dir.join("index.json")).unwrap().set_len(100 << 20).unwrap();
    assert!(message(OciLayout::open(&place.dir)).contains("more than"));
}

proptest! {
    #[test]
    fn no_index_panics(text in "\\PC{0,200}", damage in proptest::collection::vec((0usize..400, any::<u8>()), 0..8)) {
        struct Given(Vec<u8>);
        impl LayoutFiles for Given {
            fn open(&self, path: &str) -> Result<Option<FileRange>> {
                let bytes = if path == "oci-layout" { MARKER.as_bytes() } else { &self.0 };
                Ok(Some(FileRange::whole(opener(bytes)()?)?))
            }
        }
        let _ = OciLayout::of(Arc::new(Given(text.into_bytes())), "x".to_owned());
        let digest = Digest::of(b"");
        let entry = json!({"mediaType": "m", "digest": digest, "size": 3, "annotations": {REF_NAME: "a"}});
        let mut bytes = json!({"schemaVersion": 2, "manifests": [entry]}).to_string().into_bytes();
        for (at, byte) in damage {
            let length = bytes.len();
            bytes[at % length] = byte;
        }
        if let Ok(layout) = OciLayout::of(Arc::new(Given(bytes)), "x".to_owned()) {
            let _ = layout.images();
            let _ = layout.image(None).map(|image| image.manifest(None).is_ok());
        }
    }
}
