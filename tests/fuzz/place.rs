//! A folder to unpack into on a file system in memory, and beside it what nobody may touch.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use tempfile::TempDir;
use usnea::config::LayerLimits;
use usnea::image::extract::{UnpackContent, UnpackRules, layer};
use usnea::image::owners::Owners;
use usnea::layer::whiteout::Whiteouts;

/// Small, so that what goes beyond is found out.
const LIMITS: LayerLimits = LayerLimits { layer_bytes: 4 << 20, layer_entries: 500, layer_ratio: 50 };

/// A new folder in memory, where there is such a place.
pub fn folder() -> TempDir {
    tempfile::Builder::new()
        .prefix("usnea-fuzz-")
        .tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .expect("a folder")
}

/// `fs`, and its neighbour `outside` with a canary.
pub struct Place {
    top: TempDir,
    before: Vec<Seen>,
}

type Seen = (PathBuf, u32, u64, i64, i64, u64);

impl Place {
    /// A new one.
    pub fn new() -> Self {
        let top = folder();
        fs::create_dir(top.path().join("fs")).expect("a folder");
        fs::create_dir(top.path().join("outside")).expect("a folder");
        fs::write(top.path().join("outside/canary"), "sings").expect("a file");
        let mut place = Self { top, before: Vec::new() };
        place.before = place.look();
        place
    }

    /// All but `fs`: what, mode, links, times.
    fn look(&self) -> Vec<Seen> {
        let top = self.top.path();
        let see = |path: PathBuf| {
            let at = path.symlink_metadata().expect("still there");
            (path, at.mode(), at.nlink(), at.ctime(), at.ctime_nsec(), at.size())
        };
        let mut all: Vec<_> =
            [top.to_owned(), top.join("outside"), top.join("outside/canary")].map(see).into();
        let names = fs::read_dir(top)
            .expect("readable")
            .chain(fs::read_dir(top.join("outside")).expect("readable"));
        let mut others: Vec<_> = names
            .map(|entry| entry.expect("readable").path())
            .filter(|path| !path.ends_with("fs"))
            .map(see)
            .collect();
        others.sort();
        all.extend(others);
        all
    }

    /// Unpacks `bytes`; whatever comes of it, all is in `fs`, of our own file system, without powers and devices, and
    /// can be removed.
    pub fn unpack(self, bytes: &[u8]) {
        let folder = self.top.path().join("fs");
        let into = File::open(&folder).expect("a folder");
        let how = UnpackRules { owners: &Owners::Recorded, limits: &LIMITS, whiteouts: Whiteouts::default(), content: UnpackContent::default() };
        let answer = layer(bytes, bytes.len() as u64, into.as_fd(), &how);
        assert_eq!(self.look(), self.before, "something outside was touched");
        if let Ok(unpacked) = answer {
            assert!(
                unpacked.entries <= LIMITS.layer_entries && unpacked.bytes <= LIMITS.layer_bytes
            );
        }
        check(&folder);
        self.top.close().expect("what was unpacked can be removed");
    }
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

fn check(folder: &std::path::Path) {
    for entry in fs::read_dir(folder).expect("a folder that its owner may read") {
        let entry = entry.expect("readable");
        let at = entry.metadata().expect("readable");
        assert_eq!(at.mode() & 0o6000, 0, "{entry:?} has powers");
        // A whiteout is the one device that is made.
        assert!(at.mode() & 0o170000 != 0o060000, "{entry:?} is a device");
        assert!(at.mode() & 0o170000 != 0o020000 || at.rdev() == 0, "{entry:?} is a device");
        if at.is_dir() {
            check(&entry.path());
        }
    }
}
