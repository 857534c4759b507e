//! Content of `/etc/ld.so.cache`: read, and written as ldconfig(8) writes it.
//!
//! The format (glibc, sysdeps/generic/dl-cache.h) is a header of 48 bytes that begins with `glibc-ld.so.cache1.1`,
//! entries of 24 bytes, strings at offsets from that header, and extensions. An older format may stand before it
//! (`ldconfig -c compat`, the default until glibc 2.32). The file is written in the byte order of its machine. Every
//! offset is checked against the file's length; entries outside are skipped, as ld.so does.

use std::cmp::Ordering;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use object::elf as format;

use super::elf::ElfTarget;

const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const HEADER: usize = 48;
const ENTRY: usize = 24;
const OLD_MAGIC: &[u8] = b"ld.so-1.7.0";
const OLD_HEADER: usize = 16;
const OLD_ENTRY: usize = 12;
/// Offset of the extensions' offset in the header.
const EXTENSIONS: usize = 32;
const EXTENSION_MAGIC: u32 = 0xEAA4_2174;
/// Tag of the extension with the names of `glibc-hwcaps` folders.
const HWCAPS_TAG: u32 = 1;
/// Largest number of extensions: glibc knows two.
const MOST_EXTENSIONS: usize = 16;
/// Header's mark of little endian, and of big endian.
const BYTE_ORDER: u8 = if cfg!(target_endian = "little") { 2 } else { 3 };

/// Entry of the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedLibrary {
    /// Name that programs need.
    pub name: OsString,
    /// Path of the library.
    pub path: OsString,
    /// Format and ABI (`FLAG_ELF_LIBC6` and others).
    pub flags: u32,
    os_version: u32,
    /// Processors for which the library is built; 0: all.
    pub hwcap: u64,
}

/// Entries of the cache, in ld.so's order, and the names of the `glibc-hwcaps` folders that they refer to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheContent {
    libraries: Vec<CachedLibrary>,
    hwcaps: Vec<OsString>,
}

impl CacheContent {
    /// Parses the content of the file. A file of another format has no entries, as for ld.so.
    pub fn parse(bytes: &[u8]) -> Self {
        new_format(bytes).and_then(Self::parse_new).unwrap_or_default()
    }

    fn parse_new(bytes: &[u8]) -> Option<Self> {
        let count = number(bytes, MAGIC.len())? as usize;
        let entries = bytes.get(HEADER..)?.chunks_exact(ENTRY).take(count);
        let library = |entry: &[u8]| {
            Some(CachedLibrary {
                flags: number(entry, 0)?,
                name: string(bytes, number(entry, 4)?)?,
                path: string(bytes, number(entry, 8)?)?,
                os_version: number(entry, 12)?,
                hwcap: u64::from_ne_bytes(entry.get(16..24)?.try_into().ok()?),
            })
        };
        let libraries = entries.filter_map(library).collect();
        Some(Self { libraries, hwcaps: hwcaps(bytes).unwrap_or_default() })
    }

    /// Entries, in ld.so's order.
    pub fn libraries(&self) -> &[CachedLibrary] {
        &self.libraries
    }

    /// Adds a library of this kind. It replaces the entry of the same name and ABI for all processors. `false`: the ABI
    /// is unknown, and the library is not added.
    pub fn add(&mut self, name: &OsStr, path: &OsStr, target: ElfTarget) -> bool {
        // Where several ABIs share a machine, the first entry tells which one this system has.
        let first = || self.libraries.first().map(|library| library.flags);
        let Some(flags) = wanted_flags(target).or_else(first) else { return false };
        let (name, path) = (name.to_owned(), path.to_owned());
        self.libraries.retain(|old| old.name != name || old.flags != flags || old.hwcap != 0);
        self.libraries.push(CachedLibrary { name, path, flags, os_version: 0, hwcap: 0 });
        true
    }

    /// Returns the content of the file.
    pub fn bytes(&self) -> Vec<u8> {
        let mut libraries: Vec<&CachedLibrary> = self.libraries.iter().collect();
        // ld.so searches by bisection, in descending order. The sort is stable: entries of one name keep their order.
        libraries.sort_by(|one, other| compare(other.name.as_bytes(), one.name.as_bytes()));
        let mut strings = Strings { start: HEADER + libraries.len() * ENTRY, bytes: Vec::new() };
        let mut entries = Vec::new();
        for library in &libraries {
            let (name, path) = (strings.add(&library.name), strings.add(&library.path));
            for number in [library.flags, name, path, library.os_version] {
                entries.extend(number.to_ne_bytes());
            }
            entries.extend(library.hwcap.to_ne_bytes());
        }
        let hwcaps: Vec<u32> = self.hwcaps.iter().map(|name| strings.add(name)).collect();
        let length = offset(strings.bytes.len());
        strings.bytes.resize(strings.bytes.len().next_multiple_of(4), 0);
        let extensions = strings.start + strings.bytes.len();
        let mut bytes = MAGIC.to_vec();
        bytes.extend(offset(libraries.len()).to_ne_bytes());
        bytes.extend(length.to_ne_bytes());
        bytes.extend([BYTE_ORDER, 0, 0, 0]);
        let has_extension = !hwcaps.is_empty();
        bytes.extend((if has_extension { offset(extensions) } else { 0 }).to_ne_bytes());
        bytes.resize(HEADER, 0);
        bytes.extend(entries);
        bytes.extend(strings.bytes);
        if has_extension {
            // Two numbers before the only section, which has four.
            let (at, size) = (offset(extensions + 24), offset(hwcaps.len() * 4));
            for number in [EXTENSION_MAGIC, 1, HWCAPS_TAG, 0, at, size].into_iter().chain(hwcaps) {
                bytes.extend(number.to_ne_bytes());
            }
        }
        bytes
    }
}

