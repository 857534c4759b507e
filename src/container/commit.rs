//! `usnea commit`: makes an image from a container: the layers of its image, and one layer with its own changes.
//!
//! A container that was not made from an image of the store becomes an image of one layer, as does one of a
//! single-file image, and one with read-only overlays of the user. The config is that of the container's image, with the
//! container's own settings, as in docker.

use std::path::Path;

use oci_spec::runtime::Spec;
use serde_json::{Map, Value, json};

use super::Container;
use super::file_image::FileImage;
use super::freeze::Frozen;
use super::images::NoProgress;
use super::layers::ContainerLayers;
use super::start::config;
use super::stores::{self};
use super::usnea::Usnea;
use crate::config::LayerLimits;
use crate::digest::Digest;
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::image::Reference;
use crate::image::compose::{self, ImageDetails, LayerWriter, NewLayer, ParentImage};
use crate::image::diff::{self, UpperForm, changes_tar, layer_tar, merged_tar};
use crate::image::instruction::ConfigChange;
use crate::image::manifest::{Manifest, ManifestDocument, Platform};
use crate::image::owners::Owners;
use crate::image::pull::ImagePull;
use crate::image::store::{ImageRecord, Store};
use crate::layer::squashfs::ImageFile;
use crate::sys::signal;
use crate::userns::{self};

/// Number of layers of the new image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Squash {
    /// Layers of the container's image, and one more.
    No,
    /// A single layer (`--squash`).
    Yes,
}

/// State of a running container during the commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DuringCommit {
    /// The container runs on.
    Run,
    /// The container is frozen (`--pause`).
    Pause,
}

/// Settings of the new image.
#[derive(Clone, Debug)]
pub struct Commit {
    /// Name of the new image.
    pub name: Option<Reference>,
    /// Author of the new image.
    pub author: Option<String>,
    /// Comment in the image's history.
    pub message: Option<String>,
    /// Further changes of the image's config (`--change`).
    pub changes: Vec<ConfigChange>,
    /// Number of layers.
    pub squash: Squash,
    /// State of the container during the commit.
    pub during: DuringCommit,
}

/// Image that a container was made from.
struct OriginImage {
    /// Store that has the image's layers: the user's own, or a read-only one.
    store: Store,
    manifest: Manifest,
    config: Vec<u8>,
}

/// Makes the image.
pub fn commit(usnea: &Usnea, container: &Container, commit: &Commit) -> Result<ImageRecord> {
    container.refuse_foreground("layer of it can be made an image")?;
    let (spec, _image) = config(container)?;
    let _still = match commit.during {
        DuringCommit::Pause => Frozen::new(container)?,
        DuringCommit::Run => None,
    };
    let layers = ContainerLayers::of(usnea, container, &spec)?;
    let base = usnea.base()?;
    let stores = usnea.images()?;
    let store = stores.own();
    let owners = stores::owners(base, store);
    // A container without a writable layer (`--rw-root`) becomes a single layer with its whole root.
    let origin = match layers.image() {
        Some(file) => origin_in_file(container, file)?,
        // The overlays are no layers of the image.
        None if layers.overlays > 0 => origin(container, Squash::Yes)?,
        None => origin(container, commit.squash)?,
    };
    let origin = origin.filter(|_| layers.upper.is_some());
    let (parent, platform) = parent(origin, container, &spec)?;
    let details = ImageDetails {
        platform,
        created: jiff::Timestamp::now(),
        author: commit.author.clone(),
        message: commit.message.clone(),
        created_by: Some(container.record.command.join(" ")),
        changes: commit.changes.clone(),
    };
    let names: Vec<Reference> = commit.name.iter().cloned().collect();
    let work = || {
        let written = stores::owners_of_containers(base);
        let tmp = store.tmp();
        let layer = layers.in_folders(|shown| layer(shown, &parent, &written, &tmp))?;
        let parent = ParentImage {
            manifest: &parent.manifest,
            config: &parent.config,
            store: &parent.store,
        };
        let name = format!("container {}", container.record.name);
        let source = compose::commit(Some(parent), layer, &details, name)?;
        let pull = ImagePull {
            action: "commit",
            store,
            platform: &details.platform,
            names: &names,
            owners: &owners,
            limits: &LayerLimits::NONE,
            parallel: 1,
            progress: &NoProgress,
            approve: &|_| Ok(()),
        };
        pull.run(&source)
    };
    let made = userns::in_base(base, work)
        .context(|| format!("cannot commit {}", container.record.name))?;
    stores.take_names(store, &names);
    Ok(made)
}

