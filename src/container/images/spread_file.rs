//! Spread of one file among the ranks of a job: rank 0 makes it of an image, or copies it from elsewhere, and all others
//! fetch it from ranks.
//!
//! ```text
//!  registry --pull, merge, compress--+
//!  file ------------------copy-------+--> file of rank 0 --blocks--> temporary store --rename--> file of a rank
//! ```
//!
//! Each rank ends with the same bytes, verified by their digest. The file appears when it is whole. A rank whose file has
//! that digest already fetches nothing.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::pull::{PreparedPull, Pull, warn_of_platform};
use super::pull_file::{FileProgress, TemporaryFolder, pull_to};
use super::save::cannot_save;
use super::spread::SpreadRank;
use super::squashfs::SavedImage;
use crate::container::Usnea;
use crate::container::file_image::{self, FileImage};
use crate::container::stores;
use crate::digest::Digest;
use crate::error::{Context, Result};
use crate::fail;
use crate::files;
use crate::image::Reference;
use crate::image::archive::output::{ArchiveOutput, ArchiveSink};
use crate::image::policy::{ImageOrigin, SignaturePolicy};
use crate::image::pull::{TransferOutcome, fetch_blob};
use crate::image::sif;
use crate::image::spread::{
    FileBlocks, PeerSource, SpreadImage, run_member, run_root, spread_file,
};
use crate::image::squashfs;
use crate::image::store::{HeldBlob, Store};
use crate::image::transport::ImageLocation;
use crate::sys::inode;
use crate::userns;

/// Source of a file that is spread. Rank 0 alone reads it.
#[derive(Clone, Debug)]
pub enum SpreadSource {
    /// Image that rank 0 pulls.
    Image(Box<Pull>),
    /// Single-file image.
    File(PathBuf),
}

impl SpreadSource {
    /// Path of the single-file image that `text` names by a prefix or by its path; `None`: another image. The file need
    /// not exist: the ranks other than 0 do not read it.
    pub fn path_in(text: &str) -> Option<PathBuf> {
        let path = file_image::after_prefix(text);
        path.or_else(|| file_image::is_path(text).then_some(Path::new(text))).map(Into::into)
    }

    /// Name that all ranks have in common.
    fn name(&self) -> String {
        match self {
            Self::Image(pull) => format!("{} as a file", pull.place),
            Self::File(path) => format!("file {}", path.display()),
        }
    }
}

/// File to spread, and the rank of this process.
#[derive(Clone, Debug)]
pub struct FileSpread {
    /// Source of the file.
    pub source: SpreadSource,
    /// Path of the file at this rank.
    pub output: PathBuf,
    /// Rank of this process.
    pub rank: SpreadRank,
}

/// Puts the file to its path, as this rank of the job. Returns when the file is here and no other rank needs this one:
/// the ID of the image, if this rank knows it. Errors: as of a pull; at rank 0 also ranks that never came.
pub fn spread_file_to(
    usnea: &Usnea,
    request: &FileSpread,
    progress: FileProgress<'_>,
) -> Result<Option<Digest>> {
    let sink = ArchiveSink::File(request.output.clone());
    match (&request.source, request.rank.job.rank) {
        (SpreadSource::Image(pull), 0) if request.rank.job.ranks == 1 => {
            pull_to(usnea, pull, &sink, progress, "pull").map(Some)
        }
        (SpreadSource::Image(pull), 0) => spread_image(usnea, request, pull, progress).map(Some),
        (SpreadSource::File(path), 0) => spread_copy(usnea, request, path),
        _ => fetch(usnea, request, progress).map(|()| None),
    }
}

/// Pulls the image, writes its file, and spreads that. Returns the ID of the image.
fn spread_image(
    usnea: &Usnea,
    request: &FileSpread,
    pull: &Pull,
    progress: FileProgress<'_>,
) -> Result<Digest> {
    let base = usnea.base()?;
    let prepared = PreparedPull::new(pull, usnea.existing_images().ok(), "pull")?;
    let owners = stores::owners_of_containers(base);
    let settings = request.rank.settings(request.source.name());
    let sink = ArchiveSink::File(request.output.clone());
    let image = userns::in_base(base, || {
        let file = ArchiveOutput::create(&sink)?;
        let work = TemporaryFolder::new(&sink, &file)?;
        let store = Store::open_temporary(&work.path().join("store"))?;
        run_root(&settings, &store, |root| {
            let image = prepared.run(&store, &owners, progress.pull)?;
            let names = image.names.iter().map(ToString::to_string).collect();
            let saved = SavedImage { store: &store, image: &image, names, owners: &owners };
            saved
                .write(file, work.path(), progress.save)
                .context(|| cannot_save(&image, &image.names.first().cloned(), &sink))?;
            let name = image.names.first().or(image.digests.first());
            let name = name.map_or_else(|| pull.place.to_string(), ToString::to_string);
            root.share_file(&name, open(&request.output)?)?;
            Ok(image)
        })
    })?;
    warn_of_platform(&image, pull.platform.as_ref());
    Ok(image.config)
}

