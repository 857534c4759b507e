//! Single-file images in the verbs of images: their document, and their files as an archive.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::NoProgress;
use super::config_document::{self, manifest_facts_of};
use super::pull_file::TemporaryFolder;
use super::sent_file::{SentFile, no_configuration};
use super::squashfs::MergedFiles;
use super::unpacked::UnpackedImage;
use crate::config::LayerLimits;
use crate::container::Usnea;
use crate::container::file_image::FileImage;
use crate::container::stores;
use crate::digest::Digest;
use crate::documents::graph_driver::GraphDriver;
use crate::documents::image::{ImageDocument, RootFsDocument};
use crate::engine;
use crate::error::{Context, Error, Result};
use crate::go_json::field;
use crate::image::archive::output::{ArchiveOutput, ArchiveSink};
use crate::image::compose::NewLayerForm;
use crate::image::diff::{LayerSource, merged_tar};
use crate::image::manifest::{Platform, parse_config};
use crate::image::policy::SignaturePolicy;
use crate::image::pull::{ImagePull, TransferProgress};
use crate::image::store::Store;
use crate::layer::{LayerFolder, LowerLayer};
use crate::userns;

/// Returns the document of the image in the file at `path`. Errors: no image; one without a configuration.
pub(super) fn inspect(path: &Path) -> Result<ImageDocument> {
    let image = FileImage::open(path)?;
    document(&image).context(|| format!("image {}", path.display()))
}

fn document(image: &FileImage) -> Result<ImageDocument> {
    let trailer = image.trailer.as_ref().ok_or_else(no_configuration)?;
    let bytes = trailer.configuration.as_bytes();
    let config: Value = serde_json::from_slice(bytes).map_err(Error::new)?;
    let layers = field(&config, "rootfs").and_then(|rootfs| field(rootfs, "diff_ids"));
    let count = layers.and_then(Value::as_array).map_or(0, Vec::len);
    let (parsed, layers) = parse_config(bytes, count)?;
    let platform = parsed.platform();
    let (manifest_type, annotations) = match trailer.manifest.is_empty() {
        true => (String::new(), BTreeMap::new()),
        false => manifest_facts_of(trailer.manifest.as_bytes())?,
    };
    let size = image.size;
    let path = image.path.display().to_string();
    let graph_driver = GraphDriver { name: "squashfs", data: BTreeMap::from([("File", path)]) };
    let manifest = Digest::of(trailer.manifest.as_bytes());
    let of_config = config_document::document(&config, Digest::of(bytes), manifest, graph_driver)?;
    Ok(ImageDocument {
        repo_tags: trailer.names.clone(),
        created: parsed.created.unwrap_or_default(),
        architecture: platform.architecture,
        variant: platform.variant.unwrap_or_default(),
        os: platform.os,
        size,
        virtual_size: size,
        root_fs: RootFsDocument { r#type: "layers", layers },
        manifest_type,
        annotations,
        names_history: trailer.names.clone(),
        ..of_config
    })
}

/// Writes the image in the file at `path` to `output`, as a squashfs file: a SIF file, or a squashfs file of another
/// program, becomes one that usnea would write. The layers are unpacked into a temporary store, which keeps owners that
/// this user has no ID for. Errors: the signature policy rejects the file.
pub(in crate::container) fn save_file(
    usnea: &Usnea,
    path: &Path,
    platform: Option<&Platform>,
    output: &ArchiveSink,
    progress: &dyn TransferProgress,
) -> Result<()> {
    let base = usnea.base()?;
    let owners = stores::owners_of_containers(base);
    let source = SentFile::open(path, platform)?;
    let trailer = source.file.trailer.as_ref().ok_or_else(no_configuration)?;
    let top = source.file.layers.first().cloned().map(LowerLayer::Image);
    let time = top.map(|layer| Ok::<_, Error>(layer.open()?.own_stat()?.st_mtime)).transpose()?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    userns::in_base(base, || {
        let file = ArchiveOutput::create(output)?;
        let work = TemporaryFolder::new(output, &file)?;
        let store = Store::open_temporary(&work.path().join("store"))?;
        let composed = source.compose(&store.tmp(), NewLayerForm::Plain)?;
        let unpack = ImagePull {
            action: "unpack",
            store: &store,
            platform: &Platform::host(),
            names: &[],
            owners: &owners,
            limits: &LayerLimits::NONE,
            parallel: 2,
            progress: &NoProgress,
            approve: &|_| Ok(()),
        };
        let image = unpack.run(&composed)?;
        let unpacked = UnpackedImage::of(&store, &image, &owners)?;
        let files = MergedFiles {
            layers: &unpacked.folders(),
            owners: &owners,
            time: time.unwrap_or_default(),
            trailer,
            name: &name,
            size: image.size(),
        };
        files.write(file, work.path(), progress)
    })
    .context(|| format!("cannot save {} to {}", path.display(), output.path().display()))
}

/// Writes the files of the image in the file at `path` to `output` as a tar archive. Errors: the signature policy rejects
/// the file.
pub(super) fn export(usnea: &Usnea, path: &Path, output: &ArchiveSink) -> Result<()> {
    let base = usnea.base()?;
    let owners = stores::owners_of_containers(base);
    let image = FileImage::open(path)?;
    let cannot_export = || format!("cannot export {}", path.display());
    image.approve_sending(&SignaturePolicy::load()?).context(cannot_export)?;
    let layers: Vec<_> = image.layers.into_iter().map(LowerLayer::Image).collect();
    userns::in_base(base, || {
        let write = |folders: &[std::path::PathBuf]| {
            // In the mount namespace of the folders: no file gets its name across two of them.
            let output = ArchiveOutput::create(output)?;
            let folders = folders.iter().zip(&layers).map(|(folder, layer)| LayerSource {
                image: layer.image().cloned(),
                ..LayerSource::from(folder.clone())
            });
            let folders: Vec<LayerSource> = folders.collect();
            merged_tar(&folders, &owners, output)?.put()
        };
        engine::with_lower_folders(&layers, write)
    })
    .context(cannot_export)
}