/// Returns the configuration of an image of one layer with the container's root: that of its image, with the
/// container's own settings.
pub(super) fn configuration(
    container: &Container,
    layers: &ContainerLayers,
    spec: &Spec,
) -> Result<String> {
    let origin = match layers.image() {
        Some(file) => origin_in_file(container, file)?,
        None => origin(container, Squash::Yes)?,
    };
    let (image, _) = parent(origin, container, spec)?;
    String::from_utf8(image.config).map_err(Error::new)
}

/// Returns the configuration of an image without settings and layers, for this machine.
pub(super) fn host_configuration() -> Value {
    let host = Platform::host();
    let mut config = json!({
        "os": host.os, "architecture": host.architecture,
        "rootfs": {"type": "layers", "diff_ids": []}, "config": {},
    });
    if let (Some(variant), Some(fields)) = (host.variant, config.as_object_mut()) {
        fields.insert("variant".to_owned(), json!(variant));
    }
    config
}

/// Packs the container's layer, or its whole root. `None`: the container has changed nothing.
fn layer(
    layers: &ContainerLayers,
    parent: &OriginImage,
    owners: &Owners,
    tmp: &Path,
) -> Result<Option<NewLayer>> {
    let writer = || LayerWriter::new(tmp);
    let writer = match &layers.upper {
        _ if parent.manifest.layers.is_empty() => merged_tar(&layers.stack(), owners, writer()?)?,
        None => merged_tar(&layers.stack(), owners, writer()?)?,
        Some((upper, form)) => {
            let changes = diff::changes(upper, *form, &layers.lowers, owners)?;
            match form {
                _ if changes.is_empty() => return Ok(None),
                UpperForm::Changes => layer_tar(upper, owners, writer()?)?,
                UpperForm::Whole => changes_tar(upper, &changes, owners, writer()?)?,
            }
        }
    };
    writer.finish().map(Some)
}

/// Returns the container's image. `None`: the container was not made from an image. Layers of another store are copied
/// to the user's own with the new image: no image may depend on another store.
fn origin(container: &Container, squash: Squash) -> Result<Option<OriginImage>> {
    let Some(manifest) =
        Store::open_read_only(&container.store).used_manifest(&container.folder)?
    else {
        return Ok(None);
    };
    let (from, digest) = store_and_digest(&manifest).ok_or_else(|| {
        Error::new(format!("{} is not the manifest of an image", manifest.display()))
    })?;
    let ManifestDocument::Manifest(mut manifest) =
        ManifestDocument::parse(&from.read_blob(&digest)?, None)?
    else {
        fail!("its image's manifest is an index");
    };
    let mut config = from.read_blob(&manifest.config.digest)?;
    if squash == Squash::Yes {
        manifest.layers.clear();
        config = without_layers(&config)?;
    }
    Ok(Some(OriginImage { store: from, manifest, config }))
}

/// Returns the configuration of a single-file image, without layers: those of the store are not in the file, so that the
/// new image has a single layer with all files. `None`: the file has no configuration.
fn origin_in_file(container: &Container, file: &ImageFile) -> Result<Option<OriginImage>> {
    let Some(trailer) = FileImage::open(&file.path)?.trailer else { return Ok(None) };
    Ok(Some(OriginImage {
        store: Store::open_read_only(&container.store),
        manifest: empty_manifest()?,
        config: without_layers(trailer.configuration.as_bytes())?,
    }))
}

/// Returns the store and the digest of a manifest's blob: `STORE/blobs/ALGORITHM/HEX`.
fn store_and_digest(blob: &Path) -> Option<(Store, Digest)> {
    let (hex, folder) = (blob.file_name()?.to_str()?, blob.parent()?);
    let algorithm = folder.file_name()?.to_str()?;
    let digest = format!("{algorithm}:{hex}").parse().ok()?;
    Some((Store::open_read_only(folder.parent()?.parent()?), digest))
}

