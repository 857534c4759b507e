//! Manifests, indexes and configs.
#![no_main]

use libfuzzer_sys::fuzz_target;
use usnea::image::manifest::{ManifestDocument, LARGEST, MOST_LAYERS, Platform, parse_config};

fuzz_target!(|bytes: &[u8]| {
    // The first byte says what the transport called it.
    let said = match bytes.first().map(|byte| byte % 4) {
        Some(0) => Some("application/vnd.oci.image.index.v1+json"),
        Some(1) => Some("application/vnd.docker.distribution.manifest.v2+json; charset=utf-8"),
        Some(2) => Some("application/json"),
        _ => None,
    };
    let bytes = bytes.get(1..).unwrap_or_default();
    match ManifestDocument::parse(bytes, said) {
        Ok(ManifestDocument::Manifest(manifest)) => {
            assert!(manifest.layers.len() <= MOST_LAYERS && manifest.config.size <= LARGEST);
            let again = serde_json::to_vec(&manifest).expect("JSON");
            assert_eq!(ManifestDocument::parse(&again, None).expect("ours"), ManifestDocument::Manifest(manifest));
        }
        Ok(ManifestDocument::Index(index)) => {
            let _ = index.choose(&Platform::host());
        }
        Err(error) => drop(error.to_string()),
    }
    for layers in 0..3 {
        if let Ok((_, diff_ids)) = parse_config(bytes, layers) {
            assert_eq!(diff_ids.len(), layers);
        }
    }
});
