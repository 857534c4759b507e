//! Stack of layers as one tree: folders merged, whiteouts, opaque folders. Symbolic links are followed through all
//! layers, inside the root.
//!
//! The layers are as little to be trusted as the rest of an image. Each step opens a single name in an open folder, and
//! the kernel never follows a link.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path};

use rustix::io::Errno;

use super::entry::{Below, Layer, LayerEntry};
use super::folder::LayerFolder;
use super::lower::LowerFolder;
use super::whiteout::Whiteouts;

/// Limit of followed links: the kernel's (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// Stack of layers, the topmost first.
#[derive(Clone)]
pub struct Merged {
    layers: Vec<Layer<LowerFolder>>,
}

/// Folder of the merged tree: the layers that contribute to it, the topmost first, each with its folder.
type MergedFolder<'a> = Vec<(&'a Layer<LowerFolder>, LowerFolder)>;

/// File of the merged tree.
enum MergedFile<'a> {
    Missing,
    Folder(MergedFolder<'a>),
    /// Symbolic link, with its target.
    Link(OsString),
    /// Any other file, with the folder of the layer that has the file.
    Other(LowerFolder),
}

impl FromIterator<Layer<LowerFolder>> for Merged {
    fn from_iter<T: IntoIterator<Item = Layer<LowerFolder>>>(layers: T) -> Self {
        Self { layers: layers.into_iter().collect() }
    }
}

impl Merged {
    /// Merges these folders, the topmost first.
    pub fn of<R: Into<LowerFolder>>(
        roots: impl IntoIterator<Item = R>,
        whiteouts: Whiteouts,
    ) -> Self {
        roots.into_iter().map(|root| Layer { root: root.into(), whiteouts }).collect()
    }

    /// Reads a small regular file: at most `limit` bytes (EFBIG), never a FIFO or a device (EINVAL). `None`: no such
    /// file.
    pub fn read(&self, path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let root: MergedFolder<'_> =
            self.layers.iter().map(|layer| (layer, layer.root.clone())).collect();
        let mut folders = vec![root];
        let mut left = VecDeque::new();
        push_front(&mut left, path);
        let mut links = 0;
        while let (Some(name), Some(here)) = (left.pop_front(), folders.last()) {
            if name == ".." {
                folders.truncate(folders.len().saturating_sub(1).max(1));
                continue;
            }
            match look_up(here, &name)? {
                MergedFile::Missing => return Ok(None),
                MergedFile::Folder(folder) => folders.push(folder),
                MergedFile::Other(folder) if left.is_empty() => {
                    return folder.read_small(&name, limit).map(Some);
                }
                MergedFile::Other(_) => return Ok(None),
                MergedFile::Link(_) if links == MOST_LINKS => return Err(Errno::LOOP.into()),
                MergedFile::Link(target) => {
                    links += 1;
                    let target = Path::new(&target);
                    if target.is_absolute() {
                        folders.truncate(1);
                    }
                    push_front(&mut left, target);
                }
            }
        }
        Err(Errno::ISDIR.into())
    }
}

/// Puts the names of `path` before the remaining ones.
fn push_front(left: &mut VecDeque<OsString>, path: &Path) {
    for part in path.components().rev() {
        match part {
            Component::Normal(name) => left.push_front(name.to_owned()),
            Component::ParentDir => left.push_front("..".into()),
            _ => {}
        }
    }
}

