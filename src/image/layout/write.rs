//! Writes images into a layout's folder, which is created if missing and extended if it exists.
//!
//! Blobs come first, each under its digest, written atomically. index.json, which makes an image of them, comes last,
//! under a lock of the folder: several commands may write to one layout.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::folder::LayoutFolder;
use super::{REF_NAME, blob_path, read_index};
use crate::digest::{Digest, Hasher};
use crate::error::{Context, Error, Result};
use crate::fail;
use crate::files::{self, Lock};
use crate::image::manifest::{Descriptor, media};
use crate::image::source::{ImageTarget, ProgressReader};

/// Content of `oci-layout`.
pub const MARKER: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// An image of a layout to be written.
pub struct LayoutTarget {
    folder: Arc<LayoutFolder>,
    name: String,
    reference: Option<String>,
}

impl LayoutTarget {
    /// Opens the layout in `dir`, created if missing, for the image called `reference`. Errors: a folder with other
    /// content.
    pub fn open(dir: &Path, reference: Option<String>) -> Result<Self> {
        std::fs::create_dir_all(dir).map_err(|error| files::cannot_write_output(error, dir))?;
        let name = format!("oci:{}", dir.display());
        let folder = LayoutFolder::open(dir).context(|| name.clone())?;
        let _lock = lock(dir)?;
        if folder.open_own("oci-layout").context(|| name.clone())?.is_none() {
            let mut entries = std::fs::read_dir(dir).context(|| name.clone())?;
            if entries.next().is_some() {
                fail!(Conflict: "{name}: the folder has other things in it and no oci-layout");
            }
            folder.put("oci-layout", &mut MARKER.as_bytes())?;
        }
        if folder.open_own("index.json").context(|| name.clone())?.is_none() {
            folder.put("index.json", &mut &index(Vec::new(), BTreeMap::new())[..])?;
        }
        read_index(&folder).context(|| name.clone())?;
        Ok(Self { folder: Arc::new(folder), name, reference })
    }

    /// Another image of the same layout.
    pub fn another(&self, reference: Option<String>) -> Self {
        Self { folder: self.folder.clone(), name: self.name.clone(), reference }
    }

    fn put(&self, digest: &Digest, content: &mut dyn Read) -> Result<()> {
        let folder = self.folder.subfolder("blobs")?.subfolder(digest.algorithm().name())?;
        folder.put(digest.hex(), content)
    }

    fn name_manifest(&self, entry: &Descriptor) -> Result<()> {
        let _lock = lock(self.folder.path())?;
        let (bytes, _) = read_index(&*self.folder)?;
        let bytes = with_entry(&bytes, entry)?;
        self.folder.put("index.json", &mut &bytes[..])
    }
}

fn lock(dir: &Path) -> Result<Option<File>> {
    match files::hold(dir, Lock::Exclusive) {
        Ok(None) => fail!("{} was removed meanwhile", dir.display()),
        held => held.context(|| format!("cannot lock {}", dir.display())),
    }
}

/// Returns index.json with `entry` added. Replaces the entry of the same name; an entry without a name replaces the
/// unnamed one of the same digest. Unknown fields stay.
pub fn with_entry(index_json: &[u8], entry: &Descriptor) -> Result<Vec<u8>> {
    let mut fields: BTreeMap<String, Value> =
        serde_json::from_slice(index_json).map_err(Error::new).context(|| "index.json")?;
    let name = entry.annotations.get(REF_NAME);
    let is_replaced = |old: &Value| {
        let old_name = old.pointer("/annotations").and_then(|all| all.get(REF_NAME)?.as_str());
        match name {
            Some(name) => old_name == Some(name),
            None => {
                let digest = old.get("digest").and_then(Value::as_str);
                old_name.is_none() && digest == Some(&entry.digest.to_string())
            }
        }
    };
    let entries = match fields.remove("manifests") {
        Some(Value::Array(entries)) => entries,
        _ => Vec::new(),
    };
    let mut entries: Vec<Value> = entries.into_iter().filter(|entry| !is_replaced(entry)).collect();
    entries.push(serde_json::to_value(entry).map_err(Error::new)?);
    Ok(index(entries, fields))
}

/// Serializes index.json with `entries` and its other fields.
pub fn index(entries: Vec<Value>, mut fields: BTreeMap<String, Value>) -> Vec<u8> {
    fields.insert("schemaVersion".to_owned(), json!(2));
    fields.entry("mediaType".to_owned()).or_insert_with(|| json!(media::OCI_INDEX));
    fields.insert("manifests".to_owned(), Value::Array(entries));
    json!(fields).to_string().into_bytes()
}

/// Makes the entry of index.json for a manifest called `reference`. Errors: `digest` does not match the bytes.
pub fn entry(
    digest: Option<&Digest>,
    media_type: &str,
    bytes: &[u8],
    reference: Option<&str>,
) -> Result<Descriptor> {
    let has = match digest {
        None => Digest::of(bytes),
        Some(named) => {
            let mut hasher = Hasher::new(named.algorithm());
            hasher.update(bytes);
            hasher.finish()
        }
    };
    if let Some(named) = digest.filter(|named| **named != has) {
        fail!("manifest {named}: its content has the digest {has}");
    }
    let name = reference.map(|name| (REF_NAME.to_owned(), name.to_owned()));
    Ok(Descriptor {
        media_type: media_type.to_owned(),
        digest: has,
        size: bytes.len() as u64,
        platform: None,
        annotations: name.into_iter().collect(),
        urls: Vec::new(),
    })
}

impl ImageTarget for LayoutTarget {
    fn describe(&self) -> String {
        match &self.reference {
            Some(reference) => format!("{}:{reference}", self.name),
            None => self.name.clone(),
        }
    }

    fn has_blob(&self, descriptor: &Descriptor) -> Result<bool> {
        let blob = self.folder.open_own(&blob_path(&descriptor.digest));
        let blob = blob.context(|| format!("{}: blob {}", self.name, descriptor.digest))?;
        // A blob of another length is a leftover of a writer that does not write atomically.
        Ok(blob.is_some_and(|blob| blob.size() == descriptor.size))
    }

    fn put_blob(
        &self,
        descriptor: &Descriptor,
        open: &dyn Fn() -> Result<File>,
        progress: &dyn Fn(u64),
    ) -> Result<()> {
        if self.has_blob(descriptor)? {
            progress(descriptor.size);
            return Ok(());
        }
        let mut content = ProgressReader::verified(open()?, descriptor, progress);
        self.put(&descriptor.digest, &mut content)
    }

    fn put_manifest(&self, digest: Option<&Digest>, media_type: &str, bytes: &[u8]) -> Result<()> {
        let name = self.reference.as_deref();
        let entry = entry(digest, media_type, bytes, name).context(|| self.name.clone())?;
        if !self.has_blob(&entry)? {
            self.put(&entry.digest, &mut &*bytes)?;
        }
        match digest {
            Some(_) => Ok(()),
            None => self.name_manifest(&entry).context(|| self.describe()),
        }
    }
}