/// Strings of a new file.
struct Strings {
    /// Offset of the first one in the file.
    start: usize,
    bytes: Vec<u8>,
}

impl Strings {
    /// Adds a string with its NUL byte; returns its offset in the file.
    fn add(&mut self, text: &OsStr) -> u32 {
        let at = offset(self.start + self.bytes.len());
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
        at
    }
}

/// Returns an offset as the file has it. Readers limit the size of caches to far less than 4 GiB.
fn offset(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// Compares names as ld.so does: digits as numbers, and after all other bytes.
fn compare(one: &[u8], other: &[u8]) -> Ordering {
    let (mut one, mut other) = (one, other);
    loop {
        match (one, other) {
            ([], []) => return Ordering::Equal,
            ([], _) => return Ordering::Less,
            (_, []) => return Ordering::Greater,
            ([a, ..], [b, ..]) if a.is_ascii_digit() && b.is_ascii_digit() => {
                let (first, second) = (leading_number(&mut one), leading_number(&mut other));
                if first != second {
                    return first.cmp(&second);
                }
            }
            ([a, ..], _) if a.is_ascii_digit() => return Ordering::Greater,
            (_, [b, ..]) if b.is_ascii_digit() => return Ordering::Less,
            ([a, rest @ ..], [b, others @ ..]) => {
                if a != b {
                    return a.cmp(b);
                }
                (one, other) = (rest, others);
            }
        }
    }
}

/// Takes the digits at the start of `text` and returns their value. Wraps as glibc's `int` does.
fn leading_number(text: &mut &[u8]) -> i32 {
    let mut value = 0i32;
    while let [digit, rest @ ..] = *text
        && digit.is_ascii_digit()
    {
        value = value.wrapping_mul(10).wrapping_add(i32::from(digit - b'0'));
        *text = rest;
    }
    value
}

/// Returns the names of `glibc-hwcaps` folders.
fn hwcaps(bytes: &[u8]) -> Option<Vec<OsString>> {
    let extensions = number(bytes, EXTENSIONS).filter(|at| *at != 0)? as usize;
    if number(bytes, extensions)? != EXTENSION_MAGIC {
        return None;
    }
    let count = number(bytes, extensions.checked_add(4)?)? as usize;
    let sections = bytes.get(extensions.checked_add(8)?..)?.chunks_exact(16);
    let mut sections = sections.take(count.min(MOST_EXTENSIONS));
    let section = sections.find(|section| number(section, 0) == Some(HWCAPS_TAG))?;
    let (at, size) = (number(section, 8)? as usize, number(section, 12)? as usize);
    let numbers = bytes.get(at..at.checked_add(size)?)?.chunks_exact(4);
    numbers.map(|four| string(bytes, number(four, 0)?)).collect()
}

/// Returns the part that begins with the new format's header: at the start, or after the old format's entries. Aligned
/// to 8 bytes (to 4 on i386).
fn new_format(bytes: &[u8]) -> Option<&[u8]> {
    if bytes.starts_with(MAGIC) {
        return Some(bytes);
    }
    if !bytes.starts_with(OLD_MAGIC) {
        return None;
    }
    let count = number(bytes, OLD_HEADER - 4)? as usize;
    let end = count.checked_mul(OLD_ENTRY)?.checked_add(OLD_HEADER)?;
    [end.next_multiple_of(4), end.next_multiple_of(8)]
        .into_iter()
        .filter_map(|start| bytes.get(start..))
        .find(|rest| rest.starts_with(MAGIC))
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(four.try_into().ok()?))
}

fn string(bytes: &[u8], at: u32) -> Option<OsString> {
    let text = bytes.get(at as usize..)?;
    let length = text.iter().take(4096).position(|byte| *byte == 0)?;
    (length > 0).then(|| OsString::from_vec(text[..length].to_vec()))
}

