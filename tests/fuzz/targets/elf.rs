//! Programs of the host: headers and dynamic sections of ELF files.
#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use usnea::rootfs::host::elf::Elf;

fuzz_target!(|bytes: &[u8]| {
    match Elf::read(Cursor::new(bytes)) {
        Ok(None) => assert!(!bytes.starts_with(b"\x7fELF")),
        Ok(Some(elf)) => {
            assert!(elf.interpreter.is_none_or(|path| !path.as_os_str().is_empty()));
            assert!(elf.needed.len() <= bytes.len());
            let _ = (elf.target.name(), elf.target.platform(), elf.target.runs_here());
        }
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::InvalidData, "{error}"),
    }
});
