//! Layers in another user's store (`USNEA_IMAGE_STORES`, usnea.toml), opened when they are mounted. That user may have
//! replaced a checked folder by a symbolic link to a folder of the caller.
//!
//! For the kernel's overlay, images are mounted for that time: at a path only where the kernel stacks no detached mount,
//! since each detaching costs an RCU grace period. The server of usnea's own overlay reads images by itself.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};

use crate::engine::root::image_folders::ImageFolders;
use crate::engine::root::image_mount::{self, LaunchServers};
use crate::engine::step_error::{OnObject, StepError, StepResult};
use crate::error::Context;
use crate::host::kernel::{self, KernelVersion};
use crate::layer::LowerLayer;
use crate::rootfs::fuse::tree::{LowerImage, LowerSource};
use crate::spec::Stacking;
use crate::sys::inroot::{self, Symlinks};

/// Name of the folder of layers in a store.
const LAYERS: &str = "layers";
/// Number of components of a layer's path below its store: `layers/NAME/fs`.
const DEPTH: usize = 3;

/// First kernel whose overlayfs stacks detached mounts, and that copies them.
const STACKS_DETACHED_MOUNTS: KernelVersion = KernelVersion(6, 15);

/// Lower layers, whose paths lead to the same folders until this value is dropped.
pub struct Lowers {
    paths: Vec<PathBuf>,
    _open: Vec<OwnedFd>,
    _images: Option<ImageFolders>,
}

impl Lowers {
    /// Opens the layers of another user's store, and mounts images. Layers of the caller's own store are used by path:
    /// no other user can change them. Adds the servers of images to `servers`.
    pub fn hold(
        lowers: &[LowerLayer],
        stacking: Stacking,
        servers: &mut LaunchServers,
    ) -> StepResult<Self> {
        let images = match kernel::version() >= STACKS_DETACHED_MOUNTS {
            true => None,
            false => ImageFolders::mount(lowers, servers)?,
        };
        let (mut paths, mut held) = (Vec::with_capacity(lowers.len()), Vec::new());
        let mut hold = |fd: OwnedFd| {
            // The dot after the magic link is needed for code that refuses a symbolic link as last component of a path.
            let path = format!("/proc/self/fd/{}/.", fd.as_raw_fd());
            held.push(fd);
            path.into()
        };
        for (index, lower) in lowers.iter().enumerate() {
            paths.push(match lower {
                LowerLayer::Image(_) if images.is_some() => ImageFolders::path(index),
                LowerLayer::Image(image) => hold(image_mount::mounted(image, servers)?),
                LowerLayer::Folder(path) if !stacking.is_foreign => path.clone(),
                LowerLayer::Folder(path) => hold(open(path).on(|| path.to_string_lossy())?),
            });
        }
        Ok(Self { paths, _open: held, _images: images })
    }

    /// Returns the paths of the layers, the topmost first.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }
}

/// Opens the layers for usnea's own overlay, whose server reads images by itself.
pub fn sources(lowers: &[LowerLayer], stacking: Stacking) -> StepResult<Vec<LowerSource>> {
    let source = |lower: &LowerLayer| match lower {
        LowerLayer::Image(image) => LowerImage::open_file(image)
            .context(|| image_mount::cannot_mount(image.path.display()))
            .map(LowerSource::Image)
            .map_err(|error| StepError::of(&error)),
        LowerLayer::Folder(path) => {
            let folder = match stacking.is_foreign {
                true => open(path),
                false => open_own(path),
            };
            folder.on(|| path.to_string_lossy()).map(LowerSource::Folder)
        }
    };
    lowers.iter().map(source).collect()
}

/// Opens a folder of the caller's own store.
fn open_own(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// Opens a layer's folder (O_PATH). Follows no symbolic link below the store. Errors: ELOOP for such a link.
pub fn open(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    match store_of(path) {
        Some((store, below)) => {
            let store = rustix::fs::open(store, flags | OFlags::CLOEXEC, Mode::empty())?;
            inroot::open(store, below, flags, Symlinks::Refuse)
        }
        // A path outside of `layers`: the layer of a container, which is in the caller's own store.
        None => Ok(rustix::fs::openat(CWD, path, flags | OFlags::CLOEXEC, Mode::empty())?),
    }
}

/// Returns the store of a layer, and the layer's path in that store.
fn store_of(path: &Path) -> Option<(&Path, &Path)> {
    let layers = path.ancestors().take(DEPTH).find(|folder| folder.ends_with(LAYERS))?;
    let store = layers.parent()?;
    Some((store, path.strip_prefix(store).ok()?))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn no_link_below_a_store_of_another_user_leads_to_a_folder_of_ours() {
        let top = tempfile::tempdir().unwrap();
        let at = |name: &str| top.path().join(name);
        fs::create_dir_all(at("own/fs")).unwrap();
        fs::write(at("own/fs/secret"), "").unwrap();
        fs::create_dir_all(at("store/layers/good/fs")).unwrap();
        fs::create_dir_all(at("store/layers/leaf")).unwrap();
        symlink(at("own"), at("store/layers/linked")).unwrap();
        symlink(at("own/fs"), at("store/layers/leaf/fs")).unwrap();
        symlink(at("store"), at("named")).unwrap();
        fs::create_dir_all(at("moved")).unwrap();
        symlink(at("store/layers"), at("moved/layers")).unwrap();
        let foreign = Stacking { is_foreign: true, ..Stacking::default() };
        for (path, is_taken) in [
            ("store/layers/good/fs", true),
            // The user has named the store: that may be a link.
            ("named/layers/good/fs", true),
            ("store/layers/linked/fs", false),
            ("store/layers/leaf/fs", false),
            ("moved/layers/good/fs", false),
        ] {
            let lowers = [LowerLayer::Folder(at(path))];
            let held = Lowers::hold(&lowers, foreign, &mut LaunchServers::default());
            assert_eq!(held.is_ok(), is_taken, "{path}");
            let ours = Lowers::hold(&lowers, Stacking::default(), &mut LaunchServers::default());
            assert_eq!(ours.map(|held| held.paths().to_vec()).ok(), Some(vec![at(path)]));
        }
    }

    #[test]
    fn a_replaced_layer_is_not_the_one_that_is_held() {
        let top = tempfile::tempdir().unwrap();
        let at = |name: &str| top.path().join(name);
        fs::create_dir_all(at("own/fs")).unwrap();
        fs::create_dir_all(at("store/layers/one/fs")).unwrap();
        fs::write(at("own/fs/secret"), "").unwrap();
        fs::write(at("store/layers/one/fs/file"), "").unwrap();
        let lowers = [LowerLayer::Folder(at("store/layers/one/fs"))];
        let foreign = Stacking { is_foreign: true, ..Stacking::default() };
        let held = Lowers::hold(&lowers, foreign, &mut LaunchServers::default())
            .unwrap_or_else(|error| panic!("{}", error.what));
        fs::rename(at("store/layers/one"), at("store/layers/two")).unwrap();
        symlink(at("own"), at("store/layers/one")).unwrap();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = rustix::fs::open(&held.paths()[0], flags, Mode::empty()).unwrap();
        assert!(rustix::fs::statat(&folder, "file", rustix::fs::AtFlags::empty()).is_ok());
    }
}
