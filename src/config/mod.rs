//! Locations of usnea's files, and its settings.

mod folders;
mod node_cache;
mod path_owners;
mod settings;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Context, Error, Result};
use crate::fail;
use crate::hint;

pub use folders::{
    cache_folder, data_folder, open_closed, runtime_folder, runtime_path, user_folder,
};
pub use node_cache::NodeCacheSettings;
pub use path_owners::{refuse_link_of_others, require_sole_control};
pub use settings::{DefaultNetwork, HpcSettings, LayerLimits, LogLimits, Settings};

/// Root folder of the store: `--root`, else `$USNEA_ROOT`, else `$XDG_DATA_HOME/usnea`. Errors: no folder is known (no
/// HOME either), or its absolute path cannot be determined.
pub fn store_path(asked: Option<&Path>) -> Result<PathBuf> {
    let from_environment =
        || std::env::var_os("USNEA_ROOT").filter(|path| !path.is_empty()).map(PathBuf::from);
    let path = match asked.map(Path::to_owned).or_else(from_environment) {
        Some(path) => path,
        None => data_folder()
            .map(|folder| folder.join("usnea"))
            .ok_or_else(|| {
                Error::new("no place to keep files: neither HOME nor a home directory is known")
            })
            .hint(|| hint::NAME_ROOT)?,
    };
    if path.is_absolute() {
        return Ok(path);
    }
    std::path::absolute(&path).context(|| format!("cannot tell where {} is", path.display()))
}

/// Opens a folder of ours, creating a missing one with mode 0700. An existing file must be a folder and ours; a
/// symbolic link must be ours or root's. No other user may write to the folder; its owner may let others read it (a
/// store of images for a whole machine). Returns a path: the parent folders must not be writable by others.
pub fn open_private(path: &Path) -> Result<PathBuf> {
    let make = || std::fs::DirBuilder::new();
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).context(|| format!("cannot make {}", parent.display()))?;
    }
    let mut builder = make();
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(error).context(|| format!("cannot make {}", path.display()));
        }
        _ => {}
    }
    let folder = open_folder(path)?;
    let stat =
        rustix::fs::fstat(&folder).context(|| format!("cannot look at {}", path.display()))?;
    let me = rustix::process::geteuid().as_raw();
    if stat.st_uid != me {
        fail!(Refused: "{} belongs to user {}, not to you ({me})", path.display(), stat.st_uid);
    }
    if stat.st_mode & 0o022 != 0 {
        rustix::fs::fchmod(&folder, Mode::from_raw_mode(stat.st_mode & 0o755))
            .context(|| format!("cannot close {} to other users", path.display()))?;
    }
    Ok(path.to_owned())
}

/// Opens a folder by its path, whose last name may be a symbolic link of ours or of root's. Another user's link could
/// lead us to any folder that is ours.
fn open_folder(path: &Path) -> Result<OwnedFd> {
    let said = || format!("cannot open {}", path.display());
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rustix::fs::open(path, flags | OFlags::NOFOLLOW, Mode::empty()) {
        Err(Errno::LOOP | Errno::NOTDIR) => {}
        answer => return answer.context(said),
    }
    refuse_link_of_others(path)?;
    rustix::fs::open(path, flags, Mode::empty()).context(said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_folder_may_be_a_link_of_the_user_but_a_file_may_not() {
        let top = tempfile::tempdir().unwrap();
        let path = |name: &str| top.path().join(name);
        open_private(&path("folder")).unwrap();
        symlink(path("folder"), path("link")).unwrap();
        assert_eq!(open_private(&path("link")).unwrap(), path("link"));
        symlink(path("none"), path("nothing")).unwrap();
        open_private(&path("nothing")).unwrap_err();
        std::fs::write(path("file"), "").unwrap();
        open_private(&path("file")).unwrap_err();
    }

    #[test]
    fn a_link_of_another_user_is_refused() {
        if !rustix::process::geteuid().is_root() {
            return; // only root can create a link of another user
        }
        let top = tempfile::tempdir().unwrap();
        let (folder, link) = (top.path().join("folder"), top.path().join("link"));
        std::fs::create_dir(&folder).unwrap();
        symlink(&folder, &link).unwrap();
        std::os::unix::fs::lchown(&link, Some(4321), None).unwrap();
        let error = open_private(&link).unwrap_err().to_string();
        assert!(error.contains("is a symbolic link of user 4321"), "{error}");
    }
}
