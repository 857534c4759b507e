//! Scratch folder for the layers of disposable containers, used instead of memory and the store: `usnea-UID` in the
//! folder of `USNEA_SCRATCH`. Without that variable it is in `TMPDIR`, but only if the store is on a network file
//! system and a tmpfs cannot hold layers.

use std::path::{Path, PathBuf};

use crate::config;
use crate::error::{Error, Result};
use crate::host::filesystem;

/// Environment variable that names a folder on a local disk.
pub const VARIABLE: &str = "USNEA_SCRATCH";

/// Returns the scratch folder, whose `tmp` is used instead of the store's. `None`: none is used. Errors: a path that is
/// not absolute.
pub fn folder(store: &Path) -> Result<Option<PathBuf>> {
    let of = |variable| std::env::var_os(variable).filter(|path| !path.is_empty());
    let needs_disk = || filesystem::kind(store).network && !filesystem::memory_keeps_attributes();
    let is_local = |path: &Path| path.is_dir() && !filesystem::kind(path).network;
    let (named, tmpdir) = (of(VARIABLE).map(PathBuf::from), of("TMPDIR").map(PathBuf::from));
    chosen(named, tmpdir, needs_disk, is_local)
}

fn chosen(
    named: Option<PathBuf>,
    tmpdir: Option<PathBuf>,
    needs_disk: impl FnOnce() -> bool,
    is_local: impl FnOnce(&Path) -> bool,
) -> Result<Option<PathBuf>> {
    let folder = match (named, tmpdir) {
        (Some(named), _) if !named.is_absolute() => {
            let error = format!("{VARIABLE}={}: not an absolute path", named.display());
            return Err(Error::invalid(error).hint("name a folder of a local disk"));
        }
        (Some(named), _) => Some(named),
        (None, tmpdir) => tmpdir
            .filter(|tmpdir| tmpdir.is_absolute() && needs_disk())
            .filter(|tmpdir| is_local(tmpdir)),
    };
    let uid = rustix::process::geteuid().as_raw();
    Ok(folder.map(|folder| folder.join(format!("usnea-{uid}"))))
}

/// Makes the scratch folder. Errors: the folder belongs to another user, or is a symbolic link of another user.
pub fn make(folder: &Path) -> Result<()> {
    config::open_private(folder)?;
    config::open_private(&folder.join("tmp"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tmpdir_serves_where_neither_memory_nor_the_store_does() {
        let uid = rustix::process::geteuid().as_raw();
        let in_folder = |name: &str| Some(PathBuf::from(format!("{name}/usnea-{uid}")));
        let path = |name: &str| Some(PathBuf::from(name));
        for (named, tmpdir, needs_disk, is_local, expected) in [
            (None, None, true, true, None),
            (None, path("/t"), true, true, in_folder("/t")),
            (None, path("/t"), false, true, None),
            (None, path("/t"), true, false, None),
            (None, path("t"), true, true, None),
            (path("/s"), path("/t"), true, true, in_folder("/s")),
            // A folder that `USNEA_SCRATCH` names is taken, whatever its file system.
            (path("/s"), None, false, false, in_folder("/s")),
        ] {
            let answer = chosen(named.clone(), tmpdir.clone(), || needs_disk, |_| is_local);
            assert_eq!(answer.unwrap(), expected, "{named:?} {tmpdir:?} {needs_disk} {is_local}");
        }
        chosen(path("s"), None, || true, |_| true).unwrap_err();
    }
}