fn look_up<'a>(folder: &MergedFolder<'a>, name: &OsStr) -> io::Result<MergedFile<'a>> {
    let mut merged = MergedFolder::new();
    for (layer, here) in folder {
        match layer.entry(here, name)? {
            LayerEntry::Missing => {}
            LayerEntry::Whiteout => break,
            // An upper folder hides a lower layer's file, and the layers below that file.
            LayerEntry::File(_) if !merged.is_empty() => break,
            LayerEntry::File(stat) => {
                return Ok(match stat.st_mode & libc::S_IFMT {
                    libc::S_IFLNK => MergedFile::Link(OsString::from_vec(here.read_link(name)?)),
                    _ => MergedFile::Other(here.clone()),
                });
            }
            LayerEntry::Folder(inner, below) => {
                merged.push((layer, inner));
                if below == Below::Hidden {
                    break;
                }
            }
        }
    }
    Ok(if merged.is_empty() { MergedFile::Missing } else { MergedFile::Folder(merged) })
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;
    use std::os::unix::fs::symlink;

    use super::*;

    /// Layers `0` (the topmost) to `2`, each with a folder `etc`.
    struct Layers(tempfile::TempDir);

    impl Layers {
        fn new() -> Self {
            let top = tempfile::tempdir().unwrap();
            for layer in ["0", "1", "2"] {
                std::fs::create_dir_all(top.path().join(layer).join("etc")).unwrap();
            }
            Self(top)
        }

        fn write(&self, path: &str, content: &str) {
            let path = self.0.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }

        fn link(&self, path: &str, target: &str) {
            symlink(target, self.0.path().join(path)).unwrap();
        }

        fn hide(&self, folder: &str) {
            let path = self.0.path().join(folder);
            let flags = rustix::fs::XattrFlags::empty();
            rustix::fs::setxattr(path, "user.overlay.opaque", b"y", flags).unwrap();
        }

        fn read(&self, path: &str) -> io::Result<Option<String>> {
            self.read_as(path, Whiteouts::Overlay)
        }

        fn read_as(&self, path: &str, whiteouts: Whiteouts) -> io::Result<Option<String>> {
            let open =
                |layer| OwnedFd::from(std::fs::File::open(self.0.path().join(layer)).unwrap());
            let merged = Merged::of(["0", "1", "2"].map(open), whiteouts);
            let content = merged.read(Path::new(path), 100)?;
            Ok(content.map(|content| String::from_utf8(content).unwrap()))
        }

        fn reads(&self, path: &str) -> String {
            self.read(path).unwrap().unwrap_or_else(|| "nothing".to_owned())
        }
    }

    #[test]
    fn the_topmost_layer_that_has_a_file_gives_it() {
        let layers = Layers::new();
        assert_eq!(layers.reads("etc/passwd"), "nothing");
        layers.write("2/etc/passwd", "low");
        assert_eq!(layers.reads("etc/passwd"), "low");
        layers.write("1/etc/passwd", "high");
        assert_eq!(layers.reads("etc/passwd"), "high");
        assert_eq!(layers.reads("/etc/../../etc/./passwd"), "high");
        assert_eq!(layers.reads("etc/passwd/x"), "nothing");
    }

    #[test]
    fn a_link_leads_through_all_layers_and_never_out() {
        let layers = Layers::new();
        layers.write("2/usr/lib/passwd", "found");
        for (number, target) in
            ["../usr/lib/passwd", "/usr/lib/passwd", "../../../../usr/lib/passwd"]
                .iter()
                .enumerate()
        {
            layers.link(&format!("0/etc/l{number}"), target);
            assert_eq!(layers.reads(&format!("etc/l{number}")), "found", "{target}");
        }
        // A folder that is a link, and a link in a layer below.
        layers.link("1/lib", "usr/lib");
        assert_eq!(layers.reads("lib/passwd"), "found");
        layers.link("0/etc/out", layers.0.path().join("2/usr/lib/passwd").to_str().unwrap());
        assert_eq!(layers.reads("etc/out"), "nothing");
        layers.link("0/etc/loop", "loop");
        assert_eq!(layers.read("etc/loop").unwrap_err().raw_os_error(), Some(libc::ELOOP));
        layers.link("0/etc/folder", "/usr");
        assert_eq!(layers.read("etc/folder").unwrap_err().raw_os_error(), Some(libc::EISDIR));
    }

    #[test]
    fn names_are_whiteouts_where_the_layers_have_that_form() {
        let layers = Layers::new();
        layers.write("2/etc/passwd", "low");
        layers.write("2/usr/file", "low");
        layers.write("1/etc/.wh.passwd", "");
        layers.write("0/usr/.wh..wh..opq", "");
        let reads = |path| layers.read_as(path, Whiteouts::Names).unwrap();
        assert_eq!((reads("etc/passwd"), reads("usr/file")), (None, None));
        assert_eq!(
            (layers.reads("etc/passwd"), layers.reads("usr/file")),
            ("low".into(), "low".into())
        );
        layers.write("0/etc/passwd", "top");
        assert_eq!(reads("etc/passwd").as_deref(), Some("top"));
        layers.write("2/etc/group", "low");
        assert_eq!(reads("etc/group").as_deref(), Some("low"));
        // The folder beside the whiteout of its name was made after it, and is the layer's own.
        layers.write("1/.wh.etc", "");
        layers.write("1/etc/hosts", "high");
        assert_eq!((reads("etc/group"), reads("etc/hosts").as_deref()), (None, Some("high")));
    }

    #[test]
    fn hidden_files_of_a_layer_are_not_read() {
        let layers = Layers::new();
        layers.write("2/etc/passwd", "low");
        layers.write("2/etc/sub/file", "low");
        // A file in the place of a folder, and a folder on top of that.
        layers.write("1/etc/sub", "file");
        assert_eq!(layers.reads("etc/sub/file"), "nothing");
        layers.write("0/etc/sub/other", "top");
        assert_eq!(layers.reads("etc/sub/file"), "nothing");
        assert_eq!(layers.reads("etc/sub/other"), "top");
        assert_eq!(layers.reads("etc/passwd"), "low");
        layers.hide("1/etc");
        assert_eq!(layers.reads("etc/passwd"), "nothing");
        assert_eq!(layers.reads("etc/sub/other"), "top");
    }
}
