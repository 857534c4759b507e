//! SIF files of singularity and apptainer: location of their squashfs file systems, and their configuration.
//!
//! ```text
//!  format   header, descriptors              scripts   runscript and environment as entrypoint and command
//!  oci      image of an OCI-SIF               integrity  signatures
//! ```
//!
//! A file has one primary system partition, or in an OCI-SIF a file system for each layer. Nothing is copied: readers
//! start at the file system's offset. The file may come from anyone: offsets, counts and digests are checked, and
//! documents read with limits. Signatures are verified where the signature policy requires one. Overlay partitions with squashfs are layers above the root;
//! those with ext3, which apptainer writes to, are ignored with a warning.

mod format;
mod integrity;
mod oci;
mod scripts;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use serde_json::{Value, json};

use self::format::{MAGIC, MAGIC_AT, PartitionFacts, SifKind, SifObject, SifTable};
use self::scripts::ImageScripts;
use super::manifest::Platform;
use super::policy::{FileApproval, FileKeys, ImageOrigin, SignaturePolicy};
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::hint;
use crate::layer::squashfs::{CacheLimits, SquashfsImage};

/// Transport of SIF files in signature policies.
pub const TRANSPORT: &str = "sif";

/// Most bytes of labels, of a definition file and of an environment.
const LONGEST_TEXT: u64 = 1 << 20;
/// Use of a partition: the root file system of containers.
const PRIMARY: i32 = 2;
/// Type of a partition's file system.
const SQUASHFS: i32 = 1;
/// Type of a partition's file system.
const EXT3: i32 = 2;
/// Use of a partition: changes over the root file system.
const OVERLAY: i32 = 4;

/// Part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SifPart {
    /// Offset in the file, in bytes.
    pub offset: u64,
    /// Length in bytes.
    pub size: u64,
}

/// Image in a SIF file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SifImage {
    /// Squashfs file systems of the root, the topmost first: one, but for an OCI-SIF with several layers.
    pub layers: Vec<SifPart>,
    /// Squashfs file systems of overlay partitions, above `layers`, the topmost first.
    pub overlays: Vec<SifPart>,
    /// Architecture of the programs by Go's name; `None`: unknown.
    pub architecture: Option<String>,
    /// OCI configuration, in JSON: that of an OCI-SIF, else one of the scripts and the labels in the file.
    pub configuration: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Definition file that the image was built from.
    pub definition: Option<String>,
    /// Environment variables that were stored apart from the root.
    pub environment: Option<String>,
    table: SifTable,
    /// IDs of the objects that make up all but the overlays.
    objects: BTreeSet<u32>,
    overlay_objects: BTreeSet<u32>,
}

/// Parts of a file that are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SifUse {
    /// The root, and the configuration.
    Root,
    /// The overlays too.
    RootAndOverlays,
}

/// True if a file begins as SIF does.
pub fn is_sif(file: &File) -> bool {
    let mut magic = [0; MAGIC.len()];
    file.read_exact_at(&mut magic, MAGIC_AT).is_ok() && magic == MAGIC
}

/// Opens the SIF file at `path`. `None`: the path leads to no such file.
pub fn open_at(path: &Path) -> Option<File> {
    // A FIFO must not make us wait.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).ok().map(File::from)?;
    let is_regular = file.metadata().is_ok_and(|metadata| metadata.is_file());
    (is_regular && is_sif(&file)).then_some(file)
}

/// Applies a signature policy to the SIF file at `path`, of which the file system at `offset` is used. Errors: as of
/// [`SifImage::approve`]; where a signature is required, no data object at the offset.
pub fn approve_part(policy: &SignaturePolicy, file: &File, path: &Path, offset: u64) -> Result<()> {
    let table = SifTable::read(file)?;
    let verify = |keys: &FileKeys| {
        let mut objects = table.objects.iter().filter(|object| object.offset == offset);
        let Some(object) = objects.find(|object| object.kind != SifKind::Signature) else {
            fail!(Refused: "no data object of the file begins at byte {offset}");
        };
        open_part(file, object.part())?;
        integrity::verify(file, &table, &BTreeSet::from([object.id]), keys)
    };
    table.approve(policy, path, &verify)
}

