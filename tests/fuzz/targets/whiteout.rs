//! Whiteouts, by name: what an entry `.wh.NAME` or a folder of that name does, after and before a file of NAME.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tar_core::{EntryType, Header};

fn block(name: &[u8], kind: EntryType) -> Option<Vec<u8>> {
    let mut header = Header::new_ustar();
    header.set_path(name).ok()?;
    header.set_entry_type(kind);
    header.set_mode(0o755).ok()?;
    header.set_size(0).ok()?;
    header.set_checksum();
    Some(header.as_bytes().to_vec())
}

fuzz_target!(|input: (bool, bool, &[u8])| {
    let (is_folder, is_first, name) = input;
    let whiteout = [b".wh.", name].concat();
    let kind = if is_folder { EntryType::Directory } else { EntryType::Regular };
    let (Some(whiteout), Some(file)) = (block(&whiteout, EntryType::Regular), block(name, kind))
    else {
        return;
    };
    let entries = if is_first { [whiteout, file] } else { [file, whiteout] };
    usnea_fuzz::Place::new().unpack(&[entries.concat(), vec![0; 1024]].concat());
});
