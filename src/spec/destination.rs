//! Mount points inside the container.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

/// Mount point: an absolute path inside the container, without `..`, `.` and doubled slashes, and not the root itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Destination(PathBuf);

impl Destination {
    /// The mount point's path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Number of path components: deeper mount points are mounted later.
    pub(super) fn depth(&self) -> usize {
        self.0.components().count()
    }

    /// Path of `relative`, which has no `..`, below this mount point.
    pub(super) fn below(&self, relative: &Path) -> Self {
        Self(self.0.join(relative))
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

impl FromStr for Destination {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let path = Path::new(text);
        if !path.is_absolute() {
            return Err(format!("the path in the container must be absolute: '{text}'"));
        }
        if path.components().any(|component| component == Component::ParentDir) {
            return Err(format!("the path in the container must be without '..': '{text}'"));
        }
        if text.contains('\0') {
            return Err("a path has no zero byte".into());
        }
        // Collecting removes redundant parts: "//", "/./", a slash at the end.
        let path: PathBuf = path.components().collect();
        if path == Path::new("/") {
            return Err("the root itself cannot be mounted on".into());
        }
        Ok(Self(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_destination_is_absolute_and_normal() {
        for (text, path) in
            [("/a", "/a"), ("//a//b/./c/", "/a/b/c"), ("/a b", "/a b"), ("/...", "/...")]
        {
            assert_eq!(text.parse::<Destination>().unwrap().path().to_str(), Some(path));
        }
        for wrong in ["", "a", "./a", "/", "//", "/.", "/a/..", "/../a", "/a/../b", "/a\0"] {
            assert!(wrong.parse::<Destination>().is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_taken_is_taken_again_and_has_no_dots(text in "[/.a]{0,12}") {
            if let Ok(destination) = text.parse::<Destination>() {
                prop_assert_eq!(destination.to_string().parse(), Ok(destination.clone()));
                prop_assert!(destination.path().components().all(|part| part != Component::ParentDir));
            }
        }
    }
}