fn without_layers(config: &[u8]) -> Result<Vec<u8>> {
    let mut config: Value = serde_json::from_slice(config).map_err(Error::new)?;
    if let Some(fields) = config.as_object_mut() {
        fields.insert("rootfs".to_owned(), json!({"type": "layers", "diff_ids": []}));
        fields.remove("history");
    }
    Ok(config.to_string().into_bytes())
}

/// Returns the parent of the new image, with the container's settings: `origin`, or an empty image.
fn parent(
    origin: Option<OriginImage>,
    container: &Container,
    spec: &Spec,
) -> Result<(OriginImage, Platform)> {
    let host = Platform::host();
    let (store, manifest, config) = match origin {
        Some(origin) => (origin.store, origin.manifest, origin.config),
        None => (
            Store::open_read_only(&container.store),
            empty_manifest()?,
            host_configuration().to_string().into_bytes(),
        ),
    };
    let mut document: Value = serde_json::from_slice(&config).map_err(Error::new)?;
    let fields = document
        .as_object_mut()
        .ok_or_else(|| Error::new("the image's config is no JSON object"))?;
    let text = |name: &str| fields.get(name).and_then(Value::as_str).map(str::to_owned);
    let platform = Platform {
        os: text("os").unwrap_or(host.os),
        architecture: text("architecture").unwrap_or(host.architecture),
        variant: text("variant"),
    };
    let settings = fields.entry("config").or_insert(Value::Null);
    if settings.is_null() {
        *settings = json!({});
    }
    apply_settings(
        settings
            .as_object_mut()
            .ok_or_else(|| Error::new("the image's config is no JSON object"))?,
        container,
        spec,
    );
    Ok((OriginImage { store, manifest, config: document.to_string().into_bytes() }, platform))
}

fn empty_manifest() -> Result<Manifest> {
    let digest = Digest::of(b"");
    let config = json!({"mediaType": crate::image::manifest::media::OCI_CONFIG, "digest": digest.to_string(), "size": 0});
    let manifest = json!({"schemaVersion": 2, "config": config, "layers": []});
    match ManifestDocument::parse(manifest.to_string().as_bytes(), None)? {
        ManifestDocument::Manifest(manifest) => Ok(manifest),
        ManifestDocument::Index(_) => fail!("a manifest is no index"),
    }
}

/// Environment variables that usnea sets in every container.
const OWN: [&str; 4] = ["HOSTNAME", "TERM", "HOME", "container"];

/// Writes the container's settings into an image's config.
fn apply_settings(config: &mut Map<String, Value>, container: &Container, spec: &Spec) {
    let record = &container.record;
    let strings = |value: Option<&Value>| -> Vec<String> {
        let list = value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let of_image = strings(config.get("Entrypoint"));
    let (entrypoint, command) = match record.entrypoint_and_cmd() {
        // Records of older versions lack the entrypoint: it is the image's, if the command begins with that.
        ([], words) => match words.strip_prefix(of_image.as_slice()) {
            Some(rest) => (of_image.as_slice(), rest),
            None => (&[][..], words),
        },
        recorded => recorded,
    };
    for (name, words) in [("Entrypoint", entrypoint), ("Cmd", command)] {
        match words {
            [] => drop(config.remove(name)),
            words => drop(config.insert(name.to_owned(), json!(words))),
        }
    }
    let process = spec.process().as_ref();
    let before = strings(config.get("Env"));
    let env = process.and_then(|process| process.env().clone()).unwrap_or_default();
    let is_kept = |line: &&String| {
        let name = line.split('=').next().unwrap_or_default();
        before.contains(line) || !OWN.contains(&name)
    };
    let env: Vec<&String> = env.iter().filter(is_kept).collect();
    config.insert("Env".to_owned(), json!(env));
    if !record.labels.is_empty() {
        config.insert("Labels".to_owned(), json!(record.labels));
    }
    if let Some(user) = &record.user {
        config.insert("User".to_owned(), json!(user));
    }
    let folder = process.map(|process| process.cwd().display().to_string());
    if let Some(folder) = folder.filter(|folder| folder != "/" || config.contains_key("WorkingDir"))
    {
        config.insert("WorkingDir".to_owned(), json!(folder));
    }
    if record.stop_signal != libc::SIGTERM || config.contains_key("StopSignal") {
        config.insert("StopSignal".to_owned(), json!(signal::name(record.stop_signal)));
    }
    if let Some(health) = &record.health {
        config.insert("Healthcheck".to_owned(), json!(health));
    }
}
