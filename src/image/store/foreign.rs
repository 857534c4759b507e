//! Checked opening of a store's files. Another user's store (`USNEA_IMAGE_STORES`, usnea.toml) may contain traps: a
//! pipe without a writer, an endless file, a link to a folder of ours.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::Store;
use crate::error::Error;

/// Kind of object to open.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ObjectKind {
    /// A regular file, for reading.
    File,
    /// A folder (O_PATH).
    Folder,
}

/// Names the cause of a failed [`Store::open_object`], where the kernel's word does not.
pub(super) fn explain(error: io::Error) -> Error {
    match Errno::from_io_error(&error) {
        Some(Errno::INVAL) => Error::new("it is not a regular file"),
        Some(Errno::LOOP) => Error::new("a symbolic link leads there, and none is followed here"),
        _ => error.into(),
    }
}

impl Store {
    /// Owner of the store at `root`, if another user.
    pub(super) fn foreign_owner(root: &Path) -> Option<u32> {
        let owner = root.metadata().ok()?.uid();
        (owner != rustix::process::geteuid().as_raw()).then_some(owner)
    }

    /// True if the store belongs to another user.
    pub fn is_foreign(&self) -> bool {
        self.foreign_owner.is_some()
    }

    /// Opens `path`, which is below the store's root. In another user's store no symbolic link is followed below the
    /// root, and the opened object must belong to that user. Errors: EINVAL for an object of another kind; EACCES for
    /// another owner.
    pub(super) fn open_object(&self, path: &Path, form: ObjectKind) -> io::Result<OwnedFd> {
        let (flags, kind) = match form {
            // NONBLOCK: the file may be a pipe.
            ObjectKind::File => {
                (OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY, FileType::RegularFile)
            }
            ObjectKind::Folder => (OFlags::PATH | OFlags::DIRECTORY, FileType::Directory),
        };
        let flags = flags | OFlags::CLOEXEC;
        let opened = match self.foreign_owner {
            Some(_) => self.open_below(path, flags)?,
            None => rustix::fs::openat(CWD, path, flags, Mode::empty())?,
        };
        let stat = rustix::fs::fstat(&opened)?;
        if FileType::from_raw_mode(stat.st_mode) != kind {
            return Err(Errno::INVAL.into());
        }
        match self.foreign_owner {
            Some(owner) if stat.st_uid != owner => Err(Errno::ACCESS.into()),
            _ => Ok(opened),
        }
    }

    fn open_below(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let below = path.strip_prefix(&self.root).map_err(|_| Errno::INVAL)?;
        let top = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = rustix::fs::open(&self.root, top, Mode::empty())?;
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        loop {
            match rustix::fs::openat2(&top, below, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                answer => return Ok(answer?),
            }
        }
    }

    /// Reads the file at `path`. Errors: EFBIG for a file of more than `limit` bytes, and those of
    /// [`Store::open_object`].
    pub(super) fn read_object(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let file: File = self.open_object(path, ObjectKind::File)?.into();
        let mut bytes = Vec::new();
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
        match bytes.len() as u64 > limit {
            true => Err(Errno::FBIG.into()),
            false => Ok(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A store that is read as another user's, though its files are ours.
    fn foreign() -> (tempfile::TempDir, Store) {
        let top = tempfile::tempdir().unwrap();
        let root = top.path().join("store");
        std::fs::create_dir_all(root.join("layers")).unwrap();
        let foreign_owner = Some(rustix::process::geteuid().as_raw());
        let store = Store { foreign_owner, ..Store::open_read_only(&root) };
        (top, store)
    }

    #[test]
    fn pipes_devices_links_and_endless_files_are_no_files_of_a_store() {
        let (top, store) = foreign();
        let path = store.root().join("images.json");
        let refused = |make: &dyn Fn(), errno: Errno| {
            make();
            let answer = store.read_object(&path, 1000).map_err(|error| error.raw_os_error());
            assert_eq!(answer, Err(Some(errno.raw_os_error())));
            store.images().unwrap_err();
            std::fs::remove_file(&path).unwrap();
        };
        let pipe = || rustix::fs::mkfifoat(CWD, &path, Mode::RWXU).unwrap();
        refused(&pipe, Errno::INVAL);
        refused(&|| symlink("/dev/zero", &path).unwrap(), Errno::LOOP);
        let own = top.path().join("own");
        std::fs::write(&own, "{\"version\":1,\"images\":[]}").unwrap();
        refused(&|| symlink(&own, &path).unwrap(), Errno::LOOP);
        refused(&|| File::create(&path).unwrap().set_len(1 << 40).unwrap(), Errno::FBIG);
        assert!(store.images().unwrap().all().is_empty());
        let digest = crate::digest::Digest::of(b"blob");
        let blob = store.blob_path(&digest);
        std::fs::create_dir_all(blob.parent().unwrap()).unwrap();
        rustix::fs::mkfifoat(CWD, &blob, Mode::RWXU).unwrap();
        let told = store.open_blob(&digest).unwrap_err().to_string();
        assert!(told.contains("not a regular file"), "{told}");
    }

    #[test]
    fn a_layer_that_is_a_link_to_one_of_ours_is_not_there() {
        let (top, store) = foreign();
        let digest = crate::digest::Digest::of(b"layer");
        let owners = crate::image::owners::Owners::Shared;
        let fs = store.layer_path(&digest, &owners);
        let layer = fs.parent().unwrap();
        let make = |layer: &Path| {
            std::fs::create_dir_all(layer.join("fs")).unwrap();
            std::fs::write(layer.join("layer.json"), "{}").unwrap();
        };
        make(layer);
        assert!(store.has_layer(&digest, &owners));
        std::fs::remove_dir_all(layer).unwrap();
        let own = top.path().join("own");
        make(&own);
        assert!(store.refusal(&digest, &owners).is_none());
        symlink(&own, layer).unwrap();
        assert!(!store.has_layer(&digest, &owners));
        let told = store.refusal(&digest, &owners).unwrap().to_string();
        assert!(told.contains("a symbolic link leads there"), "{told}");
        // Our own store may lie where we put it.
        assert!(Store::open_read_only(store.root()).has_layer(&digest, &owners));
        // A file with another owner does not belong to the store.
        std::fs::remove_file(layer).unwrap();
        make(layer);
        let other = Store { foreign_owner: Some(4321), ..store };
        assert!(!other.has_layer(&digest, &owners));
    }
}
