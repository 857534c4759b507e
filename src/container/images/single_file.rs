//! Single-file images in the verbs of images: their document, and their files as an archive.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::config_document::{self, manifest_facts_of};
use crate::container::Usnea;
use crate::container::file_image::FileImage;
use crate::container::stores;
use crate::digest::Digest;
use crate::documents::graph_driver::GraphDriver;
use crate::documents::image::{ImageDocument, RootFsDocument};
use crate::engine;
use crate::error::{Context, Error, Result};
use crate::go_json::field;
use crate::hint;
use crate::image::archive::output::{ArchiveOutput, ArchiveSink};
use crate::image::diff::{LayerSource, merged_tar};
use crate::image::manifest::parse_config;
use crate::layer::LowerLayer;
use crate::userns;

/// Returns the document of the image in the file at `path`. Errors: no image; one without a configuration.
pub(super) fn inspect(path: &Path) -> Result<ImageDocument> {
    let image = FileImage::open(path)?;
    document(&image).context(|| format!("image {}", path.display()))
}

fn document(image: &FileImage) -> Result<ImageDocument> {
    let trailer = image.trailer.as_ref().ok_or_else(|| {
        Error::not_found("the file has no image configuration").hint(hint::SAVE_SQUASHFS)
    })?;
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
    let size = image.file.identity.map_or(0, |identity| identity.size);
    let path = image.file.path.display().to_string();
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

/// Writes the files of the image in the file at `path` to `output` as a tar archive.
pub(super) fn export(usnea: &Usnea, path: &Path, output: &ArchiveSink) -> Result<()> {
    let base = usnea.base()?;
    let owners = stores::owners_of_containers(base);
    let layers = [LowerLayer::Image(FileImage::open(path)?.file)];
    userns::in_base(base, || {
        let output = ArchiveOutput::create(output)?;
        let write = |folders: &[std::path::PathBuf]| {
            let folders: Vec<LayerSource> = folders.iter().cloned().map(Into::into).collect();
            merged_tar(&folders, &owners, output)
        };
        engine::with_lower_folders(&layers, write)?.put()
    })
    .context(|| format!("cannot export {}", path.display()))
}
