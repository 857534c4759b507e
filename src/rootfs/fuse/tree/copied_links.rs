//! Table of copied-up files of several names, each with the link in the work folder that stands for the copy.

use std::collections::HashMap;
use std::ffi::OsString;

use parking_lot::Mutex;

use super::layers::{FsResult, stat_at};
use super::number::{InodeNumbers, RealFile};
use super::work::WorkFolder;
use crate::layer::for_each_entry;

/// Copied files of several names, by number.
#[derive(Default)]
pub struct CopiedLinks(Mutex<HashMap<u64, CopiedLink>>);

/// Copied file of several names.
#[derive(Clone)]
pub struct CopiedLink {
    /// Name in the work folder.
    pub name: OsString,
    /// Number of names in the merged tree.
    pub count: u32,
}

impl CopiedLinks {
    /// Loads the files that an earlier mount of the upper layer copied.
    pub fn load(work: &WorkFolder, numbers: &InodeNumbers) -> FsResult<Self> {
        let mut names = Vec::new();
        for_each_entry(&work.links, |name, _, _| {
            names.extend(name.to_str().ok().map(str::to_owned));
        })?;
        let mut links = HashMap::new();
        for name in names {
            let Some(lower) = parse(&name) else { continue };
            let stat = stat_at(&work.links, name.as_ref())?;
            let number = numbers.of(lower);
            numbers.keep(RealFile { dev: stat.st_dev, ino: stat.st_ino }, number);
            // Names that still lead to the lower file are not counted: their number is unknown.
            let count = (stat.st_nlink as u32).max(2);
            links.insert(number, CopiedLink { name: name.into(), count });
        }
        Ok(Self(Mutex::new(links)))
    }

    /// Adds a file.
    pub fn insert(&self, number: u64, link: CopiedLink) {
        self.0.lock().insert(number, link);
    }

    /// True if no file of several names was copied.
    pub fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    fn find(&self, number: u64) -> Option<CopiedLink> {
        self.0.lock().get(&number).cloned()
    }

    /// Returns the number of names of a file, if it is one of these.
    pub fn count(&self, number: u64) -> Option<u32> {
        self.0.lock().get(&number).map(|link| link.count)
    }

    /// Returns the name of a file in the work folder.
    pub fn name(&self, number: u64) -> Option<OsString> {
        self.find(number).map(|link| link.name)
    }

    /// Counts one name more.
    pub fn add(&self, number: u64) {
        if let Some(link) = self.0.lock().get_mut(&number) {
            link.count += 1;
        }
    }

    /// Counts one name less. After the last, returns the name in the work folder, for removal.
    pub fn remove(&self, number: u64) -> Option<OsString> {
        let mut links = self.0.lock();
        let link = links.get_mut(&number)?;
        link.count -= 1;
        (link.count == 0).then(|| links.remove(&number).map(|link| link.name)).flatten()
    }
}

fn parse(name: &str) -> Option<RealFile> {
    let (dev, ino) = name.split_once('-')?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    Some(RealFile { dev: number(dev)?, ino: number(ino)? })
}
