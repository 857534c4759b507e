//! Search for Quadlet files: the folders of podman-systemd.unit(5), their subfolders, and drop-in files.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::message::{FileMessage, FileProblem};
use super::service::UnitScope;
use super::source::{QuadletFile, QuadletKind};
use super::unit_file::UnitFile;

/// Largest size of a file, in bytes.
const LARGEST_FILE: u64 = 1024 * 1024;
/// Largest number of folders that are searched.
const MOST_FOLDERS: usize = 4096;

/// Variables and IDs that determine the searched folders.
#[derive(Clone, Debug, Default)]
pub struct SearchPlaces {
    /// `QUADLET_UNIT_DIRS`: folders in place of all others.
    pub instead: Option<String>,
    /// `XDG_RUNTIME_DIR`.
    pub runtime: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`, else `~/.config`.
    pub config: Option<PathBuf>,
    /// Number of the user.
    pub user: u32,
}

impl SearchPlaces {
    /// Folders to search, with their subfolders. A file in an earlier folder overrides one of the same name in a later
    /// folder.
    pub fn folders(&self, manager: UnitScope) -> Vec<PathBuf> {
        if let Some(instead) = &self.instead {
            let folders = instead.split(':').filter(|folder| folder.starts_with('/'));
            return walk(folders.map(PathBuf::from), Users::OfNobody);
        }
        let system = Path::new("/etc/containers/systemd");
        match manager {
            UnitScope::System => {
                let run = PathBuf::from("/run/containers/systemd");
                let vendor = PathBuf::from("/usr/share/containers/systemd");
                walk([run, system.to_owned(), vendor], Users::OfNobody)
            }
            UnitScope::User => {
                let users = system.join("users");
                let own = [self.runtime.as_ref(), self.config.as_ref()].into_iter().flatten();
                let own = own.map(|folder| folder.join("containers/systemd"));
                let mut folders =
                    walk(own.chain([users.join(self.user.to_string())]), Users::OfAll);
                folders.extend(walk([users], Users::OfNobody));
                folders
            }
        }
    }
}

/// Treatment of the folders for users: `users`, and below it those named by a UID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Users {
    /// Folders for users are left out.
    OfNobody,
    /// Folders for users are searched like others.
    OfAll,
}

/// Lists folders and their subfolders, each once, sorted by name. Follows links.
fn walk(roots: impl IntoIterator<Item = PathBuf>, users: Users) -> Vec<PathBuf> {
    let mut seen = BTreeSet::new();
    let mut folders = Vec::new();
    let mut left: Vec<PathBuf> = roots.into_iter().collect();
    left.reverse();
    while let Some(folder) = left.pop() {
        let Ok(real) = fs::canonicalize(&folder) else { continue };
        if folders.len() == MOST_FOLDERS || !seen.insert(real) {
            continue;
        }
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        let is_for_users = |name: &OsStr| {
            let name = name.to_string_lossy();
            name == "users" || name.parse::<u32>().is_ok()
        };
        let entries = entries.flatten().filter(|entry| {
            let name = entry.file_name();
            let is_drop_in = Path::new(&name).extension() == Some(OsStr::new("d"));
            !(is_drop_in || users == Users::OfNobody && is_for_users(&name))
        });
        let mut below: Vec<PathBuf> =
            entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
        below.sort();
        folders.push(folder);
        left.extend(below.into_iter().rev());
    }
    folders
}

/// Result of the search: files by name, and problems of other files.
#[derive(Debug, Default)]
pub struct FoundFiles {
    /// Files, with their drop-in files.
    pub sources: BTreeMap<String, QuadletFile>,
    /// Files that could not be read.
    pub problems: Vec<FileMessage>,
}

/// Reads all Quadlet files in `folders`, and their drop-in files.
pub fn find(folders: &[PathBuf]) -> FoundFiles {
    let mut found = FoundFiles::default();
    let mut names = BTreeSet::new();
    for folder in folders {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        for entry in entries.flatten() {
            let Ok(name) = entry.file_name().into_string() else { continue };
            let Some(kind) = QuadletKind::of_name(&name) else { continue };
            let path = entry.path();
            if path.is_dir() || !names.insert(name.clone()) {
                continue;
            }
            match load(&path, &name, kind, folders) {
                Ok(source) => {
                    found.sources.insert(name, source);
                }
                Err(FileProblem(message)) => found.problems.push(message),
            }
        }
    }
    found
}

fn load(
    path: &Path,
    name: &str,
    kind: QuadletKind,
    folders: &[PathBuf],
) -> Result<QuadletFile, FileProblem> {
    let mut unit = parse(path)?;
    for drop_in in drop_ins(name, kind, folders) {
        unit.merge(parse(&drop_in)?);
    }
    Ok(QuadletFile { path: path.to_owned(), name: name.to_owned(), kind, unit })
}

fn parse(path: &Path) -> Result<UnitFile, FileProblem> {
    let cannot = |reason: String| FileProblem::of(path, format!("cannot read it: {reason}"));
    let facts = fs::metadata(path).map_err(|error| cannot(error.to_string()))?;
    // A FIFO would stop the boot.
    if !facts.is_file() {
        return Err(cannot("it is no regular file".to_owned()));
    }
    if facts.len() > LARGEST_FILE {
        return Err(cannot(format!("it is larger than {LARGEST_FILE} bytes")));
    }
    let text = fs::read_to_string(path).map_err(|error| cannot(error.to_string()))?;
    UnitFile::parse(&text, path)
}

/// Drop-in files of the file `name`, in the order of their names. Of two files with one name, the one in the more
/// specific folder counts (systemd.unit(5)).
fn drop_ins(name: &str, kind: QuadletKind, folders: &[PathBuf]) -> Vec<PathBuf> {
    let mut files: BTreeMap<std::ffi::OsString, PathBuf> = BTreeMap::new();
    for drop_in_folder in drop_in_folders(name, kind) {
        for folder in folders {
            let Ok(entries) = fs::read_dir(folder.join(&drop_in_folder)) else { continue };
            for path in entries.flatten().map(|entry| entry.path()) {
                let Some(file_name) = path.file_name() else { continue };
                if path.extension() == Some(OsStr::new("conf")) && !files.contains_key(file_name) {
                    files.insert(file_name.to_owned(), path);
                }
            }
        }
    }
    files.into_values().collect()
}

/// Names of the drop-in folders of a file, the most specific first: `a-b@i.container.d`, `a-b@.container.d`,
/// `a-.container.d`, `container.d`.
fn drop_in_folders(name: &str, kind: QuadletKind) -> Vec<String> {
    let extension = kind.extension();
    let stem = name.strip_suffix(extension).and_then(|stem| stem.strip_suffix('.')).unwrap_or(name);
    let mut folders = vec![format!("{name}.d")];
    let mut prefix = stem;
    if let Some((template, instance)) = stem.split_once('@') {
        if !instance.is_empty() {
            folders.push(format!("{template}@.{extension}.d"));
        }
        prefix = template;
    }
    while let Some((shorter, _)) = prefix.trim_end_matches('-').rsplit_once('-') {
        folders.push(format!("{shorter}-.{extension}.d"));
        prefix = shorter;
    }
    folders.push(format!("{extension}.d"));
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drop_in_folders_go_from_the_file_to_its_kind() {
        assert_eq!(
            drop_in_folders("a-b-c@1.container", QuadletKind::Container),
            [
                "a-b-c@1.container.d",
                "a-b-c@.container.d",
                "a-b-.container.d",
                "a-.container.d",
                "container.d"
            ]
        );
        assert_eq!(drop_in_folders("x.pod", QuadletKind::Pod), ["x.pod.d", "pod.d"]);
    }
}