impl SifImage {
    /// Reads the image of an open file. Errors: a damaged file; a root file system that is encrypted, or no squashfs.
    pub fn open(file: &File) -> Result<Self> {
        let table = SifTable::read(file)?;
        let labels = labels(file, &table);
        let text = |kind| {
            let bytes =
                table.of(kind).next().and_then(|object| object.read(file, LONGEST_TEXT).ok());
            bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        };
        let (definition, environment) = (text(SifKind::DefinitionFile), text(SifKind::Environment));
        let texts = [SifKind::Labels, SifKind::DefinitionFile, SifKind::Environment];
        let texts = texts.into_iter().filter_map(|kind| table.of(kind).next());
        let mut objects: BTreeSet<u32> = texts.map(|object| object.id).collect();
        let indexes: Vec<&SifObject> = table.of(SifKind::OciIndex).collect();
        let (layers, architecture, configuration) = match indexes[..] {
            [] => {
                let (object, architecture) = primary(&table)?;
                objects.insert(object.id);
                let part = object.part();
                let image = open_part(file, part)?;
                let configuration = configuration(architecture, &labels, &image);
                (vec![part], architecture.map(str::to_owned), configuration)
            }
            [index] => {
                let content = oci::read(file, &table, index)?;
                for part in &content.layers {
                    open_part(file, *part)?;
                }
                objects.extend(content.objects);
                (content.layers, Some(content.architecture), content.configuration)
            }
            _ => fail!(Invalid: "it has {} OCI indexes", indexes.len()),
        };
        let overlays = overlays(file, &table)?;
        Ok(Self {
            layers,
            overlay_objects: overlays.iter().map(|object| object.id).collect(),
            overlays: overlays.into_iter().map(SifObject::part).collect(),
            architecture,
            configuration,
            labels,
            definition,
            environment,
            table,
            objects,
        })
    }

    /// Offsets of the layers, the topmost first.
    pub fn offsets(&self) -> Vec<u64> {
        self.layers.iter().map(|layer| layer.offset).collect()
    }

    /// The only file system of the root. Errors: several, of the layers of an OCI-SIF.
    pub fn root(&self) -> Result<SifPart> {
        match self.layers[..] {
            [root] => Ok(root),
            _ => Err(Error::invalid(format!(
                "it has {} layers, each a file system of its own",
                self.layers.len()
            ))
            .hint(hint::SQUASH_SIF)),
        }
    }

    /// Applies a signature policy to the file at `path`, which `file` is open on. Verifies the signatures of all that is
    /// used, where the policy requires one: that reads the file to its end. Warns of signatures that are not verified.
    /// Errors: the policy rejects the file; a part without a valid signature.
    pub fn approve(
        &self,
        policy: &SignaturePolicy,
        file: &File,
        path: &Path,
        parts: SifUse,
    ) -> Result<()> {
        let mut used = self.objects.clone();
        if parts == SifUse::RootAndOverlays {
            used.extend(&self.overlay_objects);
        }
        let verify = |keys: &FileKeys| integrity::verify(file, &self.table, &used, keys);
        self.table.approve(policy, path, &verify)
    }

    /// True if the file has signatures.
    pub fn is_signed(&self) -> bool {
        self.table.is_signed()
    }

    /// Warns of overlays, for a use of the root alone.
    pub fn warn_of_overlays(&self) {
        if !self.overlays.is_empty() {
            log::warn!("the overlay partition of the SIF file is left out");
        }
    }
}

impl SifTable {
    /// Applies a signature policy to the file at `path`. Warns of signatures that are not verified.
    fn approve(
        &self,
        policy: &SignaturePolicy,
        path: &Path,
        verify: &dyn Fn(&FileKeys) -> Result<()>,
    ) -> Result<()> {
        let origin = ImageOrigin::local(TRANSPORT, path, None)?;
        if policy.verify_in_file(&origin, verify)? == FileApproval::Unverified && self.is_signed() {
            log::warn!("{}: signatures not verified", path.display());
        }
        Ok(())
    }

