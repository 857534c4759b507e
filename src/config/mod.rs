//! Where usnea keeps its files, and what its settings say.

mod folders;
mod settings;

use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::error::{Context, Error, Result};
use crate::fail;

pub use folders::{cache_folder, data_folder, open_closed, runtime_folder, user_folder};
pub use settings::{Limits, LogLimits, Settings};

/// The folder that holds everything of ours: `--root`, else `$USNEA_ROOT`, else `$XDG_DATA_HOME/usnea`.
/// Errors: none of them is known (no HOME either), or not absolute.
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
            .hint(|| "set HOME, or name a folder with --root or USNEA_ROOT")?,
    };
    if path.is_absolute() {
        return Ok(path);
    }
    std::path::absolute(&path).context(|| format!("cannot tell where {} is", path.display()))
}

/// Opens a folder of ours, made with mode 0700 where it is missing. What is there must be a folder and ours: checked on
/// the descriptor, so that nobody can swap it afterwards. Nobody else may write to it; that others may look into it is its
/// owner's choice (a store of images that a whole machine uses).
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
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(path, flags, Mode::empty())
        .context(|| format!("cannot open {}", path.display()))?;
    let stat =
        rustix::fs::fstat(&folder).context(|| format!("cannot look at {}", path.display()))?;
    let me = rustix::process::geteuid().as_raw();
    if stat.st_uid != me {
        fail!("{} belongs to user {}, not to you ({me})", path.display(), stat.st_uid);
    }
    if stat.st_mode & 0o022 != 0 {
        rustix::fs::fchmod(&folder, Mode::from_raw_mode(stat.st_mode & 0o755))
            .context(|| format!("cannot close {} to other users", path.display()))?;
    }
    Ok(path.to_owned())
}