/// Returns the flags of a usable entry (`FLAG_ELF_LIBC6` and the ABI, dl-cache.h). `None` where several ABIs share a
/// machine: the library's own header decides there.
pub(super) fn wanted_flags(target: ElfTarget) -> Option<u32> {
    match (target.machine, target.is_64) {
        (format::EM_X86_64, true) => Some(0x0303),
        (format::EM_X86_64, false) => Some(0x0803),
        (format::EM_386, _) => Some(0x0003),
        (format::EM_AARCH64, true) => Some(0x0a03),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    /// Lines of ldconfig for the cache in a file.
    fn printed(file: &std::path::Path) -> Vec<String> {
        let mut command = Command::new("/sbin/ldconfig");
        let output = command.arg("-C").arg(file).arg("-p").env("LC_ALL", "C").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().filter(|line| line.contains(" => ")).map(str::to_owned).collect()
    }

    fn own_target() -> ElfTarget {
        let program = std::fs::File::open("/proc/self/exe").unwrap();
        super::super::elf::Elf::read(program).unwrap().unwrap().target
    }

    #[test]
    fn a_written_cache_reads_as_the_one_of_the_host() {
        let host = CacheContent::parse(&std::fs::read("/etc/ld.so.cache").unwrap());
        assert!(!host.libraries.is_empty());
        assert_eq!(CacheContent::parse(&host.bytes()), host);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cache");
        std::fs::write(&file, host.bytes()).unwrap();
        assert_eq!(printed(&file), printed("/etc/ld.so.cache".as_ref()));
    }

    #[test]
    fn added_libraries_stand_where_ldconfig_puts_them() {
        let mut cache = CacheContent::parse(&std::fs::read("/etc/ld.so.cache").unwrap());
        for name in ["libcuda.so.1", "libz.so.1", "libz10.so", "lib1.so", "zz.so"] {
            let path = format!("/opt/vendor/{name}");
            assert!(cache.add(name.as_ref(), path.as_ref(), own_target()), "{name}");
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cache");
        std::fs::write(&file, cache.bytes()).unwrap();
        let lines = printed(&file);
        for name in ["libcuda.so.1", "libz.so.1", "libz10.so", "lib1.so", "zz.so"] {
            let own = format!("\t{name} (libc6,x86-64) => /opt/vendor/{name}");
            let of_machine =
                lines.iter().filter(|line| line.ends_with(&format!("=> /opt/vendor/{name}")));
            assert_eq!(of_machine.count(), 1, "{name}");
            assert!(cfg!(not(target_arch = "x86_64")) || lines.contains(&own), "{name}: {lines:?}");
        }
    }

    #[test]
    fn hwcaps_keep_their_names() {
        let library = |name: &str, hwcap| CachedLibrary {
            name: name.into(),
            path: format!("/lib/{name}").into(),
            flags: 0x0303,
            os_version: 0,
            hwcap,
        };
        let cache = CacheContent {
            libraries: vec![library("libb.so", 1 << 62 | 1), library("libb.so", 0)],
            hwcaps: vec!["x86-64-v2".into(), "x86-64-v3".into()],
        };
        assert_eq!(CacheContent::parse(&cache.bytes()), cache);
    }

    #[test]
    fn digits_are_compared_as_numbers() {
        for (one, other) in
            [("libz.so.1", "libz10.so"), ("libz9.so", "libz10.so"), ("a", "a.so"), ("a.so", "b")]
        {
            assert_eq!(compare(one.as_bytes(), other.as_bytes()), Ordering::Less, "{one} {other}");
            assert_eq!(compare(other.as_bytes(), one.as_bytes()), Ordering::Greater);
        }
    }

    #[test]
    fn the_new_format_is_found_behind_the_old_one() {
        let new = std::fs::read("/etc/ld.so.cache").unwrap();
        for count in [0u32, 1, 2] {
            let mut both = OLD_MAGIC.to_vec();
            both.resize(OLD_HEADER - 4, 0);
            both.extend(count.to_ne_bytes());
            both.resize((OLD_HEADER + count as usize * OLD_ENTRY).next_multiple_of(8), 0);
            both.extend(&new);
            assert_eq!(CacheContent::parse(&both), CacheContent::parse(&new), "{count}");
        }
    }

    proptest! {
        #[test]
        fn damage_never_panics(
            damage in proptest::collection::vec((0usize..20_000, any::<u8>()), 1..50),
            length in 0usize..40_000,
        ) {
            let mut bytes = std::fs::read("/etc/ld.so.cache").unwrap();
            bytes.truncate(length);
            for (at, byte) in damage {
                if let Some(target) = bytes.get_mut(at) {
                    *target = byte;
                }
            }
            let parsed = CacheContent::parse(&bytes);
            prop_assert_eq!(parsed.libraries.len(), CacheContent::parse(&parsed.bytes()).libraries.len());
        }
    }
}
