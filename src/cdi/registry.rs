//! Files of specifications on this machine, and their devices.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};

use super::document::{CdiDocument, CdiFormat, LARGEST};
use super::edits::Edits;
use crate::cdi_name::CdiName;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::fail;

/// Largest number of files in a folder that are read.
const MOST_FILES: usize = 10_000;

/// All devices of the folders.
#[derive(Debug, Default)]
pub struct CdiRegistry {
    documents: Vec<CdiFile>,
    devices: BTreeMap<CdiName, FoundDevice>,
    /// Files that cannot be used, with the reason.
    pub broken: Vec<(PathBuf, Error)>,
    /// Folders, the last one first in precedence.
    pub folders: Vec<PathBuf>,
}

/// File and its content.
#[derive(Debug)]
struct CdiFile {
    path: PathBuf,
    document: CdiDocument,
}

/// Location of a device.
#[derive(Debug)]
struct FoundDevice {
    /// Index of the folder.
    folder: usize,
    /// Index of the file, and of the device in it.
    file: usize,
    at: usize,
    /// Other file of the same folder with the same device, if any: then neither counts.
    rival: Option<usize>,
}

/// Device for a list.
#[derive(Debug)]
pub struct ListedDevice<'a> {
    /// Name.
    pub name: &'a CdiName,
    /// File that has the device.
    pub file: &'a Path,
    /// Second file of the same folder with the same device: the device cannot be used.
    pub rival: Option<&'a Path>,
}

impl CdiRegistry {
    /// Reads all `*.json` and `*.yaml` of the folders, without their subfolders. A device in a later folder replaces one
    /// of the same name in an earlier one. Files that cannot be read hurt themselves alone.
    pub fn read(folders: Vec<PathBuf>) -> Self {
        let mut registry = Self::default();
        for (index, folder) in folders.iter().enumerate() {
            for (path, format) in files_of(folder) {
                match read_document(&path, format) {
                    Ok(document) => registry.add(index, CdiFile { path, document }),
                    Err(error) => registry.broken.push((path, error)),
                }
            }
        }
        Self { folders, ..registry }
    }

    /// Adds a specification in JSON that stands in no file. `origin` stands for its path. Errors: as for a file.
    pub fn add_text(&mut self, origin: &str, text: &str) -> Result<()> {
        let document = CdiDocument::parse(text, CdiFormat::Json)?;
        self.add(self.folders.len(), CdiFile { path: origin.into(), document });
        Ok(())
    }

    fn add(&mut self, folder: usize, file: CdiFile) {
        let number = self.documents.len();
        for (at, device) in file.document.devices.iter().enumerate() {
            let Ok(name) = file.document.kind.device(&device.name) else { continue };
            match self.devices.get_mut(&name) {
                Some(found) if found.folder == folder => found.rival = Some(number),
                _ => {
                    self.devices
                        .insert(name, FoundDevice { folder, file: number, at, rival: None });
                }
            }
        }
        self.documents.push(file);
    }

    /// Returns all devices, in the order of their names.
    pub fn devices(&self) -> impl Iterator<Item = ListedDevice<'_>> {
        let path = |file: usize| self.documents.get(file).map(|file| file.path.as_path());
        self.devices.iter().filter_map(move |(name, found)| {
            let rival = found.rival.and_then(path);
            Some(ListedDevice { name, file: path(found.file)?, rival })
        })
    }

    /// Returns the merged edits of the devices, in the given order: those of a file as a whole once, before those of its
    /// first device. Errors: an unknown device, or one that two files of a folder have.
    pub fn resolve(&self, names: &[CdiName]) -> Result<Edits> {
        let mut edits = Edits::default();
        let mut used = Vec::new();
        for name in names {
            let Some(found) = self.devices.get(name) else { return Err(self.unknown(name)) };
            if let Some(rival) = found.rival.and_then(|rival| self.documents.get(rival)) {
                let file = self.documents.get(found.file).map(|file| file.path.display());
                fail!(Conflict: "device {name} is in {} and in {}", or_nothing(file), rival.path.display());
            }
            let Some(file) = self.documents.get(found.file) else { return Err(self.unknown(name)) };
            let Some(device) = file.document.devices.get(found.at) else {
                return Err(self.unknown(name));
            };
            let of_file = !used.contains(&found.file);
            used.push(found.file);
            let shared = of_file.then_some(&file.document.container_edits);
            for part in shared.into_iter().chain([&device.container_edits]) {
                edits.merge(part).context(|| format!("device {name} ({})", file.path.display()))?;
            }
        }
        Ok(edits)
    }

    fn unknown(&self, name: &CdiName) -> Error {
        let error = Error::new(format!("no specification has the device {name}"));
        let error = error.of_kind(ErrorKind::NotFound);
        let folders: Vec<String> =
            self.folders.iter().map(|folder| folder.display().to_string()).collect();
        let mut hint =
            format!("they are searched in {}; 'usnea cdi list' lists all", folders.join(", "));
        if name.kind.as_str() == "nvidia.com/gpu" {
            hint = "make one: nvidia-ctk cdi generate > ~/.config/cdi/nvidia.yaml".to_owned();
        }
        if let Some((path, reason)) = self.broken.first() {
            hint = format!("{} cannot be used: {reason}", path.display());
        }
        error.hint(hint)
    }
}

fn or_nothing(path: Option<std::path::Display<'_>>) -> String {
    path.map(|path| path.to_string()).unwrap_or_default()
}

/// Lists the files of a folder in the order of their names. A folder that is missing or cannot be read has none.
fn files_of(folder: &Path) -> Vec<(PathBuf, CdiFormat)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().take(MOST_FILES);
    let format = |path: &Path| match path.extension()?.to_str()? {
        "json" => Some(CdiFormat::Json),
        "yaml" => Some(CdiFormat::Yaml),
        _ => None,
    };
    let files = entries.map(|entry| entry.path());
    let mut files: Vec<_> =
        files.filter_map(|path| format(&path).map(|format| (path, format))).collect();
    files.sort_by(|one, other| one.0.cmp(&other.0));
    files
}

fn read_document(path: &Path, format: CdiFormat) -> Result<CdiDocument> {
    // A FIFO must not make us wait.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        fail!(Invalid: "no regular file");
    }
    let mut text = String::new();
    std::fs::File::from(file).take(LARGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST {
        fail!(Invalid: "larger than {} MiB", LARGEST >> 20);
    }
    CdiDocument::parse(&text, format)
}
