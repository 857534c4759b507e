//! Early read of the command's program, into the page cache.
//!
//! The kernel reads a program page by page, as the program faults: each fault waits for a FUSE server that unpacks a
//! block. Read early, the server unpacks while the container is being set up.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Advice, FileType, OFlags, fadvise, fstat};

use crate::engine::command::program;
use crate::engine::plan::process::ExecCommand;
use crate::sys::inroot::{self, Symlinks};

/// Limit of the bytes that are read early. Programs of that size run before most of their pages are needed.
const MOST: u64 = 4 << 20;

/// Bytes of one request: the kernel cuts longer ones to its read-ahead window (`force_page_cache_ra`).
const WINDOW: u64 = 128 << 10;

/// Starts reads of the program's file in `root`, without waiting for them. Ignores failures: the exec reports them.
pub fn start(root: &OwnedFd, command: &ExecCommand) {
    let absolute = |path: &String| path.starts_with('/');
    for path in program::candidates(command).iter().filter(|path| absolute(path)) {
        if let Some((file, size)) = open(root, Path::new(path)) {
            // Each close asks the server to flush, until it has refused once: the close below would wait for all reads.
            drop(file.try_clone());
            for offset in (0..size.min(MOST)).step_by(WINDOW as usize) {
                let window = std::num::NonZeroU64::new(WINDOW);
                let _ = fadvise(&file, offset, window, Advice::WillNeed);
            }
            return;
        }
    }
}

/// Opens a regular file. A path of the image may lead to a device or a FIFO: the type is checked before the open.
fn open(root: &OwnedFd, path: &Path) -> Option<(OwnedFd, u64)> {
    let place = inroot::open(root, path, OFlags::PATH, Symlinks::Follow).ok()?;
    let stat = fstat(&place).ok()?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return None;
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(crate::layer::path_of(&place), flags, rustix::fs::Mode::empty());
    Some((file.ok()?, u64::try_from(stat.st_size).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regular_files_below_the_root_alone_are_opened() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("root");
        std::fs::create_dir_all(root.join("bin")).unwrap();
        std::fs::write(root.join("bin/program"), "12345").unwrap();
        std::fs::write(place.path().join("secret"), "").unwrap();
        std::os::unix::fs::symlink("/bin/program", root.join("link")).unwrap();
        std::os::unix::fs::symlink("../secret", root.join("out")).unwrap();
        std::os::unix::fs::symlink("loop", root.join("loop")).unwrap();
        nix::unistd::mkfifo(&root.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let folder = rustix::fs::open(&root, OFlags::PATH, rustix::fs::Mode::empty()).unwrap();
        let size = |path: &str| open(&folder, Path::new(path)).map(|(_, size)| size);
        assert_eq!(size("/bin/program"), Some(5));
        assert_eq!(size("/link"), Some(5));
        for path in ["/out", "/loop", "/fifo", "/bin", "/none"] {
            assert_eq!(size(path), None, "{path}");
        }
    }
}
