//! Stores with small images, for the tests of removal, counting and checking.

mod check;
mod collect;

use std::path::Path;

use super::{ImageRecord, Store};
use crate::config::LayerLimits;
use crate::image::Reference;
use crate::image::compose::{self, ImageDetails, LayerWriter, NewLayer, ParentImage};
use crate::image::manifest::{ManifestDocument, Platform};
use crate::image::owners::Owners;
use crate::image::pull::{ImagePull, TransferOutcome, TransferProgress};

/// A store in a folder of its own.
struct Shop {
    folder: tempfile::TempDir,
    store: Store,
}

struct NoProgress;

impl TransferProgress for NoProgress {
    fn layers(&self, _: &[(String, u64)]) {}
    fn waiting(&self, _: Option<usize>) {}
    fn transferred(&self, _: usize, _: u64) {}
    fn done(&self, _: usize, _: TransferOutcome) {}
}

fn details() -> ImageDetails {
    ImageDetails {
        platform: Platform::host(),
        created: jiff::Timestamp::UNIX_EPOCH,
        author: None,
        message: None,
        created_by: None,
        changes: Vec::new(),
    }
}

/// A layer with these files.
fn layer(tmp: &Path, files: &[(&str, &str)]) -> NewLayer {
    use std::io::Write;
    let mut writer = LayerWriter::new(tmp).unwrap();
    for (name, content) in files {
        let mut header = [0u8; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[100..108].copy_from_slice(b"0000644\0");
        header[108..116].copy_from_slice(b"0000000\0");
        header[116..124].copy_from_slice(b"0000000\0");
        header[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
        header[136..148].copy_from_slice(b"00000000000\0");
        header[148..156].fill(b' ');
        header[156] = b'0';
        header[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        writer.write_all(&header).unwrap();
        let mut padded = content.as_bytes().to_vec();
        padded.resize(content.len().next_multiple_of(512), 0);
        writer.write_all(&padded).unwrap();
    }
    writer.write_all(&[0; 1024]).unwrap();
    writer.finish().unwrap()
}

impl Shop {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        Self { folder, store }
    }

    fn pull(&self, source: &compose::ComposedImage, names: &[&str]) -> ImageRecord {
        let names: Vec<Reference> = names.iter().map(|name| name.parse().unwrap()).collect();
        let pull = ImagePull {
            action: "pull",
            store: &self.store,
            platform: &Platform::host(),
            names: &names,
            owners: &Owners::Recorded,
            limits: &LayerLimits::default(),
            parallel: 1,
            progress: &NoProgress,
            approve: &|_| Ok(()),
        };
        pull.run(source).unwrap()
    }

    /// An image of one layer.
    fn image(&self, names: &[&str], files: &[(&str, &str)]) -> ImageRecord {
        let layer = layer(self.folder.path(), files);
        let made = compose::commit(None, Some(layer), &details(), "an image".to_owned()).unwrap();
        self.pull(&made, names)
    }

    /// An image of the layers of another and one more.
    fn child(&self, parent: &ImageRecord, names: &[&str], files: &[(&str, &str)]) -> ImageRecord {
        let manifest = self.store.read_blob(&parent.manifest).unwrap();
        let ManifestDocument::Manifest(manifest) =
            ManifestDocument::parse(&manifest, None).unwrap()
        else {
            panic!("no manifest")
        };
        let config = self.store.read_blob(&parent.config).unwrap();
        let parent = ParentImage { manifest: &manifest, config: &config, store: &self.store };
        let layer = layer(self.folder.path(), files);
        let made = compose::commit(Some(parent), Some(layer), &details(), "a child".to_owned());
        self.pull(&made.unwrap(), names)
    }

    /// All blobs and layers' folders, by their paths.
    fn objects(&self) -> Vec<String> {
        let mut all = Vec::new();
        for folder in ["blobs/sha256", "layers", "tmp", "downloads"] {
            for entry in std::fs::read_dir(self.store.root().join(folder)).unwrap() {
                let name = entry.unwrap().file_name();
                all.push(format!("{folder}/{}", name.to_str().unwrap()));
            }
        }
        all
    }

    fn is_whole(&self, image: &ImageRecord) -> bool {
        image.blobs().all(|blob| self.store.blob_path(blob).is_file())
            && image
                .layers
                .iter()
                .all(|layer| self.store.has_layer(&layer.diff_id, &Owners::Recorded))
    }

    fn layer_file(&self, image: &ImageRecord, name: &str) -> std::path::PathBuf {
        self.store.layer_path(&image.layers[0].diff_id, &Owners::Recorded).join(name)
    }
}
