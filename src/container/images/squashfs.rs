//! Image as a squashfs file: its layers merged, with its configuration behind the file system.

use std::fs::File;
use std::io::{self, Seek};
use std::num::NonZeroUsize;
use std::path::Path;

use super::unpacked::UnpackedImage;
use crate::container::Usnea;
use crate::container::stores;
use crate::digest::Digest;
use crate::error::{Context, Error, Result};
use crate::files;
use crate::image::Reference;
use crate::image::archive::output::{ArchiveOutput, ArchiveSink};
use crate::image::pull::{TransferOutcome, TransferProgress};
use crate::image::squashfs::{ImageTrailer, NewSquashfs, OutputFile};
use crate::image::store::{ImageRecord, Store};
use crate::userns;

/// Image to save.
pub(super) struct NamedImage {
    /// Store that has the image.
    pub(super) store: Store,
    /// Record of the image.
    pub(super) image: ImageRecord,
    /// Name in the archive.
    pub(super) name: Option<Reference>,
}

/// Writes the image to `output`. A pipe gets the file when it is whole: the superblock is written last.
pub(super) fn save(
    usnea: &Usnea,
    NamedImage { store, image, name }: &NamedImage,
    output: &ArchiveSink,
    progress: &dyn TransferProgress,
) -> Result<()> {
    let stores = usnea.images()?;
    let base = usnea.base()?;
    let owners = stores::owners(base, store);
    let work = stores.own().work_folder()?;
    userns::in_base(base, || {
        let output = ArchiveOutput::create(output)?;
        let unpacked = UnpackedImage::of(store, image, &owners)?;
        let trailer = ImageTrailer {
            configuration: document(store, &image.config)?,
            manifest: document(store, &image.manifest)?,
            names: name.iter().map(ToString::to_string).collect(),
        };
        progress.layers(&[(image.config.short().to_owned(), image.size())]);
        let squashfs = NewSquashfs {
            layers: &unpacked.folders(),
            owners: &owners,
            time: image.created.map_or(0, |created| created.as_second()),
            trailer: &trailer,
            jobs: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            progress: &|bytes| progress.transferred(0, bytes),
        };
        write(&squashfs, output, work.path())?;
        progress.done(0, TransferOutcome::Transferred);
        Ok(())
    })
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
