//! `usnea pull --to`: an image from its source into one squashfs file, past the user's store.
//!
//! ```text
//!  source --pull--> store in a temporary folder --merge, compress--> file
//! ```
//!
//! The store need not exist, and is not written to. The temporary folder has the packed and the unpacked layers. A
//! process of its own removes the folder and the unfinished file, however this command ends. If that process is killed
//! too, the next command with the same temporary folder removes the remains.

use std::iter;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::pull::{PreparedPull, Pull, warn_of_platform};
use super::save::cannot_save;
use super::squashfs::SavedImage;
use crate::container::Usnea;
use crate::container::stores;
use crate::digest::Digest;
use crate::error::{Context, Result};
use crate::files::{self, FileRemover, NewFolder};
use crate::image::archive::output::{ArchiveOutput, ArchiveSink};
use crate::image::pull::TransferProgress;
use crate::image::store::Store;
use crate::userns;

/// Prefix of temporary folders.
const PREFIX: &str = "usnea-file-";

/// Receivers of progress reports.
#[derive(Clone, Copy)]
pub struct FileProgress<'a> {
    /// Transfer of the layers.
    pub pull: &'a dyn TransferProgress,
    /// Writing of the file.
    pub save: &'a dyn TransferProgress,
}

/// Writes the image of `pull` to `output`, as `usnea save` writes the pulled image. Returns its ID. `action`: verb for
/// error messages. Errors: as of a pull; the output is a terminal.
pub fn pull_to(
    usnea: &Usnea,
    pull: &Pull,
    output: &ArchiveSink,
    progress: FileProgress<'_>,
    action: &'static str,
) -> Result<Digest> {
    let base = usnea.base()?;
    // A store that cannot be read has no names that would come before those of registries.
    let prepared = PreparedPull::new(pull, usnea.existing_images().ok(), action)?;
    let owners = stores::owners_of_containers(base);
    let image = userns::in_base(base, || {
        let file = ArchiveOutput::create(output)?;
        let work = TemporaryFolder::new(output, &file)?;
        let store = Store::open_temporary(&work.path().join("store"))?;
        let image = prepared.run(&store, &owners, progress.pull)?;
        let names = image.names.iter().map(ToString::to_string).collect();
        let source = SavedImage { store: &store, image: &image, names, owners: &owners };
        source
            .write(file, work.path(), progress.save)
            .context(|| cannot_save(&image, &image.names.first().cloned(), output))?;
        Ok(image)
    })?;
    warn_of_platform(&image, pull.platform.as_ref());
    Ok(image.config)
}

/// Folder for the temporary files of one command, in `$TMPDIR`, else beside the output.
pub(super) struct TemporaryFolder {
    folder: NewFolder,
    _remover: FileRemover,
}

impl TemporaryFolder {
    /// Makes a folder for `output`, an unfinished file, which the remover knows too.
    pub(super) fn new(sink: &ArchiveSink, output: &ArchiveOutput) -> Result<Self> {
        let parent = parent(sink);
        sweep(&parent);
        let path = NewFolder::unused_path(&parent, PREFIX);
        let unfinished = output.temporary_name();
        Self::watched(
            path.clone(),
            &iter::once(path.as_path()).chain(unfinished).collect::<Vec<_>>(),
        )
    }

    /// Makes a folder in that of the file `output`, for files that are renamed to it.
    pub(super) fn beside(output: &Path) -> Result<Self> {
        let parent = folder_of(output);
        sweep(&parent);
        let path = NewFolder::unused_path(&parent, PREFIX);
        Self::watched(path.clone(), &[&path])
    }

    /// Makes the folder `path` once the process runs that removes `paths`: this one may be killed at any moment.
    fn watched(path: PathBuf, paths: &[&Path]) -> Result<Self> {
        let remover = FileRemover::start(paths)?;
        Ok(Self { folder: NewFolder::at(path)?, _remover: remover })
    }

    /// Path of the folder.
    pub(super) fn path(&self) -> &Path {
        &self.folder.path
    }
}

/// Returns the folder for temporary folders. /tmp may be in memory: an image is larger than most temporary files.
fn parent(sink: &ArchiveSink) -> PathBuf {
    let given = std::env::var_os("TMPDIR").filter(|folder| !folder.is_empty());
    match (given, sink) {
        (Some(folder), _) => folder.into(),
        (None, ArchiveSink::File(path)) if path.metadata().is_ok_and(|file| !file.is_file()) => {
            std::env::temp_dir()
        }
        (None, ArchiveSink::File(path)) => folder_of(path),
        (None, ArchiveSink::Stream(_)) => std::env::temp_dir(),
    }
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => ".".into(),
    }
}

/// Removes what killed commands of this user have left in a folder that other users may write to.
fn sweep(folder: &Path) {
    let me = rustix::process::geteuid().as_raw();
    let is_ours = |path: &Path| path.symlink_metadata().is_ok_and(|folder| folder.uid() == me);
    files::sweep_if(folder, &[PREFIX], is_ours);
}
