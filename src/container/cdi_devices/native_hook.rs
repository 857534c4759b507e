//! `usnea cdi hook`: three hooks of NVIDIA's specifications, for machines without nvidia-cdi-hook. They run as
//! createContainer hooks, with the state of the container on their standard input, and change files of its root.
//!
//! The root is not trusted: every path is resolved inside it, and no program of it runs.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Context, Error, Result};
use crate::fail;
use crate::files;
use crate::rootfs::host::cache_content::CacheContent;
use crate::rootfs::host::elf::Elf;
use crate::sys::inroot::{self, MountPointKind, Symlinks};

/// Largest state in bytes.
const LARGEST_STATE: u64 = 16 << 20;
/// Largest cache of libraries in bytes: that of a full desktop has 300 kB.
const LARGEST_CACHE: u64 = 16 << 20;
/// Largest number of entries of a folder of libraries that are read.
const MOST_LIBRARIES: usize = 100_000;
const CACHE: &str = "/etc/ld.so.cache";
/// File that makes a later ldconfig(8) in the container search the folders first.
const FOLDERS: &str = "00-usnea-cdi.conf";

/// Root of a container, as a createContainer hook finds it.
#[derive(Debug)]
pub struct HookRoot(OwnedFd);

/// Link to make: what it holds, and its path in the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookLink {
    target: PathBuf,
    path: PathBuf,
}

impl std::str::FromStr for HookLink {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let parts = text
            .split_once("::")
            .filter(|(target, path)| !target.is_empty() && path.starts_with('/'));
        let (target, path) = parts.ok_or_else(|| format!("'{text}': expected TARGET::PATH"))?;
        Ok(Self { target: target.into(), path: path.into() })
    }
}

impl HookRoot {
    /// Opens the root that the state on `input` names. Errors: no state; one without a root.
    pub fn of_state(input: impl Read) -> Result<Self> {
        let state: serde_json::Value = serde_json::from_reader(input.take(LARGEST_STATE))
            .map_err(Error::new)
            .context(|| "the state of the container on the standard input")?;
        let Some(root) = state.get("root").and_then(serde_json::Value::as_str) else {
            fail!(Invalid: "the state of the container names no root: this is a createContainer hook");
        };
        Self::open(Path::new(root))
    }

    fn open(root: &Path) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root =
            rustix::fs::open(root, flags, Mode::empty()).context(|| root.display().to_string())?;
        Ok(Self(root))
    }

    /// Makes links, and the folders above them. A link replaces another one of its path. Errors: a file of that path.
    pub fn create_symlinks(&self, links: &[HookLink]) -> Result<()> {
        for link in links {
            self.link(link).context(|| format!("link {}", link.path.display()))?;
        }
        Ok(())
    }

    fn link(&self, link: &HookLink) -> Result<()> {
        let (folder, name) = self.parent(&link.path)?;
        replace_link(&folder, name, link.target.as_os_str())
    }

    /// Opens the folder of a path, made where it is missing, and returns it with the path's last name.
    fn parent<'a>(&self, path: &'a Path) -> Result<(OwnedFd, &'a OsStr)> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            fail!(Invalid: "not the path of a file");
        };
        let made = inroot::mount_point(
            self.0.as_fd(),
            parent,
            MountPointKind::Directory,
            Symlinks::Follow,
        )?;
        Ok((made, name))
    }

    /// Changes the mode of files, never of a link's target outside the root. Skips missing ones.
    pub fn change_mode(&self, mode: u32, paths: &[PathBuf]) -> Result<()> {
        for path in paths {
            let phrase = || path.display().to_string();
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
                fail!(Invalid: "{}: not the path of a file", path.display());
            };
            match inroot::open(&self.0, parent, OFlags::PATH, Symlinks::Follow) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                folder => match inroot::change_mode(folder.context(phrase)?, name, mode) {
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                    changed => changed.context(phrase)?,
                },
            }
        }
        Ok(())
    }

    /// Adds the libraries of folders to the cache of ld.so, with the links that ldconfig(8) makes. A root without such a
    /// cache (musl) stays as it is.
    pub fn update_library_cache(&self, folders: &[PathBuf]) -> Result<()> {
        let bytes = match inroot::read(&self.0, Path::new(CACHE), LARGEST_CACHE) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            bytes => bytes.context(|| CACHE)?,
        };
        let mut cache = CacheContent::parse(&bytes);
        for folder in folders {
            self.add_folder(folder, &mut cache)
                .context(|| format!("libraries in {}", folder.display()))?;
        }
        self.write(Path::new(CACHE), &cache.bytes())?;
        let settings = Path::new("/etc/ld.so.conf.d");
        if inroot::open(&self.0, settings, OFlags::PATH, Symlinks::Follow).is_ok() {
            let lines = folders.iter().map(|folder| format!("{}\n", folder.display()));
            self.write(&settings.join(FOLDERS), lines.collect::<String>().as_bytes())?;
        }
        Ok(())
    }

    fn add_folder(&self, path: &Path, cache: &mut CacheContent) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let folder = match inroot::open(&self.0, path, flags, Symlinks::Follow) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            folder => folder?,
        };
        for name in libraries_of(&folder)? {
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
            // A file that is no library, or a broken one, is skipped as by ldconfig.
            let Ok(file) = inroot::open(&self.0, &path.join(&name), flags, Symlinks::Follow) else {
                continue;
            };
            let file = File::from(file);
            if !file.metadata()?.is_file() {
                continue;
            }
            let Ok(Some(elf)) = Elf::read(file) else { continue };
            let soname = elf.soname.unwrap_or_else(|| name.clone());
            if soname.as_bytes().contains(&b'/') {
                continue;
            }
            if soname != name && is_missing(&folder, &soname) {
                replace_link(&folder, &soname, &name)?;
            }
            cache.add(&soname, path.join(&soname).as_os_str(), elf.target);
        }
        Ok(())
    }

    /// Replaces a file of the root in one step.
    fn write(&self, path: &Path, content: &[u8]) -> Result<()> {
        let phrase = || path.display().to_string();
        let (folder, name) = self.parent(path).context(phrase)?;
        let new = OsString::from(files::random_name(".usnea-"));
        let mut file = File::from(inroot::make_file(&folder, &new).context(phrase)?);
        let written = file
            .write_all(content)
            .and_then(|()| Ok(rustix::fs::renameat(&folder, &new, &folder, name)?));
        if written.is_err() {
            let _ = rustix::fs::unlinkat(&folder, &new, AtFlags::empty());
        }
        written.context(phrase)
    }
}

