//! Paths that the root will have: copies of the host's, with every symbolic link on the way. A path then has the same
//! meaning inside and outside. Reads only names and attributes, and writes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::Access;

use super::pattern::matches;
use super::seen::{SeenFiles, Stamp};

/// Largest number of links on one path, as in the kernel (MAXSYMLINKS, path_resolution(7)).
const MOST_LINKS: usize = 40;

/// File of the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostNode {
    /// Folder, with its mode.
    Folder(u32),
    /// Symbolic link, with its target.
    Link(PathBuf),
    /// Copy of the host's file at the same path.
    File {
        /// Mode, without the setuid and setgid bits, which would lend the caller's identity to others.
        mode: u32,
        /// State of the host's file when it was checked.
        stamp: Stamp,
    },
    /// File with this text, written by usnea.
    Text(String),
}

/// Way to note taken files for the next start (see `seen`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoteScope {
    /// Note each link and file.
    Each,
    /// Note only the folder around it. Refuse files that the caller may not read (EACCES).
    Folder,
}

/// Result of taking a path.
#[derive(Clone, Debug)]
pub struct TakenFile {
    /// Path with all links followed.
    pub real: PathBuf,
    /// Mode of the file; `None` for a folder.
    pub mode: Option<u32>,
}

/// Planned root. Every parent of a path in `nodes` is a folder in `nodes`.
#[derive(Debug, Default)]
pub struct HostTree {
    nodes: BTreeMap<PathBuf, HostNode>,
    /// Host files that the plan depends on.
    pub seen: SeenFiles,
}

impl HostTree {
    /// Returns all paths below the root directory, parents first.
    pub fn nodes(&self) -> impl Iterator<Item = (&Path, &HostNode)> {
        self.nodes.iter().map(|(path, node)| (path.as_path(), node))
    }

    /// True if the root has a file at `path`, links followed.
    pub fn has(&self, path: &Path) -> bool {
        path.canonicalize().is_ok_and(|real| self.nodes.contains_key(&real))
    }

    /// Takes the host's `path` (absolute) with all links on the way and all folders above; of a folder, the folder
    /// alone. Takes nothing on an error: ENOENT, ELOOP, ENOTDIR, EACCES, EINVAL for any other kind than file, folder or
    /// link.
    pub fn take(&mut self, path: &Path, notes: NoteScope) -> io::Result<TakenFile> {
        let mut new: Vec<(PathBuf, HostNode, Option<Stamp>)> = Vec::new();
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
                    let (node, stamp) = read_file(&next, notes)?;
                    new.push((next.clone(), node.clone(), stamp));
                    node
                }
            };
            match node {
                HostNode::Link(target) => {
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
                HostNode::File { mode: its, .. } => mode = Some(its),
                HostNode::Text(_) => mode = Some(0o644),
                HostNode::Folder(_) => {}
            }
            real = next;
        }
        for (path, node, stamp) in new {
            self.add(path, node, stamp, notes);
        }
        Ok(TakenFile { real, mode })
    }

    fn add(&mut self, path: PathBuf, node: HostNode, stamp: Option<Stamp>, notes: NoteScope) {
        match (notes, stamp) {
            (_, None) => {}
            (NoteScope::Each, stamp) => self.seen.note(&path, stamp),
            (NoteScope::Folder, _) => {
                self.seen.note_state_of(path.parent().unwrap_or(Path::new("/")))
            }
        }
        self.nodes.insert(path, node);
    }

    /// Takes a folder with everything in it, except names that match one of `except`; returns the files. A link out of
    /// the folder brings its target; of a target folder only the folder itself. A link to / must not bring the whole
    /// host. Leaves out unreadable files. `path` may be a file, too.
    pub fn take_all(&mut self, path: &Path, except: &[&str]) -> io::Result<Vec<TakenFile>> {
        let top = self.take(path, NoteScope::Each)?;
        if top.mode.is_some() {
            return Ok(vec![top]);
        }
        let mut files = Vec::new();
        let mut folders = vec![top.real.clone()];
        let mut entered = BTreeSet::from([top.real.clone()]);
        while let Some(folder) = folders.pop() {
            // Noted before it is listed: a file added meanwhile changes the folder once more.
            self.seen.note_state_of(&folder);
            for name in names_in(&folder, except) {
                match self.take(&folder.join(&name), NoteScope::Folder) {
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

    /// Adds an empty folder, unless the host's programs brought another file; an existing folder gets the mode too.
    pub fn make_folder(&mut self, path: &str, mode: u32) {
        match self.nodes.entry(path.into()).or_insert(HostNode::Folder(mode)) {
            HostNode::Folder(its) => *its = mode,
            other => log::debug!("{path} stays what it is on the host: {other:?}"),
        }
    }

    /// Adds a text file, whose folder was taken or made before.
    pub fn write(&mut self, path: &str, text: String) {
        self.nodes.insert(path.into(), HostNode::Text(text));
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

fn read_file(path: &Path, notes: NoteScope) -> io::Result<(HostNode, Option<Stamp>)> {
    let metadata = path.symlink_metadata()?;
    let stamp = Stamp::from(&metadata);
    let kind = metadata.file_type();
    if kind.is_dir() {
        // The copy must stay writable for its owner until it is removed, whatever the host's folder is (Nix's are
        // read-only).
        return Ok((HostNode::Folder(metadata.mode() & 0o777 | 0o700), None));
    }
    if kind.is_symlink() {
        return Ok((HostNode::Link(std::fs::read_link(path)?), Some(stamp)));
    }
    if !kind.is_file() {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    if notes == NoteScope::Folder {
        rustix::fs::access(path, Access::READ_OK)?;
    }
    // Set-user-ID and set-group-ID bits are dropped: the file was another user's, and the copy is the caller's.
    let mode = metadata.mode() & 0o777 | 0o400;
    Ok((HostNode::File { mode, stamp }, Some(stamp)))
}

/// Returns the names in a folder, sorted: the same host gives the same order of work. Empty for an unreadable folder.
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

    fn has(tree: &HostTree, path: &Path) -> bool {
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

        let mut tree = HostTree::default();
        let taken = tree.take(&at("tool"), NoteScope::Each).unwrap();
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
        let mut tree = HostTree::default();
        let mut errno = |name: &str| {
            tree.take(&folder.path().join(name), NoteScope::Each).unwrap_err().raw_os_error()
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
        let mut tree = HostTree::default();
        tree.take_all(&at("data"), &[]).unwrap();
        assert!(
            has(&tree, &at("outside"))
                && has(&tree, &at("world"))
                && has(&tree, &at("data/sub/loop"))
        );
        assert!(!has(&tree, &at("world/secret")));
    }
}
