//! Libraries that ldconfig found, by the names that programs need (`/etc/ld.so.cache`).

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use super::cache_content::{CacheContent, wanted_flags};
use super::elf::ElfTarget;

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
        let mut cache = Self::default();
        for library in CacheContent::parse(bytes).libraries() {
            let line = CacheLine {
                path: library.path.clone().into(),
                flags: library.flags,
                hwcap: library.hwcap,
            };
            cache.lines.entry(library.name.clone()).or_default().push(line);
        }
        cache
    }

    /// Names of all libraries, in no order.
    pub fn names(&self) -> impl Iterator<Item = &OsStr> {
        self.lines.keys().map(OsString::as_os_str)
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::process::Command;

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
}
