//! /etc/ld.so.cache. The first byte is the length of the name that is looked up, which follows.
#![no_main]

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use usnea::rootfs::host::cache::LibraryCache;
use usnea::rootfs::host::elf::{Elf, ElfTarget};

/// This program's target.
static TARGET: LazyLock<ElfTarget> = LazyLock::new(|| {
    let program = File::open("/proc/self/exe").expect("this program");
    Elf::read(program).expect("a program").expect("an ELF file").target
});

fuzz_target!(|bytes: &[u8]| {
    let [length, rest @ ..] = bytes else { return };
    let (name, file) = rest.split_at(usize::from(*length).min(rest.len()));
    let cache = LibraryCache::parse(file);
    for (is_64, is_big_endian) in [(true, false), (false, false), (true, true)] {
        let target = ElfTarget { is_64, is_big_endian, ..*TARGET };
        for line in cache.lines(OsStr::from_bytes(name), target) {
            assert!(!line.path.as_os_str().is_empty());
            let _ = line.is_for_some_processors();
        }
    }
});
