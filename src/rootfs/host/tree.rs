//! The paths that the root will have: a copy of the host's, with every symbolic link on the way, so that a path means
//! inside what it means outside. Nothing is read but names and attributes, nothing is written.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::Access;

use super::pattern::matches;
use super::seen::{Seen, Stamp};

/// As many links as the kernel follows on one path (MAXSYMLINKS, path_resolution(7)).
const MOST_LINKS: usize = 40;

/// What stands at a path of the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A folder, with its mode.
    Folder(u32),
    /// A symbolic link, with what it holds.
    Link(PathBuf),
    /// A copy of the host's file at the same path.
    File {
        /// Its mode, without the bits that would lend our identity to others.
        mode: u32,
        /// Its state when it was looked at.
        stamp: Stamp,
    },
    /// A file of ours.
    Text(String),
}

/// How what is taken is noted for the next start (see `seen`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notes {
    /// Each link and file.
    Each,
    /// The folder alone that holds it. What we may not read is refused (EACCES).
    Folder,
}

/// A path that was taken.
#[derive(Clone, Debug)]
pub struct Taken {
    /// Where the links lead.
    pub real: PathBuf,
    /// Its mode; None for a folder.
    pub mode: Option<u32>,
}

/// The root as planned. Every parent of a path in `nodes` is a folder in `nodes`.
#[derive(Debug, Default)]
pub struct Tree {
    nodes: BTreeMap<PathBuf, Node>,
    /// What the plan depends on.
    pub seen: Seen,
}

impl Tree {
    /// All paths below the root directory, parents first.
    pub fn nodes(&self) -> impl Iterator<Item = (&Path, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_path(), node))
    }

    /// Whether the root has something at `path`, links followed.
    pub fn has(&self, path: &Path) -> bool {
        path.canonicalize().is_ok_and(|real| self.nodes.contains_key(&real))
    }

    /// Takes the host's `path` (absolute) with all links on the way and all folders above; of a folder, the folder alone.
    /// Takes nothing on an error: ENOENT, ELOOP, ENOTDIR, EACCES, EINVAL for what is no file, folder or link.
    pub fn take(&mut self, path: &Path, notes: Notes) -> io::Result<Taken> {
        let mut new: Vec<(PathBuf, Node, Option<Stamp>)> = Vec::new();
        let mut real = PathBuf::from("/");
        let mut todo = names_reversed(path);
        let (mut links, mut mode) = (0, None);
        while let Some(name) = todo.pop() {
            if mode.is_some() {
                return Err(io::Error::from_raw_os_error(libc::ENOTDIR));
            }
            if name == ".." {
                real.pop();
                continue;
            }
            let next = real.join(name);
            let node = match self.nodes.get(&next) {
                Some(known) => known.clone(),
                None => {
                    let (node, stamp) = look(&next, notes)?;
                    new.push((next.clone(), node.clone(), stamp));
                    node
                }
            };
            match node {
                Node::Link(target) => {
                    links += 1;
                    if links > MOST_LINKS {
                        return Err(io::Error::from_raw_os_error(libc::ELOOP));
                    }
                    if target.is_absolute() {
                        real = PathBuf::from("/");
                    }
                    todo.extend(names_reversed(&target));
                    continue;
                }
                Node::File { mode: its, .. } => mode = Some(its),
                Node::Text(_) => mode = Some(0o644),
                Node::Folder(_) => {}
            }
            real = next;
        }
        for (path, node, stamp) in new {
            self.add(path, node, stamp, notes);
        }
        Ok(Taken { real, mode })
    }

    fn add(&mut self, path: PathBuf, node: Node, stamp: Option<Stamp>, notes: Notes) {
        match (notes, stamp) {
            (_, None) => {}
            (Notes::Each, stamp) => self.seen.note(&path, stamp),
            (Notes::Folder, _) => self.seen.look(path.parent().unwrap_or(Path::new("/"))),
        }
        self.nodes.insert(path, node);
    }

    /// Takes a folder with everything in it, except names that match one of `except`; answers with the files. A link that leads out
    /// of the folder brings the file it leads to, and of a folder that alone: a link to / must not bring the world.
    /// What cannot be read is left out. `path` may be a file, too.
    pub fn take_all(&mut self, path: &Path, except: &[&str]) -> io::Result<Vec<Taken>> {
        let top = self.take(path, Notes::Each)?;
        if top.mode.is_some() {
            return Ok(vec![top]);
        }
        let mut files = Vec::new();
        let mut folders = vec![top.real.clone()];
        let mut entered = BTreeSet::from([top.real.clone()]);
        while let Some(folder) = folders.pop() {
            // Noted before it is listed: what comes in meanwhile changes it once more.
            self.seen.look(&folder);
            for name in names_in(&folder, except) {
                match self.take(&folder.join(&name), Notes::Folder) {
                    Ok(file) if file.mode.is_some() => files.push(file),
                    Ok(inner) => {
                        if inner.real.starts_with(&top.real) && entered.insert(inner.real.clone()) {
                            folders.push(inner.real);
                        }
                    }
                    Err(error) => log::debug!("left out {}: {error}", folder.join(&name).display()),
                }
            }
        }
        Ok(files)
    }

    /// An empty folder, unless the host's programs have put something there already; the mode is ours then, too.
    pub fn make_folder(&mut self, path: &str, mode: u32) {
        match self.nodes.entry(path.into()).or_insert(Node::Folder(mode)) {
            Node::Folder(its) => *its = mode,
            other => log::debug!("{path} stays what it is on the host: {other:?}"),
        }
    }

    /// A file of ours, whose folder was taken or made before.
    pub fn write(&mut self, path: &str, text: String) {
        self.nodes.insert(path.into(), Node::Text(text));
    }
}

