//! `/etc/ld.so.cache`: names and paths of the libraries that ldconfig found.
//!
//! The format (glibc, sysdeps/generic/dl-cache.h) is a header of 48 bytes that begins with `glibc-ld.so.cache1.1`,
//! entries of 24 bytes, and strings at offsets from that header. An older format may stand before it (`ldconfig -c
//! compat`, the default until glibc 2.32). The file is written in the byte order of its machine. Every offset is
//! checked against the file's length; entries outside are skipped, as ld.so does.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use object::elf as format;

use super::elf::ElfTarget;

const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const HEADER: usize = 48;
const ENTRY: usize = 24;
const OLD_MAGIC: &[u8] = b"ld.so-1.7.0";
const OLD_HEADER: usize = 16;
const OLD_ENTRY: usize = 12;

/// Line of the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheLine {
    /// Path of the library.
    pub path: PathBuf,
    flags: u32,
    hwcap: u64,
}

impl CacheLine {
    /// True if the library is built for some processors only (a `glibc-hwcaps` folder or its predecessors).
    pub fn is_for_some_processors(&self) -> bool {
        self.hwcap != 0
    }
}

/// Lines of the cache, by the name of the library.
#[derive(Debug, Default)]
pub struct LibraryCache {
    lines: HashMap<OsString, Vec<CacheLine>>,
}

impl LibraryCache {
    /// Parses the content of the file. A file of another format gives an empty cache, as for ld.so.
    pub fn parse(bytes: &[u8]) -> Self {
        new_format(bytes).and_then(Self::parse_new).unwrap_or_default()
    }

    fn parse_new(bytes: &[u8]) -> Option<Self> {
        let count = number(bytes, MAGIC.len())? as usize;
        let entries = bytes.get(HEADER..)?.chunks_exact(ENTRY).take(count);
        let mut cache = Self::default();
        for entry in entries {
            let (Some(name), Some(path)) = (string(bytes, entry, 4), string(bytes, entry, 8))
            else {
                continue;
            };
            let (Some(flags), Some(low), Some(high)) =
                (number(entry, 0), number(entry, 16), number(entry, 20))
            else {
                continue;
            };
            // The order of the halves does not matter: only zero or non-zero counts.
            let hwcap = u64::from(low) | u64::from(high) << 32;
            let line = CacheLine { path: OsStr::from_bytes(path).into(), flags, hwcap };
            cache.lines.entry(OsStr::from_bytes(name).to_owned()).or_default().push(line);
        }
        Some(cache)
    }

    /// Returns the lines for `name` that a program of this kind may use, in ld.so's order.
    pub fn lines(&self, name: &OsStr, target: ElfTarget) -> impl Iterator<Item = &CacheLine> {
        self.lines
            .get(name)
            .into_iter()
            .flatten()
            .filter(move |line| wanted_flags(target).is_none_or(|flags| flags == line.flags))
    }

    #[cfg(test)]
    fn all(&self) -> impl Iterator<Item = (&OsString, &CacheLine)> {
        self.lines.iter().flat_map(|(name, lines)| lines.iter().map(move |line| (name, line)))
    }
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

fn string<'a>(bytes: &'a [u8], entry: &[u8], at: usize) -> Option<&'a [u8]> {
    let text = bytes.get(number(entry, at)? as usize..)?;
    let length = text.iter().take(4096).position(|byte| *byte == 0)?;
    (length > 0).then(|| &text[..length])
}

/// Returns the flags of a usable line (`FLAG_ELF_LIBC6` and the ABI, dl-cache.h). `None` where several ABIs share a
/// machine: the library's own header decides there.
fn wanted_flags(target: ElfTarget) -> Option<u32> {
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
    use std::collections::BTreeSet;
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_hosts_cache_reads_as_ldconfig_prints_it() {
        let printed = Command::new("/sbin/ldconfig").arg("-p").env("LC_ALL", "C").output().unwrap();
        let theirs: BTreeSet<(String, String)> = String::from_utf8(printed.stdout)
            .unwrap()
            .lines()
            .filter_map(|line| line.trim().split_once(" => "))
            .map(|(name, path)| (name.split(' ').next().unwrap().to_owned(), path.to_owned()))
            .collect();
        let cache = LibraryCache::parse(&std::fs::read("/etc/ld.so.cache").unwrap());
        let ours: BTreeSet<(String, String)> = cache
            .all()
            .map(|(name, line)| {
                (name.to_str().unwrap().to_owned(), line.path.to_str().unwrap().to_owned())
            })
            .collect();
        assert!(!ours.is_empty());
        assert_eq!(ours, theirs);
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
            assert_eq!(
                LibraryCache::parse(&both).lines,
                LibraryCache::parse(&new).lines,
                "{count}"
            );
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
            LibraryCache::parse(&bytes);
        }
    }
}
