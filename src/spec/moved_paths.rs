//! Changes of paths in a config: of a root that was made anew, and of a store that has moved.

use std::path::{Path, PathBuf};

use oci_spec::runtime::{Mount, Spec};

use super::mounts::text;
use super::storage_driver::{COPIED, FUSE};
use crate::error::Result;
use crate::sys::mount::{joined_lowers, split_lowers};

/// Replaces the lowest folder of the root: the same root, created anew elsewhere.
pub fn set_lower(spec: &mut Spec, lower: &Path) -> Result<()> {
    text(lower)?;
    let mut mounts = spec.mounts().clone().unwrap_or_default();
    let is_root = |mount: &&mut Mount| mount.destination() == Path::new("/");
    for mount in mounts.iter_mut().filter(is_root) {
        let mut options = mount.options().clone().unwrap_or_default();
        for option in options.iter_mut().filter(|option| option.starts_with("lowerdir=")) {
            let mut paths = split_lowers(option.trim_start_matches("lowerdir="));
            paths.pop();
            paths.push(lower.to_owned());
            let paths: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
            *option = format!("lowerdir={}", joined_lowers(&paths));
        }
        mount.set_options(Some(options));
    }
    spec.set_mounts(Some(mounts));
    if let Some(mut root) = spec.root().clone() {
        root.set_path(lower.to_owned());
        spec.set_root(Some(root));
    }
    Ok(())
}

/// Replaces the folder `from` by `to` in every path of the spec: layers, and sources of bind mounts.
pub fn move_paths(spec: &mut Spec, from: &Path, to: &Path) {
    let moved = |path: &Path| path.strip_prefix(from).ok().map(|inside| to.join(inside));
    for mount in spec.mounts_mut().iter_mut().flatten() {
        if let Some(source) = mount.source().as_deref().and_then(moved) {
            mount.set_source(Some(source));
        }
        if !matches!(mount.typ().as_deref(), Some("overlay" | FUSE | COPIED)) {
            continue;
        }
        let options = mount.options().iter().flatten();
        let options = options.map(|option| match option.split_once('=') {
            Some((name @ "lowerdir", paths)) => {
                let paths = split_lowers(paths).into_iter();
                let paths: Vec<PathBuf> = paths.map(|path| moved(&path).unwrap_or(path)).collect();
                let paths: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
                format!("{name}={}", joined_lowers(&paths))
            }
            Some((name @ ("upperdir" | "workdir"), path)) => {
                match moved(Path::new(&path.replace("\\\\", "\\"))) {
                    Some(path) => {
                        format!("{name}={}", path.to_string_lossy().replace('\\', "\\\\"))
                    }
                    None => option.clone(),
                }
            }
            _ => option.clone(),
        });
        let options = options.collect();
        mount.set_options(Some(options));
    }
    if let Some(root) = spec.root_mut()
        && let Some(path) = moved(root.path())
    {
        root.set_path(path);
    }
}
