//! Files of the user: installed into the folder that the generator searches, and removed from there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::message::FileProblem;
use super::source::QuadletKind;
use super::unit_file::UnitFile;

/// Treatment of an existing file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstalledFile {
    /// An error.
    Kept,
    /// Overwritten.
    Replaced,
}

/// Returns the files of `paths`: a folder stands for the files in it.
pub fn named(paths: &[PathBuf]) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let mut entries = fs::read_dir(path)?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        files.extend(entries.into_iter().map(|entry| entry.path()).filter(|path| path.is_file()));
    }
    Ok(files)
}

/// Copies the file `path` into `folder`, which is made if missing; returns the new path. Other files than Quadlet files
/// are copied too: Quadlet files may name them. Errors: a malformed Quadlet file; an existing file of that name.
pub fn install(
    path: &Path,
    folder: &Path,
    installed: InstalledFile,
) -> Result<PathBuf, FileProblem> {
    let problem = |text: String| FileProblem::of(path, text);
    let name = path.file_name().ok_or_else(|| problem("no name of a file".to_owned()))?;
    let text = fs::read(path).map_err(|error| problem(error.to_string()))?;
    if QuadletKind::of_name(&name.to_string_lossy()).is_some() {
        let text = std::str::from_utf8(&text).map_err(|error| problem(error.to_string()))?;
        UnitFile::parse(text, path)?;
    }
    let target = folder.join(name);
    if installed == InstalledFile::Kept && target.exists() {
        return Err(problem(format!("{} is there already", target.display())));
    }
    let write = || -> io::Result<()> {
        fs::create_dir_all(folder)?;
        // A reload of systemd must not see half a file.
        let born = folder.join(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
        fs::write(&born, &text).and_then(|()| fs::rename(&born, &target)).inspect_err(|_| {
            let _ = fs::remove_file(&born);
        })
    };
    write().map_err(|error| problem(format!("cannot write {}: {error}", target.display())))?;
    Ok(target)
}
