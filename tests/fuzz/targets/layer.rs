//! Layers of any bytes: nothing beside the folder is touched.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| usnea_fuzz::Place::new().unpack(bytes));
