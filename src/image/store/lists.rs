//! manifests.json: the manifest lists of a store. Changed under the lock of images.json. A missing file means no lists.

use serde::{Deserialize, Serialize};

use super::Store;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::fail;
use crate::files;
use crate::image::list::ManifestList;

/// Largest manifests.json that is read, in bytes.
const LONGEST: u64 = 64 << 20;

const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct ListsFile {
    version: u32,
    lists: Vec<ManifestList>,
}

impl Store {
    fn lists_path(&self) -> std::path::PathBuf {
        self.root.join("manifests.json")
    }

    /// Reads the manifest lists, the newest last. Errors: the file is unreadable or malformed.
    pub fn lists(&self) -> Result<Vec<ManifestList>> {
        let path = self.lists_path();
        let bytes = match self.read_object(&path, LONGEST) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            answer => answer.context(|| format!("cannot read {}", path.display()))?,
        };
        let read: ListsFile = serde_json::from_slice(&bytes)
            .map_err(Error::new)
            .context(|| path.display().to_string())
            .hint(|| "remove the file: it holds nothing but lists that were not pushed yet")?;
        if read.version != VERSION {
            fail!("{} is of version {}: another usnea wrote it", path.display(), read.version);
        }
        Ok(read.lists)
    }

    /// Changes the manifest lists under the lock: reads them, applies `change`, replaces the file.
    pub fn change_lists<T>(
        &self,
        change: impl FnOnce(&mut Vec<ManifestList>) -> Result<T>,
    ) -> Result<T> {
        let _lock = self.lock_images()?;
        let mut lists = self.lists()?;
        let before = lists.clone();
        let answer = change(&mut lists)?;
        if lists != before {
            let lists = ListsFile { version: VERSION, lists };
            let bytes = serde_json::to_vec_pretty(&lists).map_err(Error::new)?;
            self.write_lists(&bytes)?;
        }
        Ok(answer)
    }

    /// Replaces manifests.json. On a full disk, the copy of images.json is removed to make room, or the file is written
    /// in place: a removal needs no room.
    fn write_lists(&self, bytes: &[u8]) -> Result<()> {
        let path = self.lists_path();
        let replace = || files::replace(&self.tmp(), &path, bytes);
        replace().or_else(|error| match error.kind() {
            ErrorKind::Full => {
                let again = self.make_room().and_then(|()| replace());
                let written = again.or_else(|_| files::replace_in_place(&path, bytes));
                self.renew_copy_locked();
                written.map_err(|_| error)
            }
            _ => Err(error),
        })?;
        self.publish(&path)
    }
}
