//! Archives of images: docker save's and OCI's, with the manifests and layers in them.
#![no_main]

use std::io::{Read, Write};

use libfuzzer_sys::fuzz_target;
use usnea::image::archive::ImageArchive;
use usnea::image::manifest::ManifestDocument;
use usnea::image::source::ImageSource;

/// A layer may claim any size; that much of it is read.
const MOST: u64 = 1 << 20;

fn read(source: &dyn ImageSource) {
    let Ok(fetched) = source.manifest(None) else { return };
    let Ok(ManifestDocument::Manifest(manifest)) =
        ManifestDocument::parse(&fetched.bytes, fetched.media_type.as_deref())
    else {
        return;
    };
    for descriptor in manifest.layers.iter().take(4).chain([&manifest.config]) {
        if let Ok(blob) = source.blob(descriptor, 0) {
            let _ = blob.take(MOST).read_to_end(&mut Vec::new());
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let folder = usnea_fuzz::folder();
    let mut file = tempfile::tempfile_in(folder.path()).expect("a file");
    file.write_all(bytes).expect("a file");
    std::io::Seek::rewind(&mut file).expect("a file");
    if let Ok(images) =
        ImageArchive::open_file(file, "archive", folder.path()).and_then(|archive| archive.images())
    {
        images.iter().take(8).for_each(|(_, source)| read(&**source));
    }
});
