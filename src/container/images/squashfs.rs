//! Images as squashfs files: the layers merged, with the image's configuration behind the file system.

use std::fs::File;
use std::io::{self, Seek};
use std::num::NonZeroUsize;
use std::path::Path;

use super::save::{self, NamedImage};
use super::unpacked::UnpackedImage;
use crate::container::Usnea;
use crate::container::stores;
use crate::digest::Digest;
use crate::error::{Context, Error, Result};
use crate::files;
use crate::image::archive::output::{ArchiveOutput, ArchiveSink};
use crate::image::diff::LayerSource;
use crate::image::manifest::Platform;
use crate::image::owners::Owners;
use crate::image::pull::{TransferOutcome, TransferProgress};
use crate::image::squashfs::{ImageTrailer, NewSquashfs, OutputFile};
use crate::image::store::{ImageRecord, Store};
use crate::userns;

/// Image of a store that is written to a file. All is done in the base namespace.
pub(super) struct SavedImage<'a> {
    /// Store that has the image.
    pub(super) store: &'a Store,
    /// Record of the image.
    pub(super) image: &'a ImageRecord,
    /// Names in the file.
    pub(super) names: Vec<String>,
    /// Form of the layers' owners.
    pub(super) owners: &'a Owners,
}

impl SavedImage<'_> {
    /// Writes the file, by way of the folder `tmp` if the output is a pipe.
    pub(super) fn write(
        self,
        output: ArchiveOutput,
        tmp: &Path,
        progress: &dyn TransferProgress,
    ) -> Result<()> {
        let Self { store, image, names, owners } = self;
        let unpacked = UnpackedImage::of(store, image, owners)?;
        let trailer = ImageTrailer {
            configuration: document(store, &image.config)?,
            manifest: document(store, &image.manifest)?,
            names,
        };
        let files = MergedFiles {
            layers: &unpacked.folders(),
            owners,
            time: image.created.map_or(0, |created| created.as_second()),
            trailer: &trailer,
            name: image.config.short(),
            size: image.size(),
        };
        files.write(output, tmp, progress)
    }
}

/// Layers that are written to a file. All is done in the base namespace.
pub(in crate::container) struct MergedFiles<'a> {
    /// Layers, the topmost first.
    pub(in crate::container) layers: &'a [LayerSource],
    /// Form of the layers' owners.
    pub(in crate::container) owners: &'a Owners,
    /// Time of the root, in seconds since 1970.
    pub(in crate::container) time: i64,
    /// Part behind the file system.
    pub(in crate::container) trailer: &'a ImageTrailer,
    /// Name in the progress.
    pub(in crate::container) name: &'a str,
    /// Bytes of all files, for the progress; 0: unknown.
    pub(in crate::container) size: u64,
}

impl MergedFiles<'_> {
    /// Writes the file. A pipe gets it when it is whole, by way of the folder `tmp`: the superblock is written last.
    pub(in crate::container) fn write(
        &self,
        output: ArchiveOutput,
        tmp: &Path,
        progress: &dyn TransferProgress,
    ) -> Result<()> {
        progress.layers(&[(self.name.to_owned(), self.size)]);
        let squashfs = NewSquashfs {
            layers: self.layers,
            owners: self.owners,
            time: self.time,
            trailer: self.trailer,
            jobs: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            progress: &|bytes| progress.transferred(0, bytes),
        };
        write(&squashfs, output, tmp)?;
        progress.done(0, TransferOutcome::Transferred);
        Ok(())
    }
}

/// Writes the image of a store that `text` names to `output`. Errors: an unknown image; the output is a terminal.
pub(in crate::container) fn save_squashfs(
    usnea: &Usnea,
    text: &str,
    platform: Option<&Platform>,
    output: &ArchiveSink,
    progress: &dyn TransferProgress,
) -> Result<()> {
    let stores = usnea.images()?;
    let base = usnea.base()?;
    let NamedImage { store, image, name } = save::find(stores, text, platform)?;
    let owners = stores::owners(base, &store);
    let work = stores.own().work_folder()?;
    let names = name.iter().map(ToString::to_string).collect();
    let write = || {
        let file = SavedImage { store: &store, image: &image, names, owners: &owners };
        file.write(ArchiveOutput::create(output)?, work.path(), progress)
    };
    userns::in_base(base, write).context(|| save::cannot_save(&image, &name, output))?;
    let name = name.as_ref().map(ToString::to_string);
    super::log_image_event(stores, &image.config, "save", name);
    Ok(())
}

fn document(store: &Store, digest: &Digest) -> Result<String> {
    let bytes = store.read_blob(digest)?;
    String::from_utf8(bytes).map_err(|_| Error::new(format!("{digest} is no text")))
}

/// Writes the file to its destination, or to an unnamed file in `tmp` that is then copied.
fn write(squashfs: &NewSquashfs<'_>, mut output: ArchiveOutput, tmp: &Path) -> Result<()> {
    if let Some(file) = output.file() {
        let path = output.path();
        let unwritable = |error| files::cannot_write_output(error, path);
        squashfs.write(OutputFile { file, unwritable: &unwritable })?;
        return output.put();
    }
    let unwritable = |error| files::cannot_write(error, tmp);
    let mut file: File = tempfile::tempfile_in(tmp).map_err(unwritable)?;
    squashfs.write(OutputFile { file: &file, unwritable: &unwritable })?;
    file.rewind().context(|| "cannot read it back")?;
    let copied = io::copy(&mut file, &mut output);
    copied.context(|| format!("cannot write {}", output.path().display()))?;
    output.put()
}