fn names_reversed(path: &Path) -> Vec<OsString> {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    });
    names.rev().collect()
}

fn look(path: &Path, notes: Notes) -> io::Result<(Node, Option<Stamp>)> {
    let metadata = path.symlink_metadata()?;
    let stamp = Stamp::from(&metadata);
    let kind = metadata.file_type();
    if kind.is_dir() {
        // Ours must stay writable for us, whatever the host's folder is (Nix's are read-only), until it is removed.
        return Ok((Node::Folder(metadata.mode() & 0o777 | 0o700), None));
    }
    if kind.is_symlink() {
        return Ok((Node::Link(std::fs::read_link(path)?), Some(stamp)));
    }
    if !kind.is_file() {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    if notes == Notes::Folder {
        rustix::fs::access(path, Access::READ_OK)?;
    }
    // Set-user-ID and set-group-ID go: the file was another user's, and the copy is ours.
    let mode = metadata.mode() & 0o777 | 0o400;
    Ok((Node::File { mode, stamp }, Some(stamp)))
}

/// The names in a folder, sorted, so that the same host gives the same order of work; none where it cannot be read.
pub fn names_in(folder: &Path, except: &[&str]) -> Vec<OsString> {
    let mut names: Vec<OsString> = match std::fs::read_dir(folder) {
        Ok(entries) => entries.filter_map(Result::ok).map(|entry| entry.file_name()).collect(),
        Err(error) => {
            log::debug!("left out {}: {error}", folder.display());
            Vec::new()
        }
    };
    names.retain(|name| !except.iter().any(|pattern| matches(pattern, name).is_some()));
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn has(tree: &Tree, path: &Path) -> bool {
        tree.nodes.contains_key(path)
    }

    #[test]
    fn a_chain_of_links_is_taken_whole() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().canonicalize().unwrap().join(name);
        std::fs::create_dir_all(at("real/bin")).unwrap();
        std::fs::write(at("real/bin/tool-1.2"), "x").unwrap();
        symlink("tool-1.2", at("real/bin/tool")).unwrap();
        symlink("real/../real", at("merged")).unwrap();
        symlink(at("merged/bin/tool"), at("alternative")).unwrap();
        symlink("alternative", at("tool")).unwrap();

        let mut tree = Tree::default();
        let taken = tree.take(&at("tool"), Notes::Each).unwrap();
        assert_eq!(taken.real, at("real/bin/tool-1.2"));
        for name in ["tool", "alternative", "merged", "real", "real/bin/tool", "real/bin/tool-1.2"]
        {
            assert!(has(&tree, &at(name)), "{name}");
        }
        assert!(tree.seen.is_unchanged());
    }

    #[test]
    fn what_leads_nowhere_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        symlink("b", folder.path().join("a")).unwrap();
        symlink("a", folder.path().join("b")).unwrap();
        symlink("missing", folder.path().join("c")).unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        let mut tree = Tree::default();
        let mut errno = |name: &str| {
            tree.take(&folder.path().join(name), Notes::Each).unwrap_err().raw_os_error()
        };
        assert_eq!(errno("a"), Some(libc::ELOOP));
        assert_eq!(errno("c"), Some(libc::ENOENT));
        assert_eq!(errno("file/below"), Some(libc::ENOTDIR));
        assert_eq!(tree.nodes.len(), 0);
    }

    #[test]
    fn a_link_out_of_a_folder_does_not_bring_the_world() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().canonicalize().unwrap().join(name);
        std::fs::create_dir_all(at("data/sub")).unwrap();
        std::fs::create_dir_all(at("world")).unwrap();
        std::fs::write(at("world/secret"), "").unwrap();
        std::fs::write(at("outside"), "").unwrap();
        symlink("../world", at("data/world")).unwrap();
        symlink("../outside", at("data/outside")).unwrap();
        symlink("..", at("data/sub/loop")).unwrap();
        let mut tree = Tree::default();
        tree.take_all(&at("data"), &[]).unwrap();
        assert!(
            has(&tree, &at("outside"))
                && has(&tree, &at("world"))
                && has(&tree, &at("data/sub/loop"))
        );
        assert!(!has(&tree, &at("world/secret")));
    }
}