/// Names of a folder that may be libraries, the highest version first: links lead to that one.
fn libraries_of(folder: &OwnedFd) -> Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)?.take(MOST_LIBRARIES) {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        let is_library = name.starts_with(b"lib") || name.starts_with(b"ld-");
        if is_library && name.windows(3).any(|part| part == b".so") {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    names.sort();
    names.reverse();
    Ok(names)
}

fn is_missing(folder: &OwnedFd, name: &OsStr) -> bool {
    matches!(rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW), Err(Errno::NOENT))
}

/// Makes a link in a folder, in place of another link. Errors: EEXIST for a file that is no link.
fn replace_link(folder: &OwnedFd, name: &OsStr, target: &OsStr) -> Result<()> {
    let old = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW);
    if old.is_ok_and(|old| FileType::from_raw_mode(old.st_mode) == FileType::Symlink) {
        rustix::fs::unlinkat(folder, name, AtFlags::empty())?;
    }
    Ok(rustix::fs::symlinkat(target, folder, name)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_inside_the_root() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        std::fs::create_dir(&root).unwrap();
        std::os::unix::fs::symlink("../..", root.join("out")).unwrap();
        let links: Vec<HookLink> = ["libx.so.1::/out/made/libx.so", "libx.so.2::/out/made/libx.so"]
            .map(|text| text.parse().unwrap())
            .to_vec();
        HookRoot::open(&root).unwrap().create_symlinks(&links).unwrap();
        assert_eq!(std::fs::read_link(root.join("made/libx.so")).unwrap(), Path::new("libx.so.2"));
        std::fs::write(root.join("file"), "").unwrap();
        let onto_file: HookLink = "x::/file".parse().unwrap();
        assert!(HookRoot::open(&root).unwrap().create_symlinks(&[onto_file]).is_err());
        for wrong in ["a", "a::b", "::/b", "a:/b"] {
            assert!(wrong.parse::<HookLink>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn libraries_of_a_folder_get_links_and_entries() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for made in ["etc/ld.so.conf.d", "opt/driver"] {
            std::fs::create_dir_all(root.join(made)).unwrap();
        }
        std::fs::copy("/etc/ld.so.cache", root.join("etc/ld.so.cache")).unwrap();
        let libc = LibcPath::of_this_machine();
        std::fs::copy(&libc.0, root.join("opt/driver/libvendor.so.9.1")).unwrap();
        std::fs::write(root.join("opt/driver/libbroken.so.1"), b"\x7fELF").unwrap();
        let hook = HookRoot::open(root).unwrap();
        hook.update_library_cache(&["/opt/driver".into(), "/missing".into()]).unwrap();
        assert_eq!(
            std::fs::read_link(root.join("opt/driver/libc.so.6")).unwrap(),
            Path::new("libvendor.so.9.1")
        );
        let cache = CacheContent::parse(&std::fs::read(root.join("etc/ld.so.cache")).unwrap());
        let found = cache.libraries().iter().find(|library| library.name == "libc.so.6").unwrap();
        assert_eq!(found.path, "/opt/driver/libc.so.6");
        let lines = std::fs::read_to_string(root.join("etc/ld.so.conf.d").join(FOLDERS)).unwrap();
        assert_eq!(lines, "/opt/driver\n/missing\n");
    }

    /// Path of this machine's C library.
    struct LibcPath(PathBuf);

    impl LibcPath {
        fn of_this_machine() -> Self {
            let cache = CacheContent::parse(&std::fs::read("/etc/ld.so.cache").unwrap());
            let libc = cache.libraries().iter().find(|library| library.name == "libc.so.6");
            Self(libc.unwrap().path.clone().into())
        }
    }
}
