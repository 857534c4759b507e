//! Images made of parts: any entries in any layers, any config, one manifest or an index of several, written as an OCI
//! layout whose layers are plain tarballs.

use std::fs;

use serde_json::{Value, json};
use usnea::digest::Digest;
use usnea::image::manifest::{Platform, media};

use crate::stocked::Stocked;
use crate::support::text;

/// A member of a layer's tarball.
#[derive(Clone, Debug)]
pub struct Entry {
    path: String,
    kind: u8,
    mode: u32,
    owner: (u32, u32),
    content: Vec<u8>,
    target: String,
}

/// A file of root's.
pub fn file(path: &str, content: &str) -> Entry {
    bytes(path, content.as_bytes())
}

/// A file of root's with any content.
pub fn bytes(path: &str, content: &[u8]) -> Entry {
    let (path, content, target) = (path.into(), content.into(), String::new());
    Entry { path, kind: b'0', mode: 0o644, owner: (0, 0), content, target }
}

/// A folder of root's.
pub fn folder(path: &str) -> Entry {
    Entry { kind: b'5', mode: 0o755, ..bytes(path, b"") }
}

/// A symbolic link of root's.
pub fn link(path: &str, target: &str) -> Entry {
    Entry { kind: b'2', target: target.into(), ..bytes(path, b"") }
}

/// A character device 0:0: a whiteout of overlayfs.
pub fn device(path: &str) -> Entry {
    Entry { kind: b'3', ..bytes(path, b"") }
}

/// A header with one record of PAX for the next entry: `NAME=VALUE`.
pub fn pax(record: &str) -> Entry {
    // The length counts its own digits too.
    let length = record.len() + 4;
    let length = if length > 99 { length + 1 } else { length };
    Entry { kind: b'x', ..bytes("pax", format!("{length} {record}\n").as_bytes()) }
}

impl Entry {
    /// With another mode.
    pub fn mode(self, mode: u32) -> Self {
        Self { mode, ..self }
    }

    /// With another owner.
    pub fn owner(self, user: u32, group: u32) -> Self {
        Self { owner: (user, group), ..self }
    }

    fn write(&self, tar: &mut Vec<u8>) {
        let mut header = [0; 512];
        let mut put = |at: usize, text: &str| {
            header[at..at + text.len()].copy_from_slice(text.as_bytes());
        };
        put(0, &self.path);
        put(100, &format!("{:07o}", self.mode));
        put(108, &format!("{:07o}", self.owner.0));
        put(116, &format!("{:07o}", self.owner.1));
        put(124, &format!("{:011o}", self.content.len()));
        put(136, &format!("{:011o}", 1_700_000_000));
        put(148, "        ");
        put(156, &char::from(self.kind).to_string());
        put(157, &self.target);
        put(257, "ustar\u{0}00");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        tar.extend(header);
        tar.extend(&self.content);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
}

/// A layer's tarball.
pub fn layer(entries: &[Entry]) -> Vec<u8> {
    let mut tar = Vec::new();
    entries.iter().for_each(|entry| entry.write(&mut tar));
    tar.extend([0; 1024]);
    tar
}

/// The layer with the small root: busybox and its names.
pub fn small_root(place: &Stocked) -> Vec<u8> {
    let (root, tar) = (place.place.small_root(), place.place.path("root.tar"));
    let owners = ["--sort=name", "--mtime=@1700000000", "--owner=0", "--group=0"];
    let words = ["--numeric-owner", "-cf", text(&tar), "-C", text(&root), "."];
    place.other("tar", &[&owners[..], &words].concat()).works();
    fs::read(tar).expect("a tarball")
}

/// An image: the layers and what its config says.
#[derive(Clone, Debug)]
pub struct Composed {
    layers: Vec<Vec<u8>>,
    config: Value,
    platform: Platform,
}

impl Composed {
    /// For this machine, with an empty config.
    pub fn of(layers: &[Vec<u8>]) -> Self {
        Self { layers: layers.to_vec(), config: json!({}), platform: Platform::host() }
    }

    /// With this `config` (`Entrypoint`, `Cmd` and the like).
    pub fn config(self, config: Value) -> Self {
        Self { config, ..self }
    }

    /// For another machine.
    pub fn platform(self, platform: &str) -> Self {
        Self { platform: platform.parse().expect("a platform"), ..self }
    }

    /// Writes the layout `name` with this image. The manifest's digest.
    pub fn write(&self, place: &Stocked, name: &str) -> Digest {
        let manifest = self.write_blobs(place, name);
        finish(place, name, &manifest)
    }

    /// Writes config, layers and manifest; the descriptor of the manifest.
    fn write_blobs(&self, place: &Stocked, name: &str) -> Value {
        let Platform { os, architecture, .. } = &self.platform;
        let put = |kind, bytes: &[u8]| blob(place, name, kind, bytes);
        let layers: Vec<Value> =
            self.layers.iter().map(|layer| put(media::OCI_LAYER, layer)).collect();
        let diff_ids: Vec<&Value> = layers.iter().map(|layer| &layer["digest"]).collect();
        let config = json!({
            "os": os, "architecture": architecture, "config": self.config,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = put(media::OCI_CONFIG, config.to_string().as_bytes());
        let manifest = json!({
            "schemaVersion": 2, "mediaType": media::OCI_MANIFEST, "config": config, "layers": layers,
        });
        let mut manifest = put(media::OCI_MANIFEST, manifest.to_string().as_bytes());
        manifest["platform"] = json!({"os": os, "architecture": architecture});
        manifest
    }
}

/// Writes the layout `name` with an index of these images. The index's digest.
pub fn write_index(place: &Stocked, name: &str, images: &[Composed]) -> Digest {
    let manifests: Vec<Value> = images.iter().map(|image| image.write_blobs(place, name)).collect();
    let index = json!({"schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": manifests});
    let index = blob(place, name, media::OCI_INDEX, index.to_string().as_bytes());
    finish(place, name, &index)
}

/// Puts a layout into a registry that speaks HTTP, byte for byte.
pub fn publish(place: &Stocked, layout: &str, there: &str) {
    let (from, to) = (format!("oci:{layout}"), format!("docker://{there}"));
    let flags = ["copy", "--quiet", "--all", "--preserve-digests", "--dest-tls-verify=false"];
    place.other("skopeo", &[&flags[..], &[&from, &to]].concat()).works();
}

fn finish(place: &Stocked, name: &str, top: &Value) -> Digest {
    let write = |file: &str, content: Value| {
        place.place.write(&format!("{name}/{file}"), content.to_string());
    };
    write("oci-layout", json!({"imageLayoutVersion": "1.0.0"}));
    write("index.json", json!({"schemaVersion": 2, "manifests": [top]}));
    top["digest"].as_str().expect("a digest").parse().expect("a digest")
}

fn blob(place: &Stocked, name: &str, media_type: &str, bytes: &[u8]) -> Value {
    let digest = Digest::of(bytes);
    place.place.write(&format!("{name}/blobs/sha256/{}", digest.hex()), bytes);
    json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
}