/// Copies the file at `path`, and spreads the copy. Returns the ID of the image, if the file has a configuration. Errors:
/// no single-file image; the signature policy rejects the file.
fn spread_copy(usnea: &Usnea, request: &FileSpread, path: &Path) -> Result<Option<Digest>> {
    let image = FileImage::open(path)?;
    image.approve_sending(&SignaturePolicy::load()?)?;
    let id = image.trailer.as_ref().map(|trailer| Digest::of(trailer.configuration.as_bytes()));
    let (source, output) = (open(path)?, &request.output);
    let settings = request.rank.settings(request.source.name());
    userns::in_base(usnea.base()?, || {
        let copied = ArchiveOutput::create(&ArchiveSink::File(output.clone()))?;
        let work = TemporaryFolder::beside(output)?;
        let share = || {
            copy(&source, output, copied).context(|| format!("cannot copy {}", path.display()))?;
            open(output)
        };
        if request.rank.job.ranks == 1 {
            return share().map(drop);
        }
        let store = Store::open_temporary(&work.path().join("store"))?;
        run_root(&settings, &store, |root| root.share_file(&request.source.name(), share()?))
    })?;
    Ok(id)
}

/// Copies a file, unless it has the destination's name too.
fn copy(mut source: &File, output: &Path, mut copied: ArchiveOutput) -> Result<()> {
    if files::leads_to(output, source) {
        return Ok(());
    }
    io::copy(&mut source, &mut copied)
        .map_err(|error| files::cannot_write_output(error, output))?;
    copied.put()
}

/// Fetches the file from other ranks.
fn fetch(usnea: &Usnea, request: &FileSpread, progress: FileProgress<'_>) -> Result<()> {
    let policy = match &request.source {
        SpreadSource::Image(pull) => pull.signature_policy.as_deref(),
        SpreadSource::File(_) => None,
    };
    let policy = policy.map_or_else(SignaturePolicy::load, SignaturePolicy::load_from)?;
    let settings = request.rank.settings(request.source.name());
    userns::in_base(usnea.base()?, || {
        let mode = mode_of_new(&request.output)?;
        let work = TemporaryFolder::beside(&request.output)?;
        let store = Store::open_temporary(&work.path().join("store"))?;
        run_member(&settings, &store, |source, image| {
            request.check_policy(&policy, image)?;
            let present = receive(source, &store, &request.output, progress)?;
            present.map_or(Ok(()), |file| put(&file, &store, &request.output, mode))
        })
    })
}

/// Returns the mode of a new file of this user at `path`. Errors: none can be made there; the path of a device or a pipe.
fn mode_of_new(path: &Path) -> Result<u32> {
    let output = ArchiveOutput::create(&ArchiveSink::File(path.to_owned()))?;
    match output.file() {
        Some(file) => Ok(file.metadata()?.mode()),
        None => fail!(Invalid: "{} is no regular file", path.display()),
    }
}

impl FileSpread {
    /// Applies this rank's policy. Rank 0 has verified signatures.
    fn check_policy(&self, policy: &SignaturePolicy, image: &SpreadImage) -> Result<()> {
        let origin = match &self.source {
            SpreadSource::Image(pull) if matches!(pull.place, ImageLocation::Registry(_)) => {
                ImageOrigin::registry(&image.reference.parse::<Reference>()?)
            }
            // An archive that rank 0 alone reads.
            SpreadSource::Image(_) => return Ok(()),
            SpreadSource::File(path) => {
                let transport = match sif::open_at(path) {
                    Some(_) => sif::TRANSPORT,
                    None => squashfs::TRANSPORT,
                };
                let origin = ImageOrigin::local(transport, path, None)?;
                return policy.verify_in_file(&origin, &|_| Ok(())).map(drop);
            }
        };
        policy.check_before(&origin)
    }
}

/// File in the temporary store.
struct ReceivedFile {
    digest: Digest,
    held: HeldBlob,
}

/// Receives the file into the store. `None`: it is at `output` already.
fn receive(
    source: &PeerSource,
    store: &Store,
    output: &Path,
    progress: FileProgress<'_>,
) -> Result<Option<ReceivedFile>> {
    let file = spread_file(source)?;
    let progress = progress.pull;
    progress.layers(&[(file.digest.short().to_owned(), file.size)]);
    if let Some(present) = with_size(output, file.size)
        && FileBlocks::read(&present, file.size).is_ok_and(|found| found.digest == file.digest)
    {
        source.share_file(&file.digest, present, file.size);
        progress.done(0, TransferOutcome::AlreadyPresent);
        return Ok(None);
    }
    let on_progress = |bytes| progress.transferred(0, bytes);
    let held = fetch_blob(store, source, &file, &on_progress, &|| progress.waiting(Some(0)))?;
    progress.done(0, TransferOutcome::Transferred);
    Ok(Some(ReceivedFile { digest: file.digest, held }))
}

/// Moves the file from the store to `output`. Other ranks are served from the open file.
fn put(file: &ReceivedFile, store: &Store, output: &Path, mode: u32) -> Result<()> {
    let moved = || {
        inode::change_mode(&file.held.file, mode & 0o777)?;
        file.held.file.sync_all()?;
        std::fs::rename(store.blob_path(&file.digest), output)
    };
    moved().map_err(|error: io::Error| files::cannot_write_output(error, output))
}

/// Opens a regular file of this size; `None`: there is none.
fn with_size(path: &Path, size: u64) -> Option<File> {
    let is_it = path.metadata().is_ok_and(|found| found.is_file() && found.len() == size);
    is_it.then(|| File::open(path).ok()).flatten()
}

fn open(path: &Path) -> Result<File> {
    File::open(path).context(|| format!("cannot open {}", path.display()))
}