    fn is_signed(&self) -> bool {
        self.of(SifKind::Signature).next().is_some()
    }
}

/// Finds the primary system partition, and its architecture. Errors: none, several, or one that cannot be read.
fn primary(table: &SifTable) -> Result<(&SifObject, Option<&'static str>)> {
    let all = table.of(SifKind::Partition).map(|object| (object, object.partition()));
    let mut all = all.filter(|(_, facts)| facts.purpose == PRIMARY);
    let Some((object, facts)) = all.next() else {
        fail!(Invalid: "it has no primary system partition");
    };
    if all.next().is_some() {
        fail!(Invalid: "it has several primary system partitions");
    }
    check_filesystem(facts)?;
    Ok((object, facts.architecture.or(table.architecture)))
}

fn check_filesystem(facts: PartitionFacts) -> Result<()> {
    match facts.filesystem {
        SQUASHFS => Ok(()),
        EXT3 => {
            Err(Error::invalid("its root file system is ext3, not squashfs")
                .hint(hint::CONVERT_SIF))
        }
        5 | 6 => {
            Err(Error::invalid("its root file system is encrypted, and usnea cannot decrypt it")
                .hint(hint::DECRYPT_SIF))
        }
        other => fail!(Invalid: "its root file system is of type {other}, not squashfs"),
    }
}

/// Finds the squashfs file systems of overlay partitions, the topmost first. Warns of others. Errors: a damaged one.
fn overlays<'a>(file: &File, table: &'a SifTable) -> Result<Vec<&'a SifObject>> {
    let mut found = Vec::new();
    let all = table.of(SifKind::Partition).map(|object| (object, object.partition()));
    for (object, facts) in all.filter(|(_, facts)| facts.purpose == OVERLAY) {
        if facts.filesystem != SQUASHFS {
            let kind = if facts.filesystem == EXT3 { "ext3" } else { "no squashfs" };
            log::warn!("an overlay partition of the SIF file is {kind}: its files are not shown");
            continue;
        }
        open_part(file, object.part()).context(|| "an overlay partition")?;
        found.insert(0, object);
    }
    Ok(found)
}

/// Opens a file system for a few reads. Errors: no squashfs; one that is longer than its part.
fn open_part(file: &File, part: SifPart) -> Result<Arc<SquashfsImage>> {
    let file = file.try_clone().context(|| "cannot duplicate a file")?;
    let limits = CacheLimits { data_bytes: 1 << 20, metadata_bytes: 1 << 20, workers: 0 };
    let image = SquashfsImage::open(file.into(), part.offset, limits)?;
    match image.space().bytes <= part.size {
        true => Ok(image),
        false => fail!(Invalid: "its file system is longer than its partition"),
    }
}

/// Labels of the file. Others than texts are left out.
fn labels(file: &File, table: &SifTable) -> BTreeMap<String, String> {
    let bytes = table.of(SifKind::Labels).next().map(|object| object.read(file, LONGEST_TEXT));
    let value = bytes.and_then(|bytes| serde_json::from_slice(&bytes.ok()?).ok());
    let Some(Value::Object(fields)) = value else { return BTreeMap::new() };
    let text = |(name, value): (String, Value)| Some((name, value.as_str()?.to_owned()));
    fields.into_iter().filter_map(text).collect()
}

/// Makes the configuration of a file without one.
fn configuration(
    architecture: Option<&str>,
    labels: &BTreeMap<String, String>,
    image: &Arc<SquashfsImage>,
) -> String {
    let ImageScripts { entrypoint, command } = ImageScripts::find(image);
    let host = Platform::host();
    json!({
        "os": host.os,
        "architecture": architecture.unwrap_or(&host.architecture),
        "config": {"Entrypoint": entrypoint, "Cmd": command, "Labels": labels},
        "rootfs": {"type": "layers", "diff_ids": []},
    })
    .to_string()
}
