//! Layers built here, unpacked and checked. As root also with real owners; as any user with recorded ones.

mod archive;
mod attributes;
mod exchange;
mod hostile;
mod links;
mod oracle;
mod random;
mod streams;
mod tree;
mod whiteouts;

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use archive::{Item, Tar};
use tree::{Node, Tree};

use super::{UnpackRules, Unpacked, layer};
use crate::config::LayerLimits;
use crate::error::Result;
use crate::ids::{IdMap, IdMaps};
use crate::image::owners::Owners;
use crate::layer::whiteout::Whiteouts;

/// A folder to unpack into, beside a folder that must stay untouched.
struct Place {
    top: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let top = tempfile::tempdir().unwrap();
        std::fs::create_dir(top.path().join("fs")).unwrap();
        std::fs::create_dir(top.path().join("outside")).unwrap();
        std::fs::write(top.path().join("outside/secret"), "secret").unwrap();
        Self { top }
    }

    fn fs(&self) -> PathBuf {
        self.top.path().join("fs")
    }

    fn path(&self, below: &str) -> PathBuf {
        self.fs().join(below)
    }

    fn unpack_with(&self, bytes: &[u8], owners: &Owners, limits: &LayerLimits) -> Result<Unpacked> {
        self.unpack_how(bytes, &rules(owners, limits, Whiteouts::Overlay))
    }

    fn unpack_how(&self, bytes: &[u8], rules: &UnpackRules<'_>) -> Result<Unpacked> {
        let into = std::fs::File::open(self.fs()).unwrap();
        let answer = layer(bytes, bytes.len() as u64, into.as_fd(), rules);
        self.check_outside();
        answer
    }

    fn unpack(&self, bytes: &[u8]) -> Result<Unpacked> {
        self.unpack_with(bytes, &Owners::Recorded, &LayerLimits::default())
    }

    fn check_outside(&self) {
        let mut names: Vec<_> = std::fs::read_dir(self.top.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["fs", "outside"]);
        let outside = self.top.path().join("outside");
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
        let secret = outside.join("secret");
        assert_eq!(std::fs::read_to_string(&secret).unwrap(), "secret");
        assert_eq!(std::os::unix::fs::MetadataExt::nlink(&secret.metadata().unwrap()), 1);
    }

    fn tree(&self) -> Tree {
        tree::read(&self.fs())
    }
}

/// Settings that write the contents.
fn rules<'a>(owners: &'a Owners, limits: &'a LayerLimits, whiteouts: Whiteouts) -> UnpackRules<'a> {
    UnpackRules { owners, limits, whiteouts, content: super::UnpackContent::Whole }
}

/// Unpacks a layer that must succeed.
fn unpacked(tar: Tar) -> (Place, Unpacked) {
    let place = Place::new();
    let unpacked = place.unpack(&tar.end()).unwrap();
    (place, unpacked)
}

/// The error of a layer that must fail.
fn refused(tar: Tar) -> String {
    Place::new().unpack(&tar.end()).unwrap_err().to_string()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn identity() -> Owners {
    let line = vec![IdMap::new(0, 0, 65536)];
    Owners::Mapped(IdMaps::new(line.clone(), line))
}

fn names(tree: &Tree) -> Vec<&str> {
    tree.keys().map(String::as_str).collect()
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap()
}
