//! `--mount type=glob`: a bind mount of each file whose path matches a pattern.

use std::path::{Path, PathBuf};

use super::bind::BindOptions;
use super::destination::Destination;
use crate::error::{Context, Error, Result};
use crate::fail;

/// Bind mounts of all files that match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GlobMount {
    /// The value as typed.
    pub text: String,
    /// Pattern of paths on the host (glob(7)).
    pub(super) pattern: String,
    /// Folder in the container that gets the files under their own names. `None`: their paths on the host.
    pub destination: Option<Destination>,
    /// Settings of the bind mounts.
    pub(super) bind: BindOptions,
}

impl GlobMount {
    /// Returns the files, and the mount point of each. Errors: no file matches; a malformed pattern; two files with the
    /// same name.
    pub(super) fn found(&self) -> Result<Vec<(PathBuf, Destination)>> {
        let pattern = std::path::absolute(&self.pattern).context(|| self.pattern.clone())?;
        let pattern = pattern.to_str().unwrap_or(&self.pattern);
        let paths = glob::glob(pattern).map_err(|error| Error::invalid(error.to_string()))?;
        let mut all = Vec::new();
        for path in paths.filter_map(std::result::Result::ok) {
            let place = match &self.destination {
                Some(folder) => folder.below(Path::new(path.file_name().unwrap_or_default())),
                None => path.to_string_lossy().parse().map_err(Error::new)?,
            };
            if all.iter().any(|(_, taken)| *taken == place) {
                fail!(Invalid: "two files that match have the name {place}");
            }
            all.push((path, place));
        }
        if all.is_empty() {
            return Err(Error::not_found("no file of the host matches")
                .hint("quote the pattern, so that the shell leaves it alone"));
        }
        Ok(all)
    }
}
