//! Writes images into an OCI archive: the files of a layout as a tar. Blobs are written in the order of arrival,
//! index.json and oci-layout at the end.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

use super::output::{ArchiveSink, TargetTar};
use crate::digest::Digest;
use crate::error::{Context, Result};
use crate::image::layout::{MARKER, blob_path, entry, index, with_entry};
use crate::image::manifest::Descriptor;
use crate::image::source::{ImageTarget, ProgressReader};

/// An image of an OCI archive to be written.
pub struct OciArchiveTarget {
    archive: Arc<Mutex<OciArchiveWriter>>,
    name: String,
    reference: Option<String>,
}

struct OciArchiveWriter {
    tar: TargetTar,
    there: HashSet<Digest>,
    folders: HashSet<&'static str>,
    index: Vec<u8>,
}

impl OciArchiveTarget {
    /// Starts an archive in `sink` with the image called `reference`. An existing file is
    /// replaced when the archive is whole.
    pub fn create(sink: &ArchiveSink, reference: Option<String>) -> Result<Self> {
        let archive = OciArchiveWriter {
            tar: TargetTar::create(sink)?,
            there: HashSet::new(),
            folders: HashSet::new(),
            index: index(Vec::new(), BTreeMap::new()),
        };
        let name = format!("oci-archive:{}", sink.path().display());
        Ok(Self { archive: Arc::new(Mutex::new(archive)), name, reference })
    }

    /// Another image of the same archive. [`ImageTarget::finish`] of any of them ends the archive.
    pub fn another(&self, reference: Option<String>) -> Self {
        Self { archive: self.archive.clone(), name: self.name.clone(), reference }
    }
}

impl OciArchiveWriter {
    fn put(&mut self, descriptor: &Descriptor, content: &mut dyn Read) -> Result<()> {
        let digest = &descriptor.digest;
        if self.folders.is_empty() {
            self.tar.folder("blobs/")?;
        }
        if self.folders.insert(digest.algorithm().name()) {
            self.tar.folder(&format!("blobs/{}/", digest.algorithm().name()))?;
        }
        self.tar.file(&blob_path(digest), descriptor.size, content)?;
        self.there.insert(digest.clone());
        Ok(())
    }
}

impl ImageTarget for OciArchiveTarget {
    fn describe(&self) -> String {
        match &self.reference {
            Some(reference) => format!("{}:{reference}", self.name),
            None => self.name.clone(),
        }
    }

    fn has_blob(&self, descriptor: &Descriptor) -> Result<bool> {
        let archive = self.archive.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(archive.there.contains(&descriptor.digest))
    }

    fn put_blob(
        &self,
        descriptor: &Descriptor,
        open: &dyn Fn() -> Result<File>,
        progress: &dyn Fn(u64),
    ) -> Result<()> {
        let mut archive = self.archive.lock().unwrap_or_else(PoisonError::into_inner);
        if archive.there.contains(&descriptor.digest) {
            progress(descriptor.size);
            return Ok(());
        }
        archive.put(descriptor, &mut ProgressReader::verified(open()?, descriptor, progress))
    }

    fn put_manifest(&self, digest: Option<&Digest>, media_type: &str, bytes: &[u8]) -> Result<()> {
        let name = self.reference.as_deref();
        let entry = entry(digest, media_type, bytes, name).context(|| self.name.clone())?;
        let mut archive = self.archive.lock().unwrap_or_else(PoisonError::into_inner);
        if !archive.there.contains(&entry.digest) {
            archive.put(&entry, &mut &*bytes)?;
        }
        if digest.is_none() {
            archive.index = with_entry(&archive.index, &entry)?;
        }
        Ok(())
    }

    fn finish(&self) -> Result<()> {
        let mut archive = self.archive.lock().unwrap_or_else(PoisonError::into_inner);
        let OciArchiveWriter { tar, index, .. } = &mut *archive;
        tar.file("index.json", index.len() as u64, &mut &index[..])?;
        tar.file("oci-layout", MARKER.len() as u64, &mut MARKER.as_bytes())?;
        tar.finish()
    }
}
