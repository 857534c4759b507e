//! SIF files of any bytes: what is found lies in the file, and the configuration can be parsed where we made it.
#![no_main]

use std::io::Write;

use libfuzzer_sys::fuzz_target;
use usnea::image::manifest::ImageConfig;
use usnea::image::sif::{SifImage, is_sif};

fuzz_target!(|bytes: &[u8]| {
    let folder = usnea_fuzz::folder();
    let mut file = tempfile::tempfile_in(folder.path()).expect("a file");
    file.write_all(bytes).expect("a file");
    let Ok(image) = SifImage::open(&file) else { return };
    assert!(is_sif(&file) && !image.layers.is_empty());
    for part in &image.layers {
        let end = part.offset.checked_add(part.size).expect("a number");
        assert!(end <= bytes.len() as u64);
    }
    let config = ImageConfig::parse(image.configuration.as_bytes()).expect("it was parsed or made");
    assert!(config.config.cmd.len() <= bytes.len());
    let _ = image.root();
});
